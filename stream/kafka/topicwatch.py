"""The look at our topics while shards run: are they still those that are read and written, with the same partitions?"""

from collections.abc import Iterable
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.kafka import state_refused, topicids
from stream.kafka.client import Reader
from stream.kafka.health import TOPICS, Health
from stream.kafka.machine import Machine
from stream.kafka.partitions import Partitions
from stream.kafka.role import Role
from stream.kafka.shard_context import ShardContext
from stream.kafka.topicids import Ids

log: Final = structlog.get_logger()

Running = Iterable[tuple[ShardContext, Machine]]


class TopicWatch:
    """Of one process: one question for all topics, to each broker."""

    def __init__(self, role: Role, settings: Settings, health: Health, partitions: Partitions) -> None:
        self._role = role
        self._settings = settings
        self._health = health
        self._partitions = partitions

    async def look(self, reader: Reader, running: Running) -> None:
        """Raises StateRefusedError when a topic was made anew, OutgrownError when partitions were added to one.

        Brokers that do not answer, or do not agree yet, are asked again the next time.
        """
        try:
            answers = await topicids.fetch_all(self._role, reader, self._settings)
        except (KafkaError, OSError):
            return
        self._look_for_missing(set.intersection(*(set(answer) for answer in answers)), running)
        ids = topicids.agreed(self._role, self._settings, answers)
        if ids is not None:
            self._look_for_others(ids, running)
        self._partitions.check(answers)

    def _look_for_missing(self, there: set[str], running: Running) -> None:
        """Whoever has deleted a topic, or may not let us see it any more, can put that right: no reason to end."""
        known = {self._settings.topic(name) for _, machine in running for name in machine.topic_ids}
        missing = ", ".join(sorted(known - there))
        if missing:
            self._health.unready(TOPICS, f"missing topics: {missing}. They were deleted, or this user may not see them")
        else:
            self._health.clear(TOPICS)

    def _look_for_others(self, ids: Ids, running: Running) -> None:
        for context, machine in running:
            others = topicids.made_anew(self._role, machine.topic_ids, ids)
            if others:
                raise state_refused.recreated_topics(context, others, running=True)
        letters = [machine for _, machine in running if topicids.letters_made_anew(self._role, machine.topic_ids, ids)]
        if letters:
            log.warning(
                "the topic of dead letters was made anew: those in it before are gone",
                topic=self._settings.topic(self._role.letters or ""),
            )
        for machine in letters:
            machine.topic_ids = topicids.adopted(self._role, machine.topic_ids, ids)
            machine.moved = True
