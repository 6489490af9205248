"""What was replayed: live.replays, one record for each replay, with its plan, who ran it and why, and what became of it.

The plan is kept there as it was run, so that whoever goes on with a replay, compares or promotes it needs no file. The topic
is compacted by id and nothing is forgotten: deleting a replay deletes its topics, and its record says so.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from stream import __version__
from stream.config import Settings
from stream.core.deadletters import LETTER_BYTES
from stream.errors import FailedError, UsageError
from stream.kafka import client, presence, statereader, topics
from stream.kafka.client import Producer
from stream.kafka.patches import end_txn
from stream.kafka.role import Role, Spec
from stream.kafka.statereader import HangingTransactionError
from stream.kafka.topics import MAX_BYTES, TIMESTAMPS
from stream.model.names import REPLAYS
from stream.operate.shards import reading
from stream.replay import plan as plans
from stream.replay.plan import Plan
from stream.sessions.role import WORKER

ROLE: Final = Role(
    name="replay",
    inputs=(),
    outputs=(),
    state=REPLAYS,
    specs=(Spec(REPLAYS, {"cleanup.policy": "compact", MAX_BYTES: str(LETTER_BYTES), TIMESTAMPS: "LogAppendTime"}),),
    machines=WORKER.machines,
)
"""Only its topic is used. It is made by who first runs a replay: no worker reads or writes it."""
_UNKNOWN: Final = "so it is not known what was replayed"


class RunOutcome(StrEnum):
    """Where a replay stands."""

    RUNNING = "running"
    """Or its process was killed."""
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    DELETED = "deleted"
    """Its topics are gone."""


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """Its results were sent to the live topics, or what was there before was sent back. New fields need a default."""

    at_ms: int
    by: str
    why: str
    sessions: list[str]
    undo: bool = False
    outcome: str = "sent"
    """What is known of it here; what workers made of it is in live.promotions."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One replay. Times are ms since 1970, UTC. New fields need a default."""

    id: str
    plan_hash: str
    plan: Plan
    by: str
    """Who ran it last, as user@host or as --by says."""
    why: str = ""
    outcome: RunOutcome
    detail: str = ""
    """What it failed of, or who has deleted it."""
    started_ms: int
    """For the first time."""
    changed_ms: int
    ended_ms: int | None = None
    resumed: int = 0
    """How often it was gone on with."""
    records: int = 0
    """That were read."""
    counts: dict[str, int] = {}
    """Of them by outcome of a record."""
    promotions: list[Promotion] = []
    version: str = __version__
    """Of liveshop, that wrote this."""

    def value(self) -> bytes:
        return msgspec.json.encode(self)


_decode: Final = msgspec.json.Decoder(Entry).decode


def now_ms() -> int:
    return int(time.time() * 1000)


def begun(plan: Plan, by: str, why: str, before: Entry | None) -> Entry:
    """The entry of a replay that begins now, or is gone on with: ``before`` is what is known of its id.

    Raises UsageError for an id that another plan has, and for one whose topics were deleted.
    """
    now = now_ms()
    if before is None:
        running = RunOutcome.RUNNING
        return Entry(
            id=plan.id, plan_hash=plan.hash, plan=plan, by=by, why=why, outcome=running, started_ms=now, changed_ms=now
        )
    if before.plan_hash != plan.hash:
        raise UsageError(f"a replay {plan.id} of another plan is there already: plan this one under another --id")
    if before.outcome is RunOutcome.DELETED:
        raise UsageError(f"the replay {plan.id} was deleted: plan it anew under another --id")
    return changed(
        before, by=by, why=why or before.why, outcome=RunOutcome.RUNNING, detail="", resumed=before.resumed + 1
    )


def changed(entry: Entry, **more: Any) -> Entry:
    """With other values, as of now."""
    return msgspec.structs.replace(entry, **{"changed_ms": now_ms(), "version": __version__, **more})


def partition(settings: Settings) -> TopicPartition:
    return TopicPartition(settings.topic(REPLAYS), 0)


# -- reading


