"""The topics of the session worker (kafka/topics.py), for commands and tests."""

from functools import partial
from typing import Final

from stream.kafka import topicids, topics
from stream.sessions.role import PROMOTING, WORKER

names: Final = partial(topics.names, WORKER)
create: Final = partial(topics.create, PROMOTING)
copy: Final = partial(topics.copy, WORKER)
describe: Final = partial(topics.describe, WORKER)
delete: Final = partial(topics.delete, PROMOTING)
counts: Final = partial(topics.counts, WORKER)
check: Final = partial(topics.check, WORKER)
shards: Final = partial(topics.shards, WORKER)
configs: Final = partial(topics.configs, WORKER)
max_bytes: Final = partial(topics.max_bytes, WORKER)
ids: Final = partial(topicids.current, WORKER)
