"""Dead letters sent again, to the topics they came from: looked at first, then in transactions that name what they sent.

A transaction holds the records and the line of live.redrives that names their letters, so that after a crash, a Ctrl-C or a
lost broker the same command goes on exactly where the last transaction ended: nothing twice, nothing lost. There is one
transactional id for all of an installation: whoever starts last goes on, and whoever was there before is told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced

from stream.config import Settings
from stream.core.framing import StateError
from stream.core.statelog import Provenance
from stream.dlq import ledger, reading
from stream.dlq.drafts import Desk, Draft, Left, Refusal, Tally
from stream.dlq.fixes import Fix
from stream.dlq.ledger import Entry, Redriven
from stream.dlq.letters import Selection
from stream.dlq.outlook import NOTHING_FORGOTTEN, Clocks
from stream.errors import FailedError
from stream.kafka import client, preflight, statereader, topicids
from stream.kafka.client import Producer, Reader
from stream.kafka.partitions import OutgrownError
from stream.kafka.patches import end_txn
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import HangingTransactionError
from stream.model.names import DEAD_LETTERS, INPUTS, STATE, Kind
from stream.operate.shards import reading as reader_of
from stream.printed import command
from stream.sessions import topics
from stream.sessions.figures import policy_of
from stream.sessions.role import WORKER

log: Final = structlog.get_logger("liveshop")

MOST: Final = 500
MOST_BYTES: Final = 4 * 1024 * 1024
"""Records of one transaction, and their bytes, but for the last one."""
ABORT_SECONDS: Final = 1.0
CLOCKS_SECONDS: Final = 10.0
"""The workers' clocks are looked at again after so long."""


class _Head(Provenance):
    """What a checkpoint says of its clocks, and of the checkout keys that it has forgotten."""

    clocks: dict[str, int | None] = msgspec.field(default_factory=dict)
    checkout_floor: int = NOTHING_FORGOTTEN


@dataclass(frozen=True, slots=True)
class Redrive:
    """What an operator asks for."""

    selection: Selection
    by: str
    fixes: tuple[Fix, ...] = ()
    rate: int = 1000
    """Records a second, at most."""
    max_redrives: int = 3


@dataclass(slots=True)
class Done:
    """What became of it so far."""

    tally: Tally = field(default_factory=Tally)
    read: int = 0
    committed: int = 0
    """Records that were sent."""
    transactions: int = 0


async def look(settings: Settings, asked: Redrive, tell: reading.Tell) -> Done:
    """What would be sent and what not. Writes nothing, touches nobody."""
    done = Done()
    async with _opened(settings, asked, is_there=await ledger.there(settings)) as letters:
        redriven = await letters.redriven()
        async for _ in letters.judged(redriven, done, tell):
            pass
    return done


async def execute(settings: Settings, asked: Redrive, tell: reading.Tell, done: Done) -> None:
    """Sends them. ``done`` is true at any moment, also when this is interrupted.

    Raises FailedError when somebody else has taken over, or when brokers give trouble: the same command goes on.
    """
    await ledger.make(settings)
    async with _opened(settings, asked, is_there=True) as letters:
        name = f"liveshop.{ledger.partition(settings).topic}"
        producer = client.make_producer(settings, name)
        await client.start(producer, settings)
        try:
            redriven = await letters.redriven(settings.transaction_timeout.total_seconds())
            await _send(letters, _Sending(settings, asked, producer, letters.topic_id, done), redriven, tell)
        except ProducerFenced:
            raise FailedError(
                f"after {done.committed} records of this one another redrive has taken over, or a broker has aborted a "
                "transaction that took longer than --transaction-timeout. What was sent is noted; the same command goes on"
            ) from None
        except HangingTransactionError:
            raise FailedError(
                f"{ledger.partition(settings).topic} ends in an open transaction of somebody else: nothing was sent. "
                f"This says whose, and how to end it: {command(settings, 'doctor')}"
            ) from None
        except (KafkaError, IllegalOperation, TimeoutError) as error:
            raise FailedError(
                f"the broker could not do it after {done.committed} records: {type(error).__name__}: {error}. "
                "What was committed is noted, and the same command goes on"
            ) from error
        finally:
            await client.end(producer)
    if done.committed:
        log.warning("dead letters were sent again", records=done.committed, by=asked.by)


