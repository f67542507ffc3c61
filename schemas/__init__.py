"""Contracts: Avro schemas, event taxonomy, columnar batches, codec and ClickHouse migrations."""
