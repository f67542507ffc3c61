-- What could not be used, with the bytes as they came, so that a fix can replay them.
CREATE TABLE IF NOT EXISTS rejected_events
(
    failure_kind      LowCardinality(String),
    message           String,
    processor         LowCardinality(String),
    processor_version LowCardinality(String),
    received_at       DateTime64(3, 'UTC'),
    topic             LowCardinality(String),
    partition         Int32,
    offset            Int64,
    payload           String,
    inserted_at       DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (topic, partition, offset);
