-- Every row says which codebook made it. Rows are upserted by key: the highest revision wins under FINAL.
CREATE TABLE IF NOT EXISTS session_assignments
(
    merchant_id      LowCardinality(String),
    session_id       String,
    client_id        String,
    revision         Int32,
    is_final         Bool,
    superseded_by    String DEFAULT '',
    started_at       DateTime64(3, 'UTC'),
    ended_at         DateTime64(3, 'UTC'),
    events           Int32,
    funnel_stratum   LowCardinality(String),
    code             Int32,
    code_path        LowCardinality(String),
    confidence       Float32,
    codebook_version LowCardinality(String),
    source           LowCardinality(String),
    is_bot           Bool,
    inserted_at      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (merchant_id, session_id);

CREATE TABLE IF NOT EXISTS buyer_assignments
(
    merchant_id      LowCardinality(String),
    client_id        String,
    source           LowCardinality(String),
    code             Int32,
    code_path        LowCardinality(String),
    confidence       Float32,
    codebook_version LowCardinality(String),
    sessions_seen    UInt32,
    revision         UInt64,
    updated_at       DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (merchant_id, client_id, source);
