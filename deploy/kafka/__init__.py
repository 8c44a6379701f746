"""Apache Kafka itself on loopback, without Docker: one KRaft node from the project's own jars."""
