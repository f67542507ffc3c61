"""Between event logs and the stream: logs replayed into it, passed through offline, made from it."""
