"""What buggy and hostile producers, and strangers, can do to a worker: end to end, on a real Kafka. One module per area."""
