-- Offsets of a broker that was set up anew begin again: a rejection is named by its time of receipt as well, or the new
-- ones would take the place of the old. Run while no worker writes. Each statement may be run again.
DROP TABLE IF EXISTS rejected_events_by_offset;
CREATE TABLE IF NOT EXISTS rejected_events_by_receipt AS rejected_events
ENGINE = ReplacingMergeTree(inserted_at)
ORDER BY (topic, partition, offset, received_at);
INSERT INTO rejected_events_by_receipt SELECT * FROM rejected_events;
RENAME TABLE rejected_events TO rejected_events_by_offset, rejected_events_by_receipt TO rejected_events;
DROP TABLE IF EXISTS rejected_events_by_offset;