async def _send(letters: "_Letters", sending: "_Sending", redriven: Redriven, tell: reading.Tell) -> None:
    batch: list[Draft] = []
    size = 0
    async for draft in letters.judged(redriven, sending.done, tell):
        is_full = len(batch) >= min(MOST, sending.asked.rate) or size >= MOST_BYTES
        if batch and (is_full or batch[0].letter.partition != draft.letter.partition):
            await sending.commit(batch)
            batch, size = [], 0
        batch.append(draft)
        size += draft.size
    if batch:
        await sending.commit(batch)


@dataclass(slots=True)
class _Sending:
    settings: Settings
    asked: Redrive
    producer: Producer
    topic_id: str
    done: Done
    free_at: float = field(default_factory=time.monotonic)
    """When the next record may be sent by the rate."""

    async def commit(self, batch: list[Draft]) -> None:
        """In one transaction, at the rate that is allowed."""
        await asyncio.sleep(max(0.0, self.free_at - time.monotonic()))
        self.free_at = max(self.free_at, time.monotonic()) + len(batch) / self.asked.rate
        seconds = self.settings.transaction_timeout.total_seconds()
        async with asyncio.timeout(seconds):
            await self.producer.begin_transaction()
            try:
                await self._send_all(batch)
            except BaseException:
                await self._abort()
                raise
        try:
            await end_txn.commit(self.producer, seconds)
        except end_txn.SpentError:
            self._count(batch)  # it is committed, and nothing more can be done with this producer
            raise
        self._count(batch)

    def _count(self, batch: list[Draft]) -> None:
        self.done.committed += len(batch)
        self.done.transactions += 1

    async def _send_all(self, batch: list[Draft]) -> None:
        """With their entry. Whatever a call has raised, what the requests before it have met may say why."""
        sent: list[asyncio.Future[object]] = []
        raised: list[Exception] = []
        entry, tp = self._entry(batch), ledger.partition(self.settings)
        try:
            for draft in batch:
                sent.append(await self._send(draft))  # noqa: PERF401 - those that were sent count when one fails
            sent.append(await self.producer.send(tp.topic, entry.value(), key=entry.key(), partition=tp.partition))
        except Exception as error:  # noqa: BLE001 - the worst of all is raised
            raised.append(error)
        _raise_worst([*raised, *await asyncio.gather(*sent, return_exceptions=True)])

    async def _abort(self) -> None:
        """So that the readers of the inputs do not wait until the broker does it. What fails is the broker's to end."""
        with suppress(Exception):
            async with asyncio.timeout(ABORT_SECONDS):
                await self.producer.abort_transaction()

    async def _send(self, draft: Draft) -> "asyncio.Future[object]":
        sent: asyncio.Future[object] = await self.producer.send(
            draft.topic, draft.value, key=draft.key, partition=draft.partition, headers=list(draft.headers)
        )
        return sent

    def _entry(self, batch: list[Draft]) -> Entry:
        meant = self.asked.selection
        return Entry(
            topic_id=self.topic_id,
            partition=batch[0].letter.partition,
            offsets=ledger.runs(draft.letter.offset for draft in batch),
            letters=len(batch),
            by=self.asked.by,
            fixes=[fix.name for fix in self.asked.fixes],
            reasons=sorted(meant.reasons),
            topics=sorted(meant.topics),
            from_ms=meant.from_ms,
            to_ms=meant.to_ms,
            session=meant.session,
        )


def _raise_worst(results: Sequence[object]) -> None:
    """A fence before anything else: what it makes of the other requests is not what happened.

    What aiokafka says of its own state comes last: it only says that something went wrong before.
    """
    errors = [each for each in results if isinstance(each, BaseException)]
    if errors:
        raise min(errors, key=lambda each: (not isinstance(each, ProducerFenced), not isinstance(each, KafkaError)))


# -- letters, judged by the clocks of now


