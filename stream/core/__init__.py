"""The pure state machine of one shard: step(state, records) -> outputs.

Nothing in here awaits, asks the time, logs, or knows of Kafka and Prometheus; time arrives as an argument. A bad, late
or duplicate record is a value that is returned; an exception is a bug.
"""
