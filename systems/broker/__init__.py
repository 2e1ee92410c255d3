"""A Kafka-compatible broker: ISR replication with leader epochs, idempotence, transactions, groups."""
