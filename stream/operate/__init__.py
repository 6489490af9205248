"""What operators do by hand: look at states and offsets, verify them, count a shard anew, skip poison.

Looking reads committed records and touches nobody. A change is what a worker's own change would be: fence the shard,
recover it from its state, write one checkpoint; a worker that had it is fenced and recovers from that checkpoint.
"""
