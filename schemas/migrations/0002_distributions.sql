-- One row per code present in a window. `total` (sessions in the window) only grows, so an old writer cannot win.
CREATE TABLE IF NOT EXISTS merchant_distributions
(
    merchant_id      LowCardinality(String),
    window           LowCardinality(String),
    window_start     DateTime64(3, 'UTC'),
    codebook_version LowCardinality(String),
    source           LowCardinality(String),
    code             Int32,
    weight           Float64,
    sessions         UInt64,
    total            UInt64,
    n_effective      Float64,
    emitted_at       DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(total)
ORDER BY (merchant_id, window, source, codebook_version, window_start, code);

CREATE TABLE IF NOT EXISTS drift_events
(
    merchant_id      LowCardinality(String),
    detected_at      DateTime64(3, 'UTC'),
    detector         LowCardinality(String),
    statistic        Float64,
    threshold        Float64,
    n_effective      Float64,
    baseline_window  String,
    details          String,
    codebook_version LowCardinality(String),
    emitted_at       DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(emitted_at)
ORDER BY (merchant_id, detector, codebook_version, detected_at);