async def every(settings: Settings) -> list[Entry]:
    """All replays there were, the one that was begun first before the others.

    Raises FailedError for what cannot be read, or is none of liveshop's.
    """
    if not await presence.is_there(settings, partition(settings).topic, _UNKNOWN):
        return []
    return sorted((await _read(settings)).values(), key=lambda entry: (entry.started_ms, entry.id))


async def find(settings: Settings, plan_id: str) -> Entry | None:
    """None: there was none of that id. Raises FailedError as `every` does, and for a plan that was edited."""
    if not await presence.is_there(settings, partition(settings).topic, _UNKNOWN):
        return None
    return _checked((await _read(settings)).get(plan_id), settings)


async def require(settings: Settings, plan_id: str) -> Entry:
    """Raises UsageError where there is none of that id."""
    found = await find(settings, plans.check_id(plan_id))
    if found is None:
        raise UsageError(f"there is no replay {plan_id}; replay list shows those there are")
    return found


def _checked(entry: Entry | None, settings: Settings) -> Entry | None:
    if entry is not None and not plans.sealed(entry.plan).hash == entry.plan.hash == entry.plan_hash:
        raise FailedError(f"{settings.topic(REPLAYS)}: the plan of {entry.id} is not the one that was run")
    return entry


async def _read(settings: Settings) -> dict[str, Entry]:
    """The newest of each id."""
    tp = partition(settings)
    found: dict[str, Entry] = {}
    async with reading(settings, [tp]) as reader:
        _, end = await statereader.bounds(reader, tp)
        try:
            await statereader.await_stable(reader, tp, end, settings.transaction_timeout.total_seconds())
        except HangingTransactionError:
            raise FailedError(f"{tp.topic} ends in an open transaction of somebody else, {_UNKNOWN}") from None
        begin, end = await statereader.bounds(reader, tp)
        async for record in statereader.read(reader, tp, begin, end, refused=True):
            entry = _entry(record, tp)
            found[entry.id] = entry
    return found


def _entry(record: Any, tp: TopicPartition) -> Entry:
    try:
        entry = _decode(record.value or b"")
        if record.key == entry.id.encode():
            return entry
    except (msgspec.DecodeError, UnicodeError, RecursionError, AttributeError, TypeError):
        pass
    raise FailedError(
        f"{tp.topic}: the record at offset {record.offset} is none of liveshop, or of a later version: "
        "who else writes there?"
    )


# -- writing


Change = Callable[[Entry | None], Entry]


async def record(settings: Settings, entry: Entry) -> None:
    """Writes it in the place of what was known of its id. Raises as `change` does."""
    await change(settings, entry.id, lambda _: entry)


async def change(settings: Settings, plan_id: str, make: Change) -> Entry:
    """Writes what is made of what is known of an id, and returns it; of two who do that at once, one fails.

    Raises FailedError for trouble with brokers, and what ``make`` raises: then nothing is written.
    """
    if not await presence.is_there(settings, partition(settings).topic, _UNKNOWN):
        await topics.create(ROLE, settings, 1, None)
    async with _producer(settings, plan_id) as producer:  # from here on, another one's write fails
        entry = make(_checked((await _read(settings)).get(plan_id), settings))
        await _write(settings, producer, entry)
    return entry


@asynccontextmanager
async def _producer(settings: Settings, plan_id: str) -> AsyncIterator[Producer]:
    producer = client.make_producer(settings, f"liveshop.{partition(settings).topic}.{plan_id}")
    await client.start(producer, settings)
    try:
        yield producer
    finally:
        await client.end(producer)


async def _write(settings: Settings, producer: Producer, entry: Entry) -> None:
    tp = partition(settings)
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(tp.topic, entry.value(), key=entry.id.encode(), partition=tp.partition)
        await end_txn.commit(producer, settings.transaction_timeout.total_seconds())
    except end_txn.SpentError:
        return  # it is committed
    except ProducerFenced:
        raise FailedError(
            f"somebody else has written of the replay {entry.id} meanwhile: look, then try again"
        ) from None
    except KafkaError as error:
        raise FailedError(f"{tp.topic} could not be written: {type(error).__name__}: {error}") from error
