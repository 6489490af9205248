"""What Prometheus is shown of shards that are stopped, moved, given back and rebuilt, held against a recount of the topics.

What one shard shows after each way a window can close is in tests/core/test_gauges.py.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import pytest

from stream.config import Settings
from stream.kafka import membership, shard_loop
from stream.kafka.retries import BackoffPolicy
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, KINDS, SESSION_WINDOWS, Kind
from stream.observe.metrics import Metrics
from stream.operate import rebuild as rebuilding
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from stream.sessions.worker import make_worker
from tests.core.test_gauges import Recount
from tests.kafka.tools import Memory, everything, make_topics, newest, send, settings, view
from tests.operate.tools import eventually
from tests.recount import LogRecord

pytestmark = pytest.mark.kafka

NUMBERS = (0, 1)
HOUR_MS = 3_600_000


@asynccontextmanager
async def worker(config: Settings) -> AsyncIterator[Metrics]:
    metrics = Metrics(config)
    running = asyncio.ensure_future(make_worker(config, metrics, Memory(), rebuild=False).run())
    try:
        yield metrics
    finally:
        running.cancel()
        await asyncio.wait({running}, timeout=20)
        assert running.done()


def test_gauges_are_as_recounted_when_shards_are_moved_given_back_and_rebuilt(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "BACKOFF", BackoffPolicy(0.1, 0.5))
    monkeypatch.setattr(shard_loop, "CHECK_OWNERSHIP_EVERY", 0.5)

    async def main() -> None:
        config = settings(kafka, prefix)
        await make_topics(config, len(NUMBERS))
        async with worker(config) as first:
            await _happened(kafka, config, ago=2 * HOUR_MS)
            await _as_recounted(kafka, config, [first], "silence has closed them all")
            await _happened(kafka, config, ago=0)
            await _as_recounted(kafka, config, [first], "some are open")
            async with worker(config) as second:
                await _as_recounted(kafka, config, [first, second], "each has one of the shards")
                assert [_value(each, "known_sessions", partition="0", type="views") for each in (first, second)].count(
                    None
                ) == 1
            await _as_recounted(kafka, config, [first], "the other is given back")
        async with worker(config) as again:
            await _as_recounted(kafka, config, [again], "it is restored")
            context = ShardContext(config, 0, len(NUMBERS), WORKER)
            await rebuilding.execute(context, await rebuilding.plan(context))
            await _as_recounted(kafka, config, [again], "one is rebuilt", generations={0: 1})

    asyncio.run(main())


async def _happened(kafka: EmbeddedKafka, config: Settings, ago: int) -> None:
    now = int(time.time() * 1000) - ago
    for partition in NUMBERS:
        sessions = [f"{partition}/{ago}/{number}".replace("/", "-") for number in range(3)]
        rows: Any = [
            (session.encode(), view(ago + number, session, event_time=now - number * 10))
            for session in sessions
            for number in range(7)
        ]
        await send(kafka, config.topic(INPUTS[Kind.VIEWS]), rows, partition)


async def _as_recounted(
    kafka: EmbeddedKafka,
    config: Settings,
    workers: Sequence[Metrics],
    what: str,
    generations: dict[int, int] | None = None,
) -> None:
    """They must be so before long, and still be some looks later."""
    wrong: dict[str, Any] = {}

    async def same() -> bool:
        nonlocal wrong
        shown = _shown(config, workers)
        expected = await _expected(kafka, config, generations or {})
        expected["partitions"] = [len(NUMBERS)] * len(workers)
        wrong = {name: (shown[name], expected[name]) for name in expected if shown[name] != expected[name]}
        return not wrong

    try:
        await eventually(same, what, 60.0)
        await asyncio.sleep(1.5)  # a look is made each second
        await eventually(same, what, 20.0)
    except AssertionError as error:
        raise AssertionError(f"{error}; shown and expected: {wrong}") from None


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"liveshop_{name}", labels)


def _shown(config: Settings, workers: Sequence[Metrics]) -> dict[str, Any]:
    """Sums of all, and of each partition what the one shows that has it."""

    def of(name: str, **labels: str) -> list[float]:
        return [value for each in workers if (value := _value(each, name, **labels)) is not None]

    shown: dict[str, Any] = {name: sum(of(name)) for name in ("windows_closed_held", "sessions_open", "sessions_held")}
    shown["partitions"] = [_value(each, "partitions") for each in workers]
    shown["shards_assigned"] = sum(of("shards_assigned"))
    shown |= {f"windows_open {name}": sum(of("windows_open", window=name)) for name in ("1m", "5m")}
    for number in map(str, NUMBERS):
        for name in ("shard_running", "stuck_seconds", "uncommitted_seconds"):
            shown[f"{name} {number}"] = of(name, partition=number)
        for name in ("dedupe_ids", "checkout_keys", "sessions_gone", "state_refused"):
            shown[f"{name} {number}"] = of(name, partition=number)
        for kind in KINDS:
            shown[f"known {kind} {number}"] = of("known_sessions", type=kind, partition=number)
            for name in ("lag_records", "lag_seconds", "topic_left_out", "upstream_transaction_seconds"):
                shown[f"{name} {kind} {number}"] = of(name, topic=config.topic(INPUTS[kind]), partition=number)
    return shown


async def _expected(kafka: EmbeddedKafka, config: Settings, generations: dict[int, int]) -> dict[str, Any]:
    found: Counter[str] = Counter()
    expected: dict[str, Any] = {"shards_assigned": len(NUMBERS)}
    for number in NUMBERS:
        recounted = await _recounted(kafka, config, number)
        results = newest(await everything(kafka, config.topic(SESSION_WINDOWS), number))
        results = {key: each for key, each in results.items() if each["generation"] == generations.get(number, 0)}
        written = {f"{each['session_id']}/{each['window']}/{each['start']}" for each in results.values()}
        found.update(f"windows_open {name}" for name, key in recounted.windows() if key not in written)
        found["sessions_held"] += len(recounted.aired_to)
        ended = time.time() * 1000 - config.session_end_after.total_seconds() * 1000
        found["sessions_open"] += sum(last > ended for last in recounted.aired_to.values())
        clock = recounted.clocks[Kind.VIEWS]
        assert clock is not None
        policy = config.policy()
        dropped = clock - policy.longest_ms - policy.state_retention_ms
        found["windows_closed_held"] += sum(each["start"] > dropped for each in results.values())
        expected |= _of_partition(number, recounted)
    sums = ("windows_open 1m", "windows_open 5m", "sessions_held", "sessions_open", "windows_closed_held")
    return expected | {name: found[name] for name in sums}


def _of_partition(number: int, recounted: Recount) -> dict[str, Any]:
    expected: dict[str, Any] = {
        f"dedupe_ids {number}": [recounted.ids()],
        f"checkout_keys {number}": [0],
        f"sessions_gone {number}": [0],
        f"state_refused {number}": [0],
        f"shard_running {number}": [1],
        f"stuck_seconds {number}": [0],
        f"uncommitted_seconds {number}": [0],
    }
    known = recounted.known()
    per_kind = ({f"known {kind} {number}": [known[kind]]} for kind in KINDS)
    still = (
        {f"{name} {kind} {number}": [0]}
        for kind in KINDS
        for name in ("lag_records", "lag_seconds", "topic_left_out", "upstream_transaction_seconds")
    )
    for each in chain(per_kind, still):
        expected |= each
    return expected


async def _recounted(kafka: EmbeddedKafka, config: Settings, number: int) -> Recount:
    logs: dict[Kind, list[LogRecord]] = {}
    for kind in KINDS:
        records = await everything(kafka, config.topic(INPUTS[kind]), number)
        logs[kind] = [
            LogRecord(str(kind), number, record.offset, record.timestamp, record.key, record.value)
            for record in records
        ]
    return Recount(config.policy(), logs)
