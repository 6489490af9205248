"""The results of a replay beside the live ones, as the topics have them now: read partition by partition and compared."""

from collections.abc import Callable
from typing import Final

from aiokafka import TopicPartition

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import topics
from stream.kafka.client import Reader
from stream.kafka.role import Role, Spec
from stream.kafka.topics import TopicStatus
from stream.model.names import LIVE_RUN, SESSION_WINDOWS, SESSIONS
from stream.operate.shards import reading
from stream.replay import audit
from stream.replay.audit import RunOutcome
from stream.replay.compare import TOP, Comparison
from stream.replay.openmetrics import Export
from stream.replay.plan import Plan
from stream.replay.results import Wanted, read_last, written_since
from stream.sessions.role import WORKER

COMPARED: Final = (SESSIONS, SESSION_WINDOWS)


async def diff(
    settings: Settings, plan: Plan, tell: Callable[[int, int], None] = lambda _done, _every: None, *, top: int = TOP
) -> Comparison:
    """All of the plan's range. ``tell`` is called with the offsets done, and with all there are.

    Raises UsageError where the topics are missing, TimeoutError when the broker stays silent.
    """
    await _require_topics(settings, plan)
    compared = Comparison(plan.from_ms, plan.to_ms, plan.policy["max_future_ms"], top)
    pairs = [_pair(settings, plan, name, number) for name in COMPARED for number in range(plan.partitions)]
    both = [tp for pair in pairs for tp in pair]
    async with reading(settings, both) as reader:
        every, done = await _offsets(reader, both), 0

        def progress(more: int) -> None:
            nonlocal done
            done += more
            tell(done, every)

        wanted, since = Wanted.of(plan), written_since(plan)
        for live, replay in pairs:
            ours = await read_last(reader, replay, wanted, progress=progress)
            compared.add(await read_last(reader, live, wanted, since_ms=since, progress=progress), ours)
    return compared


async def planned(settings: Settings, given: str) -> Plan:
    """The plan of a replay that was run to its end, by its id.

    Raises UsageError for one that there was not, that has not ended well, or that was deleted.
    """
    entry = await audit.require(settings, given)
    if entry.outcome is not RunOutcome.DONE:
        raise UsageError(f"the replay {entry.id} is {entry.outcome}: only one that was done can be looked at")
    return entry.plan


async def export(
    settings: Settings, plan: Plan, into: Export, tell: Callable[[int, int], None], *, live: bool
) -> Export:
    """All windows of a replay; with ``live`` also the live ones of its range. Raises as `diff` does."""
    await _require_topics(settings, plan)
    pairs = [_pair(settings, plan, SESSION_WINDOWS, number) for number in range(plan.partitions)]
    read = [(replay, plan.id) for _, replay in pairs] + [(tp, LIVE_RUN) for tp, _ in pairs if live]
    async with reading(settings, [tp for tp, _ in read]) as reader:
        every, done = await _offsets(reader, [tp for tp, _ in read]), 0

        def progress(more: int) -> None:
            nonlocal done
            done += more
            tell(done, every)

        for tp, run in read:
            since = written_since(plan) if run == LIVE_RUN else None
            last = await read_last(reader, tp, Wanted.of(plan), since_ms=since, progress=progress)
            into.add(last.results.values(), run)
    return into


def _pair(settings: Settings, plan: Plan, name: str, partition: int) -> tuple[TopicPartition, TopicPartition]:
    """The live one and that of the replay."""
    live, replay = settings.topic(name), settings.topic(plan.topic(name))
    return TopicPartition(live, partition), TopicPartition(replay, partition)


async def _offsets(reader: Reader, partitions: list[TopicPartition]) -> int:
    """About how many are read."""
    begins = await reader.beginning_offsets(partitions)
    ends = await reader.end_offsets(partitions)
    return sum(ends[tp] - begins[tp] for tp in partitions)


async def _require_topics(settings: Settings, plan: Plan) -> None:
    if plan.topic_prefix != settings.topic_prefix:
        raise UsageError(
            f"the plan is of topics with the prefix {plan.topic_prefix!r}, the settings say {settings.topic_prefix!r}"
        )
    own = [settings.topic(plan.topic(name)) for name in COMPARED]
    for topic in await topics.describe(_only((*COMPARED, *map(plan.topic, COMPARED))), settings):
        if topic.made is TopicStatus.MISSING and topic.name in own:
            raise UsageError(f"there is no {topic.name}: the replay was not run, or its results have expired")
        if topic.made is TopicStatus.MISSING:
            raise UsageError(f"there is no {topic.name}: nothing was counted live here")
        if topic.partitions < plan.partitions:
            raise UsageError(f"{topic.name} has {topic.partitions} partitions, and the plan {plan.partitions}")


def _only(names: tuple[str, ...]) -> Role:
    """For looking at some topics: nobody works by it."""
    specs = tuple(Spec(name, {}) for name in names)
    return Role(name="replay-diff", inputs=(), outputs=(), state="", specs=specs, machines=WORKER.machines)