@asynccontextmanager
async def _opened(settings: Settings, asked: Redrive, *, is_there: bool) -> AsyncIterator["_Letters"]:
    """``is_there``: live.redrives."""
    counts = await topics.counts(settings, (*INPUTS.values(), STATE))
    number = min(counts.values())
    shards = [ShardContext(settings, each, number, WORKER) for each in range(number)]
    partitions = await reading.partitions_of(settings)
    every = [*partitions, *(context.state for context in shards), *([ledger.partition(settings)] if is_there else [])]
    async with reader_of(settings, every) as reader:
        await _insist_on_workers(settings, reader, shards, counts)
        topic_id = _letters_id(await topicids.fetch(WORKER, reader, settings))
        yield _Letters(settings, asked, reader, shards, partitions, topic_id, is_there)


def _letters_id(ids: Mapping[str, str]) -> str:
    """Empty where brokers know no ids. FailedError where they know others: the ledger would seem to name other letters."""
    if ids and DEAD_LETTERS not in ids:
        raise FailedError(f"no broker tells the id of {DEAD_LETTERS} now: try again")
    return ids.get(DEAD_LETTERS, "")


async def _insist_on_workers(
    settings: Settings, reader: Reader, shards: Sequence[ShardContext], counts: Mapping[str, int]
) -> None:
    """Raises OutgrownError where workers count nothing any more: what is sent there would be lost to everybody."""
    try:
        newest = [(shard, await statereader.newest_checkpoint(reader, shard.state)) for shard in shards]
    except StateError:
        return  # who asks for the clocks says so
    why = preflight.outgrown(WORKER, settings, [each for each in newest if each[1] is not None], counts)
    if why is not None:
        raise OutgrownError(why, settings)


@dataclass(slots=True)
class _Letters:
    settings: Settings
    asked: Redrive
    reader: Reader
    shards: list[ShardContext]
    partitions: list[TopicPartition]
    topic_id: str
    has_ledger: bool

    async def redriven(self, patience: float | None = None) -> Redriven:
        if not self.has_ledger:
            return Redriven(())
        return await ledger.read(self.reader, self.settings, self.topic_id, patience)

    async def judged(self, redriven: Redriven, done: Done, tell: reading.Tell) -> AsyncIterator[Draft]:
        """Those to send, in order; the others are noted. Ends where the topic ended at the beginning."""
        ranges = await reading.stretches(self.reader, self.partitions, self.asked.selection.from_ms)
        found = reading.Found()
        desk, looked = await self._desk(), time.monotonic()
        async for letter in reading.selected(self.reader, ranges, self.asked.selection, found, tell):
            if time.monotonic() - looked > CLOCKS_SECONDS:
                desk, looked = await self._desk(), time.monotonic()
            judged: Draft | Refusal = Refusal(Left.REDRIVEN)
            if not redriven.has(letter.partition, letter.offset):
                judged = desk.judge(letter, int(time.time() * 1000))
            done.tally.note(judged)
            if isinstance(judged, Draft):
                yield judged
        done.read = found.read

    async def _desk(self) -> Desk:
        return Desk(
            kinds={self.settings.topic(topic): kind for kind, topic in INPUTS.items()},
            partitions=len(self.shards),
            clocks=[await self._clocks(shard) for shard in self.shards],
            fixes=self.asked.fixes,
            max_redrives=self.asked.max_redrives,
        )

    async def _clocks(self, shard: ShardContext) -> Clocks:
        """Under the settings of the worker, whatever ours are."""
        try:
            found = await statereader.newest_head(self.reader, shard.state, _Head)
            if found is None:
                return Clocks(self.settings.policy())
            head, _ = found
            clocks = {Kind(name): clock for name, clock in head.clocks.items() if clock is not None}
            return Clocks(policy_of(head.policy), clocks, head.checkout_floor)
        except (StateError, ValueError) as error:
            raise FailedError(
                f"the state of partition {shard.partition} cannot be read, so nobody can say what would be late: {error}. "
                f"This says more: {command(self.settings, 'state verify')}"
            ) from None
