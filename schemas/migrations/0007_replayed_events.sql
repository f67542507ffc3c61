-- Which rejected events were sent back to their topic, so that the next replay leaves them out. Offsets of a broker that
-- was set up anew begin again, so a rejection is named by its time of receipt as well.
CREATE TABLE IF NOT EXISTS replayed_events
(
    topic       LowCardinality(String),
    partition   Int32,
    offset      Int64,
    received_at DateTime64(3, 'UTC'),
    replayed_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(replayed_at)
ORDER BY (topic, partition, offset, received_at);
