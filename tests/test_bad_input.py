"""Every kind of bad input through a real Kafka and a real worker: each a dead letter with its reason, the rest counted."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
import xxhash

from stream.core.decode import Rejected, decode_batch
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.names import Kind
from stream.observe.health import Health
from stream.observe.http import HttpServer
from stream.observe.shares import SharePolicy
from stream.sandbox.broker import EmbeddedKafka
from tests.bad_records import (
    CASES,
    KEPT,
    KEY,
    MAX_VALUE,
    NOW,
    SECRET,
    SESSION,
    VIEWER,
    Case,
    T,
    checkout,
    comment,
    everything,
    item,
    raw,
    text,
    view,
)
from tests.chaos.judge import differences
from tests.kafka.tools import alter
from tests.live import Outgoing, Worker, create_topics, eventually, fetch_page, send_all, wait_for
from tests.outputs import Letter, Results, Written, newest, read_inputs
from tests.recount import LogRecord, Recounted, Rules, recount

QUICK: Final = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}


# --- helpers ---------------------------------------------------------------------------------------------------------


async def allow_large(brokers: str, prefix: str) -> None:
    """Batches of 8 MB in the views; what compresses well needs no leave, since the broker looks at compressed bytes."""
    configs = {"max.message.bytes": str(8 * 2**20), "message.timestamp.type": "LogAppendTime"}
    await alter(brokers, f"{prefix}live.views", configs)


async def settled(
    brokers: str, prefix: str, worker: Worker, rules: Rules
) -> tuple[list[LogRecord], Recounted, Written]:
    """Waits until the outputs are what the recount says, and gives all three."""
    records = await read_inputs(brokers, prefix, 1)
    expected = recount(records, rules)
    async with Results(brokers, prefix, 1) as results:
        found: list[str] = []

        async def equal() -> bool:
            assert worker.child.code is None, worker.child.tail()
            found[:] = differences(records, expected, await results.look(), prefix)
            return not found

        try:
            await eventually("the outputs equal the recount", equal)
        except AssertionError as error:
            raise AssertionError(f"{error}: {[each for each in found if 'window ' not in each][:12]}") from None
        return records, expected, results.written


# --- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.kafka
def test_every_bad_record_is_a_dead_letter_and_all_others_are_counted(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    asyncio.run(allow_large(kafka.bootstrap, prefix))
    sent = everything()
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, sent))
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        records, expected, written = asyncio.run(settled(kafka.bootstrap, prefix, worker, Rules()))
        worker.shows(_expected_metrics(expected, written))
        assert worker.get("/readyz")[0] == 200, "a few bad records are no broken producer"
        worker.stop()
    letters = {letter.origin(prefix): letter for letter in written.letters}
    _check_letters(sent, records, letters)
    good = len(CASES) + 1
    assert expected.outcomes.total() == len(records) == good + len(CASES) + 2
    assert len(written.letters) == len(CASES) + 1
    totals = newest(written.sessions[SESSION])["counts"]
    assert totals["views"] + totals["comments"] + totals["orders_paid"] == good
    _check_log(worker)


def _check_letters(sent: list[Outgoing], records: list[LogRecord], letters: dict[tuple[str, int, int], Letter]) -> None:
    """Each case has its reason, the field in the detail, and the bytes that the contract promises."""
    offsets = {kind: iter([r for r in records if r.kind == kind]) for kind in ("views", "comments", "checkouts")}
    landed = [next(offsets[record.kind]) for record in sent]
    for case, record in zip(CASES, landed[1::2], strict=False):
        letter = letters[record.place]
        assert letter.reason == case.reason, f"{case.name}: {letter.reason} ({letter.header('liveshop-detail')})"
        assert case.field in letter.header("liveshop-detail"), case.name
        assert VIEWER not in letter.header("liveshop-detail"), case.name
        assert letter.header("liveshop-redrives") == "0"
        value = case.value or b""
        if case.reason == "too_large":
            assert letter.value == value[:KEPT], case.name
            assert letter.header("liveshop-size") == str(len(value))
            assert letter.header("liveshop-xxh3") == xxhash.xxh3_64_hexdigest(value)
        else:
            assert letter.value == value, case.name
        assert (letter.key or b"") == (case.key or b"")[:KEPT], case.name
        _check_headers(case, letter)
    assert letters[landed[-2].place].reason == "late"


def _check_headers(case: Case, letter: Letter) -> None:
    """The first of the original ones, up to 64 KB and 1,000; then how many are missing."""
    original = [(name, value) for name, value in letter.headers if not name.startswith("liveshop-")]
    assert original == list(case.headers[: len(original)]), case.name
    if case.reason != "too_many_headers":
        assert len(original) == len(case.headers), case.name
    else:
        assert len(original) == (1 if len(case.headers) == 3 else 1000)
        assert letter.header("liveshop-headers-dropped") == str(len(case.headers) - len(original))


def _expected_metrics(expected: Recounted, written: Written) -> dict[str, float]:
    found: dict[str, float] = {
        f'liveshop_events_total{{outcome="{outcome}",type="{kind}"}}': number
        for (kind, outcome), number in expected.outcomes.items()
    }
    letters = Counter((letter.reason, letter.header("liveshop-origin").rsplit("/", 3)[0]) for letter in written.letters)
    for (reason, topic), number in letters.items():
        found[f'liveshop_dead_letters_total{{reason="{reason}",topic="{topic}"}}'] = number
    return found


def _check_log(worker: Worker) -> None:
    """No personal data, and no line for each bad record."""
    log = worker.log.read_text()
    assert VIEWER not in log
    assert SECRET not in log
    assert len([line for line in worker.lines() if line.get("level") in ("warning", "error")]) < 10


def test_of_a_repeated_key_only_the_last_counts() -> None:
    value = raw(view(1), "action", '"dance","action":"enter"')
    record = LogRecord("views", 0, 0, NOW, KEY, value)
    assert recount([record]).outcomes["views", "counted"] == 1
    (event,) = decode_batch(Kind.VIEWS, [record], MAX_VALUE)
    assert not isinstance(event, Rejected)


@pytest.mark.kafka
def test_the_largest_values_there_may_be_survive_a_crash(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """Sums beyond 64 bits saturate, in the results and in the state that the next worker starts from."""
    create_topics(kafka.bootstrap, prefix, 1)
    dearest = item(quantity=1, unit_price_minor=10**13, local=True)["items"] * 200
    largest = {
        "product_id": "p" * 128,
        "creator_id": "é" * 128,
        "affiliate_id": "\U0001f600" * 128,
        "source": "x" * 9000,
    }
    records = [
        Outgoing("views", KEY, text(view(n, action="like", count=10**6, watch_ms=86_400_000, concurrent_viewers=10**9)))
        for n in range(40)
    ]
    records += [Outgoing("views", KEY, text(view(100 + n, action="product_click", **largest))) for n in range(3)]
    records += [
        Outgoing("checkouts", KEY, text(checkout(n, amount_minor=10**13, items=dearest, attempt=1000)))
        for n in range(200)
    ]
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, records))
    with Worker(kafka.bootstrap, prefix, tmp_path / "first.log", **QUICK) as first:
        wait_for("the first worker has counted", lambda: _outcomes(first) == len(records))
        first.child.kill()
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, [Outgoing("views", KEY, text(view(5000)))]))
    with Worker(kafka.bootstrap, prefix, tmp_path / "second.log", **QUICK) as second:
        _, _, written = asyncio.run(settled(kafka.bootstrap, prefix, second, Rules()))
        second.stop()
    totals = newest(written.sessions[SESSION])
    assert totals["gmv_minor"]["IDR"] == 200 * 10**13
    assert totals["item_value_minor"]["IDR"] == 200 * 200 * 10**13
    assert totals["counts"]["likes"] == 40 * 10**6


def _outcomes(worker: Worker) -> float:
    return sum(value for name, value in worker.metrics().items() if name.startswith("liveshop_events_total"))


@pytest.mark.kafka
def test_what_is_older_than_the_state_is_refused(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """`pane_gone`: not late by its own topic, but another topic is ahead by more than the state is kept."""
    create_topics(kafka.bootstrap, prefix, 1)
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", state_retention="11m", **QUICK) as worker:
        asyncio.run(send_all(kafka.bootstrap, prefix, 1, [Outgoing("comments", KEY, text(comment(1)))]))
        wait_for("the comment is counted", lambda: _outcomes(worker) == 1)
        old = [T - 11 * 60_000 - 60_000, T - 11 * 60_000 + 60_000]
        views = [Outgoing("views", KEY, text(view(n, event_time=time))) for n, time in enumerate(old)]
        asyncio.run(send_all(kafka.bootstrap, prefix, 1, views))
        wait_for("both views are judged", lambda: _outcomes(worker) == 3)
        metrics = worker.metrics()
        worker.stop()
    assert metrics[f'liveshop_dead_letters_total{{reason="pane_gone",topic="{prefix}live.views"}}'] == 1
    assert metrics['liveshop_events_total{outcome="counted",type="views"}'] == 1

    async def letters() -> list[Letter]:
        async with Results(kafka.bootstrap, prefix, 1) as results:
            return (await results.look()).letters

    (letter,) = asyncio.run(letters())
    assert letter.origin(prefix) == ("views", 0, 0)
    assert (letter.reason, letter.value) == ("pane_gone", views[0].value)


def test_a_broken_producer_turns_the_worker_unready_and_a_mended_one_ready_again() -> None:
    """More bad than good for a whole minute, by a clock that is moved; asked over HTTP."""
    now = 1000.0
    health = Health(SharePolicy(bad=0.5, minimum=100), clock=lambda: now)
    health.assigned(frozenset({0}))
    health.recovered(0)
    shard = Shard(Policy())
    offset = 0

    def second(good: int, bad: int) -> None:
        nonlocal now, offset
        values = [text(view(offset + n)) for n in range(good)]
        values += [text(view(offset + n, action="dance")) for n in range(bad)]
        records = [LogRecord("views", 0, offset + n, NOW, KEY, value) for n, value in enumerate(values)]
        offset += len(records)
        shard.read(Kind.VIEWS, records)
        outputs = shard.collect()
        assert outputs is not None
        shard.committed(outputs.checkpoint, 0)
        now += 1.0
        health.committed(outputs.tally)
        health.beat()

    with HttpServer("127.0.0.1", 0, _registry(), health, every=0.0) as http:
        for _ in range(60):
            second(good=10, bad=20)
        assert fetch_page(f"{http.url}/readyz")[0] == 200, "it has not lasted for a minute yet"
        for _ in range(5):  # the minute begins when there are enough records to judge
            second(good=10, bad=20)
        status, page = fetch_page(f"{http.url}/readyz")
        assert status == 503
        assert "unknown_action" in page
        assert "producer" in page
        assert VIEWER not in page
        assert fetch_page(f"{http.url}/healthz")[0] == 200, "a restart would mend nothing"
        for _ in range(60):
            second(good=30, bad=0)
        assert fetch_page(f"{http.url}/readyz")[0] == 200


def _registry() -> Any:
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()
