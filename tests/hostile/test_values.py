"""Values that are made to be slow to read, stamped in the wrong unit, or encoded by the wrong serializer: each is a dead
letter, and the shard goes on at once.
"""

import asyncio
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer

from stream.sandbox.broker import EmbeddedKafka
from tests.bad_records import KEY, MAX_VALUE, SECRET, VIEWER, T, checkout, comment, text, view
from tests.chaos.judge import differences
from tests.live import Outgoing, Worker, create_topics, eventually, send, send_all, wait_for
from tests.outputs import Letter, Results, read_inputs
from tests.recount import Rules, recount
from tests.support import PATIENCE

QUICK: Final = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}
STALL: Final = 5.0
"""Seconds that the loop may stand still. A value of 1 MB takes 15 ms at most; what was quadratic took an hour."""
READ: Final = PATIENCE
"""Seconds for a few dozen megabytes."""
OPENED: Final = text(view(1))[:-1]


def filled(begin: bytes, unit: bytes, end: bytes = b"") -> bytes:
    return begin + unit * ((MAX_VALUE - len(begin) - len(end)) // len(unit)) + end


SLOW: Final[dict[str, tuple[bytes, str]]] = {
    "brackets and a string without end": (filled(b"[" * 201 + b'"', b'\\"'), "invalid_json"),
    "strings without end": (filled(b"[" * 201, b'"\\'), "invalid_json"),
    "brackets": (filled(b"", b"["), "invalid_json"),
    "braces": (filled(b"", b'{"":'), "invalid_json"),
    "quotes": (filled(b"", b'"'), "wrong_type"),
    "backslashes": (filled(b'{"', b"\\"), "invalid_json"),
    "escapes in an id": (filled(b'{"event_id":"', b"\\u0001", b'"}'), "bad_value"),
    "digits": (filled(b'{"event_time":', b"7", b"}"), "bad_value"),
    "lists behind a fault": (filled(OPENED + b',"count":"x","y":[', b"[],", b"0]}"), "wrong_type"),
    "a key again and again": (filled(OPENED, b',"count":"x"', b"}"), "wrong_type"),
    "an unknown action of messages": (filled(b'{"action":"', b" - at `$", b'"}'), "unknown_action"),
    "half a character at the end": (filled(OPENED + b',"x":"', "é".encode(), b"\xc3"), "not_utf8"),
    "white space": (filled(b"", b" "), "invalid_json"),
}
FINE: Final = (
    filled(OPENED + b',"event_id":"slow1","x":"', b'\\"', b'"}'),
    filled(OPENED + b',"event_id":"slow2","x":[', b"[{}],", b"0]}"),
    filled(OPENED + b',"event_id":"slow3"', b',"count":"x"', b',"count":3}'),
)
"""As large and as odd, but right."""


async def letters_of(brokers: str, prefix: str, number: int) -> list[Letter]:
    async with Results(brokers, prefix, 1) as results:

        async def all_there() -> list[Letter]:
            found = (await results.look()).letters
            return found if len(found) >= number else []

        return await eventually(f"{number} dead letters", all_there, READ)


def counted(worker: Worker, kind: str, outcome: str = "counted") -> float:
    return worker.metrics().get(f'liveshop_events_total{{outcome="{outcome}",type="{kind}"}}', 0.0)


def stalls(metrics: dict[str, float], seconds: float) -> float:
    """How often the loop stood still for longer."""
    return metrics["liveshop_loop_lag_seconds_count"] - metrics[f'liveshop_loop_lag_seconds_bucket{{le="{seconds}"}}']


@pytest.mark.kafka
def test_a_value_that_is_slow_to_read_is_one_dead_letter_and_the_shard_goes_on(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    sent: list[Outgoing] = []
    for number, (value, _) in enumerate(SLOW.values()):
        sent += [Outgoing("views", KEY, text(view(100 + number))), Outgoing("views", KEY, value)]
    sent += [Outgoing("views", KEY, value) for value in FINE] + [Outgoing("views", KEY, text(view(99)))]
    good = len(sent) - len(SLOW)
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        worker.await_ready()
        asyncio.run(send_all(kafka.bootstrap, prefix, 1, sent))
        wait_for("all that is right is counted", lambda: counted(worker, "views") == good, READ)
        letters = asyncio.run(letters_of(kafka.bootstrap, prefix, len(SLOW)))
        metrics = worker.metrics()
        worker.stop()
    assert [letter.reason for letter in letters] == [reason for _, reason in SLOW.values()]
    assert [letter.value for letter in letters] == [value for value, _ in SLOW.values()]
    assert stalls(metrics, STALL) == 0
    assert metrics['liveshop_events_total{outcome="rejected",type="views"}'] == len(SLOW)


@pytest.mark.kafka
def test_a_topic_in_seconds_holds_nothing_back(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """Its events are dead letters that name the unit; the windows of the others close, and nothing is late by them."""
    create_topics(kafka.bootstrap, prefix, 1)
    wrong = [T // 1000, T * 1000, T * 10**6, 0]
    sent = [Outgoing("checkouts", KEY, text(checkout(n, event_time=time_))) for n, time_ in enumerate(wrong)]
    sent += [Outgoing("views", KEY, text(view(n))) for n in range(5)]
    sent += [Outgoing("comments", KEY, text(comment(n))) for n in range(5)]
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, sent))
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        letters = asyncio.run(letters_of(kafka.bootstrap, prefix, len(wrong)))
        asyncio.run(settled(kafka.bootstrap, prefix))
        worker.stop()
    assert {letter.reason for letter in letters} == {"bad_value"}
    looks = [letter.header("liveshop-detail").partition("; looks like ")[2] for letter in letters]
    assert looks == ["seconds", "microseconds", "nanoseconds", "a time since another moment"]


@pytest.mark.kafka
def test_a_trickle_of_events_in_seconds_holds_no_window_back(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """The topic is never silent and never has a clock; the windows of the others close all the same, and not as idle."""
    create_topics(kafka.bootstrap, prefix, 1)
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        worker.await_ready()
        closed = asyncio.run(trickling(kafka.bootstrap, prefix))
        assert counted(worker, "checkouts", "rejected") > 3
        worker.stop()
    assert closed["counts"]["views"] > 0


async def trickling(brokers: str, prefix: str) -> dict[str, Any]:
    """The first window that the watermark closes while all three topics are written."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True)
    await producer.start()
    number = 0
    try:
        async with Results(brokers, prefix, 1) as results:

            async def closed() -> dict[str, Any] | None:
                nonlocal number
                number += 1
                at = T + number * 5_000
                events = [
                    Outgoing("checkouts", KEY, text(checkout(number, event_time=at // 1000))),
                    Outgoing("views", KEY, text(view(number, event_time=at))),
                    Outgoing("comments", KEY, text(comment(number, event_time=at))),
                ]
                await send(producer, prefix, 1, events)
                windows = [window for every in (await results.look()).windows.values() for window in every]
                return next((window for window in windows if window["reason"] == "closed"), None)

            return await eventually("a window is closed by the watermark", closed, READ, every=0.2)
    finally:
        await producer.stop()


async def settled(brokers: str, prefix: str) -> None:
    """Waits until windows, totals and dead letters are those of the recount."""
    records = await read_inputs(brokers, prefix, 1)
    expected = recount(records, Rules())
    async with Results(brokers, prefix, 1) as results:

        async def equal() -> bool:
            return not differences(records, expected, await results.look(), prefix)

        await eventually("the outputs equal the recount", equal, READ)


GOOD: Final = text(view(1))
STRANGE: Final[Sequence[tuple[bytes | None, bytes, str]]] = (
    (KEY, b"\xef\xbb\xbf" + GOOD, "UTF-8 with a byte order mark"),
    (KEY, GOOD + GOOD, "several events in one value"),
    (KEY, b"\0\0\0\0\7" + GOOD, "JSON after a schema registry's header (Confluent's magic byte)"),
    (KEY, b"\x0a\x02e1\x10\x80\xd0\x95\xff\xbc1\x1a\x02s1", "Protobuf"),
    (KEY, b"", ""),
    (KEY, GOOD[:-1] + b',"count":NaN}', "NaN, which JSON does not have"),
    (KEY, gzip.compress(GOOD), "gzip"),
    (KEY, GOOD.decode().encode("utf-16"), "UTF-16"),
    (
        KEY,
        text({"before": None, "after": view(1), "op": "c", "ts_ms": 1}),
        "a Debezium envelope: the event lies in after",
    ),
    (KEY, json.dumps(GOOD.decode()).encode(), "JSON encoded twice: an object in quotes"),
    (b'"%b"' % KEY, GOOD, "the session_id as JSON, in quotes"),
)


@pytest.mark.kafka
def test_dead_letters_say_what_a_value_looks_like(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    sent = [Outgoing("views", key, value) for key, value, _ in STRANGE]
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, sent))
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        letters = asyncio.run(letters_of(kafka.bootstrap, prefix, len(STRANGE)))
        worker.stop()
    details = [letter.header("liveshop-detail") for letter in letters]
    assert [detail.partition("; looks like ")[2] for detail in details] == [looks for *_, looks in STRANGE]
    assert not any(VIEWER in detail for detail in details)


@pytest.mark.kafka
def test_a_share_that_is_late_or_gone_is_told_in_log_and_readiness(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    """Nine in ten comments are behind a shard that the views have moved on."""
    create_topics(kafka.bootstrap, prefix, 1)
    old = T - 11 * 60_000 - 120_000
    comments = [comment(n, event_time=old + n if n % 10 else T + n) for n in range(1000)]
    comments.sort(key=lambda event: int(event["event_time"]))
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", state_retention="11m", **QUICK) as worker:
        asyncio.run(send_all(kafka.bootstrap, prefix, 1, [Outgoing("views", KEY, text(view(1)))]))
        wait_for("the view is counted", lambda: counted(worker, "views") == 1)
        asyncio.run(send_many(kafka.bootstrap, prefix, comments))
        wait_for("all comments are judged", lambda: counted(worker, "comments", "rejected") == 900, READ)
        note = f"note: {prefix}live.comments: of the last minute 900 of 1000 records came after their pane was dropped"
        wait_for("the readiness tells", lambda: note in worker.get("/readyz")[1])
        assert worker.get("/readyz")[0] == 200
        warnings = [line for line in worker.lines() if line.get("reason") == "pane_gone"]
        worker.stop()
    assert [(line["level"], line["topic"]) for line in warnings] == [("warning", f"{prefix}live.comments")]
    assert SECRET not in worker.log.read_text()


async def send_many(brokers: str, prefix: str, events: Sequence[dict[str, Any]]) -> None:
    """In few batches."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True)
    await producer.start()
    try:
        await send(producer, prefix, 1, [Outgoing("comments", KEY, text(event)) for event in events])
    finally:
        await producer.stop()
