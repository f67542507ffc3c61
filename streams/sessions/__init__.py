"""Session windows of one partition: events in, sessions out. Pure: no clock, no I/O."""
