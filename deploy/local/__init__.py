"""The embedded stack: a Kafka-compatible broker and ClickHouse's engine, on loopback, without Docker."""
