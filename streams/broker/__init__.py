"""What lies in Kafka, and how it is read, written and acknowledged."""
