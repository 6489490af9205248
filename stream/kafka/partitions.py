"""How many partitions our topics have, against how many are counted.

Producers place a key by the number of partitions. When somebody adds some, most sessions move: their records lie in
partitions that no shard reads, or in those of another shard, which would count them a second time under the same keys.
So nothing more is counted then, by a worker that runs and by one that starts: all that is right is in the results, all the
rest is in the log, and `topics grow` brings it to a new set of topics.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from aiokafka.errors import IncompatibleBrokerVersion

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import topicids
from stream.kafka.client import Reader
from stream.kafka.role import Role
from stream.kafka.topicids import Answers
from stream.printed import command

GUIDE: Final = "docs/operate/partitions.md"


@dataclass(frozen=True, slots=True)
class Outgrown:
    """Why nothing can be counted in a set of topics any more."""

    counted: int
    """Partitions of each topic when it was counted, so many shards there are."""
    topics: Mapping[str, int] = field(default_factory=dict)
    """Topics that have another number now, by name on the broker."""
    moved_to: str | None = None
    """The prefix of the set to which all that was not counted was moved."""

    def text(self, settings: Settings) -> str:
        """What is the matter and what to do, in one line."""
        return f"{self.what(settings)}. {self.todo(settings)}"

    def what(self, settings: Settings) -> str:
        if self.moved_to is not None:
            old, new = settings.topic("live.*"), self.moved_to + "live.*"
            return f"what is in {old} was moved to {new}: nothing is counted here any more"
        topics = ", ".join(f"{name} has {number}" for name, number in self.topics.items())
        return (
            f"partitions were added: {topics}, and {self.counted} are counted. Producers place keys by that number, so "
            "sessions move to other partitions. Nothing is counted until a new set of topics takes over, and nothing is lost"
        )

    def todo(self, settings: Settings) -> str:
        """A command in it works as it stands, and only shows."""
        if self.moved_to is not None:
            return f"Start workers with --topic-prefix {self.moved_to} and a --group of their own; see {GUIDE}"
        return f"{GUIDE} tells how; this shows the plan: {grow_command(settings, max(self.topics.values()))}"


class OutgrownError(UsageError):
    """Nothing can be counted here any more. A worker stays, and says so; a command ends with it."""

    def __init__(self, outgrown: Outgrown, settings: Settings) -> None:
        super().__init__(outgrown.text(settings))
        self.outgrown = outgrown


def judge(role: Role, settings: Settings, counts: Mapping[str, int], counted: int) -> Outgrown | None:
    """What ``counts``, partitions by topic, says against the number that is counted; None: all is as it must be.

    Of what workers write, more do no harm: each shard names the partition that it writes to.
    """
    inputs = set(map(settings.topic, role.input_topics.values()))
    free = set(map(settings.topic, role.by_key))
    others = {
        name: n for name, n in counts.items() if name not in free and (n < counted or (n > counted and name in inputs))
    }
    return Outgrown(counted, others) if others else None


def grow_command(settings: Settings, partitions: int) -> str:
    """Shows the plan, as a person would type it."""
    to_prefix = next_prefix(settings.topic_prefix, partitions)
    return command(settings, "topics grow", "--partitions", str(partitions), "--to-prefix", to_prefix)


def next_prefix(prefix: str, partitions: int) -> str:
    """A prefix for the new set: ``shop.`` with 6 partitions is ``shop.p6.``, which with 12 is ``shop.p12.``."""
    return re.sub(r"(^|(?<=\.))p\d+\.$", "", prefix) + f"p{partitions}."


def most(answers: Answers) -> dict[str, int]:
    """Partitions by topic, the most that any broker knows of: one hears of a change before another."""
    found: dict[str, int] = {}
    for answer in answers:
        for name, topic in answer.items():
            found[name] = max(topic.partitions, found.get(name, 0))
    return found


@dataclass(frozen=True, slots=True)
class Partitions:
    """Of one worker. ``counted``: how many shards there are."""

    role: Role
    settings: Settings
    counted: int

    async def confirm(self, reader: Reader) -> None:
        """Raises OutgrownError when they are not what is counted, KafkaError when nobody answers.

        Brokers before Kafka 3.1 do not know the question.
        """
        with suppress(IncompatibleBrokerVersion):
            self.check(await topicids.fetch_all(self.role, reader, self.settings))

    def check(self, answers: Answers) -> None:
        """The same, where brokers have answered."""
        found = judge(self.role, self.settings, most(answers), self.counted)
        if found is not None:
            raise OutgrownError(found, self.settings)
