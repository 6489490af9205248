"""Last revisions: of each key the highest generation and revision, of the range and sessions asked for."""

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any, Final

import pytest
from aiokafka import TopicPartition

from stream.config import Settings
from stream.model.names import SESSION_WINDOWS
from stream.operate.shards import reading
from stream.replay.results import GONE, LastResults, Wanted, read_last, written_since
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka import tools
from tests.kafka.test_recovery import delete_records
from tests.replay.test_plan import a_plan

WANTED: Final = Wanted(60_000, 180_000)


def window(session: str = "7", start: int = 60_000, **changes: Any) -> tuple[bytes, bytes]:
    """Key and value, as a worker writes them."""
    value = {"session_id": session, "seller_id": "s9", "run": "live", "generation": 0, "revision": 1}
    value |= {"window": "1m", "start": start, "end": start + 60_000, "counts": {"views": 1}} | changes
    return f"{session}/1m/{start}".encode(), json.dumps(value).encode()


def totals(session: str, **changes: Any) -> tuple[bytes, bytes]:
    return session.encode(), json.dumps(
        {"session_id": session, "generation": 0, "revision": 1, "run": "live"} | changes
    ).encode()


def last(records: Iterable[tuple[bytes, bytes | None]], wanted: Wanted = WANTED) -> LastResults:
    found = LastResults(wanted)
    for key, value in records:
        found.add(key, value)
    return found


def test_the_highest_generation_and_revision_is_the_last_wherever_it_lies() -> None:
    newest = window(generation=1, revision=1, views=3)
    found = last([window(), window(revision=2), newest, window(revision=9)])
    assert [result.value for result in found.results.values()] == [newest[1]]
    assert [result.head.rank for result in found.results.values()] == [(1, 1)]


def test_of_one_revision_written_twice_the_later_record_counts() -> None:
    assert [each.value for each in last([window(), window(views=2)]).results.values()] == [window(views=2)[1]]


def test_a_tombstone_ends_what_was_before_it_and_what_comes_after_lives() -> None:
    key, value = window(revision=5)
    found = last([(key, value), (key, None)])
    assert not found.results
    assert found.deleted == {key}
    again = last([(key, value), (key, None), window(revision=1)])
    assert again.results[key].head.revision == 1
    assert not again.deleted


def test_only_windows_wholly_inside_and_sessions_with_an_event_there() -> None:
    starts = (59_999, 60_000, 120_000, 120_001)
    assert [each.head.start for each in last([window(start=start) for start in starts]).results.values()] == [
        60_000,
        120_000,
    ]
    spans = {"before": (1, 59_999), "begins": (1, 60_000), "ends": (179_999, 190_000), "after": (180_000, 180_002)}
    found = last([totals(name, first_event=first, last_event=end) for name, (first, end) in spans.items()])
    assert [*found.results] == [b"begins", b"ends"]
    assert [*last([totals("refunds alone")]).results] == [b"refunds alone"]


def test_only_the_sessions_and_sellers_that_are_named() -> None:
    records = [window("7"), window("8", seller_id="s1"), window("9")]
    named = Wanted(60_000, 180_000, frozenset({"7"}), frozenset({"s1"}))
    assert [each.head.session_id for each in last(records, named).results.values()] == ["7", "8"]


def test_a_later_revision_that_is_not_wanted_any_more_leaves_none() -> None:
    """A seller's label may change with a late event."""
    named = Wanted(60_000, 180_000, sellers=frozenset({"s9"}))
    assert not last([window(), window(revision=2, seller_id="s1")], named).results


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"\xff", b'{"session_id":"7"}', b'{"session_id":"7","generation":"a"}', b"[" * 10_000]
)
def test_what_is_no_result_of_ours_is_counted_and_left_out(value: bytes) -> None:
    found = last([window(), (window()[0], value)])
    assert found.strays == 1
    assert [each.value for each in found.results.values()] == [window()[1]]


def test_live_results_of_a_range_are_looked_for_from_an_hour_before_it() -> None:
    assert written_since(a_plan(from_ms=7_200_000, to_ms=7_300_000)) == 3_600_000
    trusting = {**a_plan().policy, "trust_producer_time": True}
    assert written_since(a_plan(policy=trusting)) is None, "event times may be of any year"


@pytest.mark.kafka
def test_a_partition_is_read_from_a_time_on_and_what_retention_has_deleted_is_known(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    async def run() -> None:
        config = tools.settings(kafka, prefix)
        await tools.make_topics(config)
        topic = config.topic(SESSION_WINDOWS)
        rows: tools.Rows = [window(str(number)) for number in range(10)]
        await tools.send(kafka, topic, [*rows, (b"3/1m/60000", None), (b"4/1m/60000", b"{")])
        done: list[int] = []
        found = await read(config, progress=done)
        assert len(found.results) == 9
        assert found.deleted == {b"3/1m/60000"}
        assert (found.strays, found.kept_from, sum(done)) == (1, None, 12)
        now = int(time.time() * 1000)
        assert not (await read(config, since_ms=now + 86_400_000)).results
        await delete_records(kafka, topic, 4)
        found = await read(config)
        assert len(found.results) == 6
        assert abs((found.kept_from or 0) - now) < 86_400_000, "when the oldest was written that is left"
        await delete_records(kafka, topic, 12)
        assert (await read(config)).kept_from == GONE

    asyncio.run(run())


async def read(config: Settings, since_ms: int | None = None, progress: list[int] | None = None) -> LastResults:
    tp = TopicPartition(config.topic(SESSION_WINDOWS), 0)
    async with reading(config, [tp]) as reader:
        told = [] if progress is None else progress
        return await read_last(reader, tp, WANTED, since_ms=since_ms, progress=told.append)
