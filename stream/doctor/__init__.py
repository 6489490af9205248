"""The doctor: looks at brokers, topics, group, state and records, writes nothing, and says what is wrong and what to do.

The modules here judge: plain facts in, findings out, no broker and no clock. `probes/` gets the facts.
"""
