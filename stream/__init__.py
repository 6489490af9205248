r"""liveshop counts what happens in live-shopping broadcasts while they run.

::

    live.views  live.comments  live.checkouts          keyed by session_id, same number of partitions
          \          |            /
       worker: one shard per partition number          cli/worker.py -> sessions/worker.py -> kafka/worker.py
          fetch -> judge -> count -> close              kafka/shard_loop.py -> core/shard.py, core/judge.py
          every checkpoint, ONE transaction:            kafka/checkpoint.py
            live.session-windows, live.sessions, live.alerts, live.dead-letters, live.state, group offsets
          beside them: live.promotions, from replays     core/promotions.py
          /metrics /healthz /readyz                     observe/

The rooms:

model/    the vocabulary: events, outcomes, money, topic names
core/     pure: decode, clocks, dedupe, panes, windows, totals, state, and alerts/; no I/O and no clock of its own;
          native/ is the hot path in C, of what is plain; pure/ what stands in its place where it is not built
sessions/ the role of the session worker and its machine, core/shard.py: what kafka/ does not know
rules/    alert rules as files: read with every mistake and its line; those that come with liveshop
kafka/    aiokafka: topics, membership, shard task, checkpoint, recovery, for any machine (kafka/machine.py) by its role
          (kafka/role.py); what is wrong with brokers, clocks, neighbours
observe/  metrics, HTTP, logs, health
doctor/   looks at everything the worker stands on: pure judgements, and probes/ that ask for facts
operate/  by hand: states shown, verified, rebuilt, adopted; offsets shown, poison skipped; a larger set of topics;
          capacity of a load worked out
dlq/      dead letters: listed, shown, mended and sent again, deleted
replay/   what was recorded, in files or topics, run once more beside the live shards
sandbox/  embedded Kafka, or logs in memory in its place; traffic simulator
cli/      one module per command

config.py    Settings: flags, environment, file; all errors reported together
security_settings.py   settings of a secured Kafka: TLS and SASL, and their secrets
sources.py   where settings come from, and what is wrong with them
printed.py   commands of ours as messages print them
durations.py durations written with a unit
plaintext.py text of data, as it is shown: never obeyed
children.py  processes that we start: they do not outlive us, and are ended by their id
errors.py    errors that end a command with one message

Imports point one way, as tests/test_layout.py holds it:
cli -> operate, dlq, replay, doctor, observe, sandbox -> sessions -> kafka -> core -> model.
"""

__version__ = "0.1.0"
