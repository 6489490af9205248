"""Worlds in which sessions are promoted while anything goes wrong: each once, and the outputs are those of the recount.

What is promoted is what a replay of the same records counts, so nothing may change but who says it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any, Final

import orjson
from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from stream.config import Settings
from stream.model.names import INPUTS, KINDS, PROMOTION_OUTCOMES, PROMOTIONS, Kind
from tests.chaos.judge import differences
from tests.core.promoted import Live, Promoted, promotion
from tests.core.worlds import T0, Happening, World, rules_of
from tests.outputs import Written
from tests.recount import LogRecord, Recounted, recount
from tests.simulation.cluster import Cluster
from tests.simulation.content import PARTITIONS, SPAN, Content, content
from tests.simulation.feed import Feed
from tests.simulation.job import Feeding, Sessions
from tests.simulation.judge import written

OVER: Final = 200_000
"""So long after all else another session begins: the others have ended, and their windows are final."""


@lru_cache(maxsize=4)
def over(number: int) -> Content:
    """The content of that number, and in each topic three events of another session, long after."""
    before = content(number)
    logs = {(kind, partition): [*log, *_tail(kind, partition, log)] for (kind, partition), log in before.logs.items()}
    policy = replace(before.policy, max_new_sessions=20_000, max_sessions=200_000, max_pane_events=10**6)
    records = [record for log in logs.values() for record in log]
    return Content(policy, logs, recount(records, rules_of(policy)))


def _tail(kind: Kind, partition: int, log: list[LogRecord]) -> Iterator[LogRecord]:
    session = next(number for number in range(100, 200) if murmur2(b"s%d" % number) % PARTITIONS == partition)
    what = {Kind.VIEWS: "enter", Kind.COMMENTS: "comment", Kind.CHECKOUTS: "initiated"}[kind]
    happenings = tuple(Happening(what, after=OVER, session=session, ref=n) for n in range(3))
    for record in World(**{str(kind): happenings}).records()[kind]:
        offset, timestamp = len(log) + record.offset, record.timestamp + SPAN
        value = json.loads(record.value or b"")
        value |= {"event_id": f"tail{record.offset}", "event_time": timestamp}
        yield replace(record, partition=partition, offset=offset, timestamp=timestamp, value=json.dumps(value).encode())


class _Feed(Feed):
    async def run(self) -> None:
        await super().run()
        for partition in range(PARTITIONS):
            log = self._cluster.log(TopicPartition(self._settings.topic(PROMOTIONS), partition))
            for records in promotions(self._cluster, self._settings, self._content, partition):
                rows = [(key, value, ()) for key, value in records]
                for _ in range(self._rng.choice((1, 1, 2))):
                    cut = self._rng.randrange(len(rows) + 1)
                    log.append(rows[:cut], T0)
                    await asyncio.sleep(self._rng.random())
                    log.append(rows[cut:], T0)


def promotions(
    cluster: Cluster, settings: Settings, content: Content, partition: int
) -> Iterator[list[tuple[bytes, bytes]]]:
    """Of all sessions of a partition but the last one, by what a replay of its logs says."""
    after = Promoted(World(), content.policy)
    after.logs = {kind: list(content.logs[kind, partition]) for kind in KINDS}
    after.end()
    after.shard.finish()
    for _ in range(3):
        after.settle()
    ends = {str(kind): cluster.log(TopicPartition(settings.topic(INPUTS[kind]), partition)).high for kind in KINDS}
    for session in sorted(after.live.sessions):
        if int(session[1:]) < 100:
            yield promotion(session, Live(), None, after, ends=ends)


@dataclass(slots=True)
class Promoting(Sessions):
    """The session worker with its fourth input."""

    def feed(self, cluster: Cluster, settings: Settings, rng: Random, *, seconds: float, backlog: float) -> Feeding:
        self.fed = _Feed(cluster, settings, self.content, rng, seconds=seconds, backlog=backlog)
        return self.fed

    def judge(self, cluster: Cluster, settings: Settings) -> list[str]:
        assert self.fed is not None
        said, offsets = self.content.expected, self.fed.offsets
        expected = Recounted(
            windows=said.windows,
            sessions=said.sessions,
            dead={
                (kind, partition, offsets[kind, partition, n]): why for (kind, partition, n), why in said.dead.items()
            },
            faults={(k, p, offsets[k, p, n]): faults for (k, p, n), faults in said.faults.items()},
        )
        records = [replace(each, offset=offsets[each.place]) for log in self.content.logs.values() for each in log]
        seen = written(cluster, settings)
        promoted = _taken_out(seen)
        found = differences(records, expected, seen, settings.topic_prefix)
        found += _unlike(promoted, said.windows)
        return [*found, *self._verdicts(cluster, settings)]

    def _verdicts(self, cluster: Cluster, settings: Settings) -> Iterator[str]:
        """Each is applied once."""
        for partition in range(PARTITIONS):
            sent = promotions(cluster, settings, self.content, partition)
            wanted = {key.decode() for records in sent for key, _ in records}
            log = cluster.log(TopicPartition(settings.topic(PROMOTION_OUTCOMES), partition))
            told = [orjson.loads(entry.value or b"") for entry in log.committed()]
            applied = Counter(each["session_id"] for each in told if each["outcome"] == "applied")
            if applied != Counter(wanted):
                yield f"partition {partition}: applied {dict(applied)}, promoted {sorted(wanted)}; {told}"
            refused = [each for each in told if each["outcome"] == "refused"]
            if refused:
                yield f"partition {partition}: refused {refused}"


def _taken_out(seen: Written) -> dict[str, dict[str, Any]]:
    """Promoted windows, by key; the others stay."""
    promoted = {}
    for key, values in seen.windows.items():
        for value in values:
            if value["reason"] == "replay":
                promoted[key] = value
        seen.windows[key] = [value for value in values if value["reason"] != "replay"]
    return promoted


def _unlike(promoted: Mapping[str, dict[str, Any]], expected: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    ours = {"run", "revision", "generation", "reason"}
    for key, value in promoted.items():
        if {name: each for name, each in value.items() if name not in ours} != expected[key]:
            yield f"window {key} was promoted as {value}"
