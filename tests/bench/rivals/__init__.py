"""The same counts by other means: what people would write by hand, with Faust, Kafka Streams or Flink.

Each counts views, product clicks, comments, paid orders and GMV by session and minute of event time, as is idiomatic for
it, and leaves out what liveshop does besides (18 counts, unique viewers, breakdowns, 5m windows, totals, corrections):
a rival that did all of it would be slower than shown.
"""
