-- Simulated shoppers: what was asked for (manifest), what each was meant to be, and how alike the crowd was.
CREATE TABLE IF NOT EXISTS simulation_runs
(
    run_id           String,
    merchant_id      LowCardinality(String),
    started_at       DateTime64(3, 'UTC'),
    finished_at      DateTime64(3, 'UTC'),
    codebook_version LowCardinality(String),
    seed             UInt64,
    buyers           UInt32,
    backend          LowCardinality(String),
    manifest         String
)
ENGINE = ReplacingMergeTree(finished_at)
ORDER BY run_id;

CREATE TABLE IF NOT EXISTS simulated_sessions
(
    run_id        String,
    merchant_id   LowCardinality(String),
    client_id     String,
    agent         UInt32,
    intended_code Int32,
    intended_path LowCardinality(String),
    events        UInt32,
    outcome       LowCardinality(String),
    crashed       Bool,
    started_at    DateTime64(3, 'UTC'),
    ended_at      DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (run_id, agent);

CREATE TABLE IF NOT EXISTS alignment_scores
(
    run_id      String,
    merchant_id LowCardinality(String),
    measure     LowCardinality(String),
    value       Float64,
    floor       Float64,
    low         Float64,
    high        Float64,
    computed_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (run_id, merchant_id, measure);
