"""What lies in ClickHouse: the only writer, and what reads it back."""
