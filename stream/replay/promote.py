"""Promoting a replay: its results of whole sessions are sent to live.promotions, which the workers read; and back again.

The worker stays the only writer of the live topics. Each session is one transaction; who promotes is the only one who does
in an installation: a second one fences the first.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from stream.config import Settings
from stream.core.session import PAST_SINCE
from stream.core.shard import Shard
from stream.core.statelog import Provenance, newest_provenance
from stream.errors import FailedError, UsageError
from stream.kafka import client, statereader, topics
from stream.kafka.client import Producer, Reader
from stream.kafka.patches import end_txn
from stream.kafka.shard_context import ShardContext
from stream.model import promotions
from stream.model.names import PROMOTED, PROMOTION_OUTCOMES, PROMOTIONS, SESSION_WINDOWS, SESSIONS, STATE
from stream.model.promotions import Change, Manifest, Verdict, number_of
from stream.operate.shards import reading
from stream.replay.plan import Plan
from stream.replay.promotable import Both, Session, Standing, by_session, promoting, standing, undoing
from stream.replay.results import Wanted, read_last, written_since
from stream.sessions.figures import policy_of
from stream.sessions.role import PROMOTING

AT_ONCE: Final = 100
"""Sessions of one partition that are sent before what became of them is awaited."""
LOOK_AGAIN: Final = 0.3
"""Seconds."""
_verdict: Final = msgspec.json.Decoder(Verdict).decode
Records = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Report:
    """What was promoted. Sessions by id."""

    standings: dict[str, Standing] = field(default_factory=dict)
    windows: int = 0
    """Of those that are promoted."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    """Sent, and nothing was said of them in time: a worker applies them when their windows are final."""

    def of(self, wanted: Standing) -> list[str]:
        return [session for session, found in self.standings.items() if found is wanted]

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(verdict.outcome for verdict in self.verdicts.values())


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be promoted, by whom and why."""

    plan: Plan
    by: str
    reason: str
    sessions: frozenset[str] = frozenset()
    """Only these; all, where it is empty."""
    dry_run: bool = False
    wait: float = 30.0
    """Seconds for which what becomes of it is awaited."""


async def require_topics(settings: Settings) -> None:
    """Raises UsageError where replays cannot be promoted."""
    unfit = await topics.unfit(PROMOTING, settings)
    if unfit:
        raise UsageError(
            f"there is no {', '.join(map(settings.topic, unfit))} with as many partitions as the inputs: "
            "topics create makes it; then start the workers again"
        )


async def promote(settings: Settings, asked: Asked) -> Report:
    """Sends what differs. Raises UsageError, FailedError, TimeoutError when the broker stays silent."""
    await require_topics(settings)
    report = Report()
    for number in range(asked.plan.partitions):
        await _promote_partition(settings, asked, number, report)
    unknown = asked.sessions - report.standings.keys()
    if unknown:
        raise UsageError(f"the replay has counted nothing of the session {min(unknown)}")
    return report


async def _promote_partition(settings: Settings, asked: Asked, number: int, report: Report) -> None:
    plan = asked.plan
    names = (SESSION_WINDOWS, SESSIONS, STATE)
    places = {name: TopicPartition(settings.topic(name), number) for name in (*names, *map(plan.topic, names))}
    async with reading(settings, places.values()) as reader:
        both = await _results(reader, places, plan, asked.sessions)
        sessions = {
            name: each for name, each in by_session(both).items() if not asked.sessions or name in asked.sessions
        }
        wanted = []
        for name, session in sessions.items():
            found = report.standings[name] = standing(session, plan, both.windows[0].kept_from)
            if found is Standing.PROMOTED:
                wanted.append(session)
                report.windows += session.size
        if not wanted:
            return
        live = await _shard(reader, settings, places[STATE], number, plan.partitions)
        replay = await _shard(reader, settings, places[plan.topic(STATE)], number, plan.partitions)
    _require_ready(live, settings)
    _require_same_windows(live, plan)
    if not asked.dry_run:
        await _send_all(settings, asked, number, [_of(each, asked, live, replay) for each in wanted], report)


def _of(session: Session, asked: Asked, live: Shard, replay: Shard) -> Records:
    return promoting(session, asked.plan, live, replay, by=asked.by, reason=asked.reason)


async def _results(reader: Reader, places: dict[str, TopicPartition], plan: Plan, sessions: Collection[str]) -> Both:
    wanted = Wanted.of(plan)
    if sessions:
        wanted = Wanted(plan.from_ms, plan.to_ms, frozenset(sessions))
    since = written_since(plan)
    found = []
    for name in (SESSION_WINDOWS, SESSIONS):
        live = await read_last(reader, places[name], wanted, since_ms=since)
        found.append((live, await read_last(reader, places[plan.topic(name)], wanted)))
    return Both(*found)


async def _shard(reader: Reader, settings: Settings, state: TopicPartition, number: int, partitions: int) -> Shard:
    """As its newest checkpoint has it."""
    found = await statereader.read_state(reader, state, settings.transaction_timeout.total_seconds())
    if not found.records:
        raise FailedError(f"{state.topic}, partition {number}, holds no state")
    meta = newest_provenance(found.records, Provenance)
    placed = ShardContext(settings, number, partitions, PROMOTING).placed()
    return Shard.restore(policy_of(meta.policy), found.records, placed=placed, vouched=found.vouched)


def _require_ready(live: Shard, settings: Settings) -> None:
    if live.format.version < PAST_SINCE:
        raise UsageError(
            f"the workers keep their states in format {live.format.version}, which does not hold what promotions need: "
            "start them with --state-format newest"
        )
    if PROMOTED not in live.positions:
        raise UsageError(f"the workers do not read {settings.topic(PROMOTIONS)} yet: start them again")


