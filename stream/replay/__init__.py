"""What was recorded, run once more beside the live shards: nothing here writes to Kafka."""