def _require_same_windows(live: Shard, plan: Plan) -> None:
    """Else windows of one kind would be deleted, and some of another be written that no worker goes on with."""
    ours = [[spec.name, spec.size_ms, spec.slide_ms] for spec in live.policy.windows]
    theirs = [list(each) for each in plan.policy["windows"]]
    if ours != theirs:
        raise UsageError(
            f"the replay {plan.id} has counted other windows than the workers: it can be compared, not promoted"
        )


# -- sending


@asynccontextmanager
async def _producing(settings: Settings) -> AsyncIterator[Producer]:
    """The only one of the installation: whoever starts another one fences it."""
    producer = client.make_producer(settings, f"liveshop.{settings.topic(PROMOTIONS)}")
    await client.start(producer, settings)
    try:
        yield producer
    finally:
        await client.end(producer)


async def _send_all(settings: Settings, asked: Asked, number: int, promotions_: list[Records], report: Report) -> None:
    outcomes = TopicPartition(settings.topic(PROMOTION_OUTCOMES), number)
    async with _producing(settings) as producer, reading(settings, [outcomes]) as reader:
        for begin in range(0, len(promotions_), AT_ONCE):
            piece = promotions_[begin : begin + AT_ONCE]
            _, position = await statereader.bounds(reader, outcomes)
            for records in piece:
                await _send(settings, producer, number, records)
            await _await(reader, outcomes, position, _ids(piece), report, wait=asked.wait)


async def _send(settings: Settings, producer: Producer, number: int, records: Records) -> None:
    """All of one session, in one transaction."""
    topic = settings.topic(PROMOTIONS)
    try:
        await producer.begin_transaction()
        for key, value in records:
            await producer.send(topic, value, key=key, partition=number)
        await producer.flush()
        await end_txn.commit(producer, settings.transaction_timeout.total_seconds())
    except ProducerFenced:
        raise FailedError("somebody else promotes a replay now: look what has become of this one, then go on") from None
    except KafkaError as error:
        raise FailedError(f"{topic} could not be written: {type(error).__name__}: {error}") from error


def _ids(sent: list[Records]) -> dict[str, str]:
    """Of promotions, with their sessions."""
    manifests = [promotions.read(records[-1][1]) for records in sent]
    return {manifest.promotion: manifest.session_id for manifest in manifests}


async def _await(
    reader: Reader, outcomes: TopicPartition, position: int, left: dict[str, str], report: Report, *, wait: float
) -> None:
    """What became of them, as far as it is said in time."""
    until = asyncio.get_running_loop().time() + wait
    while left and asyncio.get_running_loop().time() < until:
        _, end = await statereader.bounds(reader, outcomes)
        async for record in statereader.read(reader, outcomes, position, end, refused=True):
            verdict = _read_verdict(record)
            if verdict is not None and left.pop(verdict.promotion, None) is not None:
                report.verdicts[verdict.session_id] = verdict
        position = end
        await asyncio.sleep(LOOK_AGAIN)
    report.waiting += left.values()


def _read_verdict(record: Any) -> Verdict | None:
    try:
        return _verdict(record.value or b"")
    except (msgspec.MsgspecError, UnicodeError, RecursionError, AttributeError, TypeError):
        return None


# -- undoing


async def undo(settings: Settings, asked: Asked) -> Report:
    """Puts back what was there before the replay was promoted, of all sessions of which that promotion was the last.

    Raises as `promote` does, and UsageError where there is none.
    """
    await require_topics(settings)
    report = Report()
    for number in range(asked.plan.partitions):
        await _undo_partition(settings, asked, number, report)
    if not report.standings:
        raise UsageError(f"there is no session of which the replay {asked.plan.id} was promoted last")
    return report


async def _undo_partition(settings: Settings, asked: Asked, number: int, report: Report) -> None:
    sent, state = (TopicPartition(settings.topic(name), number) for name in (PROMOTIONS, STATE))
    async with reading(settings, [sent, state]) as reader:
        found = await _sent_before(reader, sent, asked)
        if not found:
            return
        live = await _shard(reader, settings, state, number, asked.plan.partitions)
    _require_ready(live, settings)
    turned = []
    for manifest, changes in found.values():
        past = live.sessions.past(manifest.session_id.encode())
        if past is not None and past.promoted == number_of(manifest.promotion):
            turned.append(undoing(changes, manifest, live, by=asked.by, reason=asked.reason))
            report.standings[manifest.session_id] = Standing.PROMOTED
            report.windows += len(changes) - 1
    if turned and not asked.dry_run:
        await _send_all(settings, asked, number, turned, report)


async def _sent_before(reader: Reader, sent: TopicPartition, asked: Asked) -> dict[str, tuple[Manifest, list[Change]]]:
    """By id, the promotions of a replay that are still in the topic."""
    begin, end = await statereader.bounds(reader, sent)
    found: dict[str, tuple[Manifest, list[Change]]] = {}
    parts: dict[str, list[Change]] = {}
    async for record in statereader.read(reader, sent, begin, end, refused=True):
        try:
            each = promotions.read(record.value or b"")
        except (ValueError, AttributeError):
            continue
        if asked.sessions and each.session_id not in asked.sessions:
            continue
        if not isinstance(each, Manifest):
            parts.setdefault(each.promotion, []).append(each)
        else:
            changes = parts.pop(each.promotion, [])
            if each.replay == asked.plan.id and not each.undo:
                found[each.promotion] = each, changes[-each.records :]
    return found
