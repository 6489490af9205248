"""The largest values and the strangest ids of valid events: a worker counts them, and goes on after a restart."""

import asyncio
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream import cli
from stream.model.money import MAX_SUM
from stream.plaintext import plain
from stream.sandbox.broker import EmbeddedKafka
from tests.bad_records import SESSION, T, checkout, comment, item, text, view
from tests.bench.processes import peak_mb
from tests.chaos.judge import differences
from tests.hostile_texts import HOSTILE_IDS
from tests.live import Outgoing, Worker, create_topics, eventually, send_all, wait_for
from tests.outputs import Results, Written, newest, read_inputs
from tests.recount import Recounted, Rules, recount

pytestmark = pytest.mark.kafka
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}
RULES: Final = """
rules:
  - alert: dear
    window: 1m
    when: w.gpm_minor > 1.0 && w.item_value_minor > 1.0
    severity: page
    summary: "{gpm_minor:,.0f} {gmv_minor:,.0f} {item_value_minor} {likes} {watch_ms}"
    runbook: none
  - alert: any
    window: 1m
    when: w.events > 0.0
    severity: info
    summary: "{events:.0f}"
    runbook: none
"""
DEAREST: Final = 10**13
REPORTED: Final = 1900
"""Paid checkouts beside one view: 1,000 times their GMV by the views is beyond 64 bits."""
ENOUGH: Final = -(-MAX_SUM // (200 * DEAREST))
"""Checkouts whose items are worth more than 64 bits tell."""
PEAK_MB: Final = 1500.0
"""Ten times a worker's usual."""
AT: Final = T // 60_000 * 60_000
"""The beginning of a window: all are in one."""
LATER: Final = AT + 50_000
"""What comes behind it is late for alerts, and in time for its window."""


def records(first: int, number: int, **changes: Any) -> Iterator[Outgoing]:
    for each in range(first, first + number):
        yield Outgoing(
            "checkouts", SESSION.encode(), text(checkout(each, event_time=AT + 20_000, amount_minor=DEAREST, **changes))
        )


def likes(first: int, number: int) -> Iterator[Outgoing]:
    most = {"action": "like", "count": 10**6, "watch_ms": 86_400_000, "concurrent_viewers": 10**9, "event_time": AT + 1}
    for each in range(first, first + number):
        yield Outgoing("views", SESSION.encode(), text(view(each, **most)))


async def agreed(kafka: EmbeddedKafka, prefix: str, worker: Worker) -> tuple[Recounted, Written]:
    """Once the outputs are what the recount says."""
    inputs = await read_inputs(kafka.bootstrap, prefix, 1)
    expected = recount(inputs, Rules())
    async with Results(kafka.bootstrap, prefix, 1) as results:
        found: list[str] = []

        async def equal() -> bool:
            assert worker.child.code is None, worker.child.tail()
            found[:] = differences(inputs, expected, await results.look(), prefix)
            return not found

        try:
            await eventually("the outputs are those of the recount", equal, every=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found[:5]}") from None
        return expected, results.written


async def told(kafka: EmbeddedKafka, prefix: str, worker: Worker, wanted: Callable[[Written], bool]) -> Written:
    async with Results(kafka.bootstrap, prefix, 1) as results:

        async def there() -> bool:
            assert worker.child.code is None, worker.child.tail()
            return wanted(await results.look())

        await eventually("the alerts", there, every=0.5)
        return results.written


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints. Nothing of it is for the terminal to obey."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    shown = capsys.readouterr().out
    assert caught.value.code in {0, None}, shown
    assert all(line.isprintable() for line in shown.split("\n"))
    return shown


def test_the_largest_values_saturate_and_stop_nobody(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    basket = item(quantity=1, unit_price_minor=DEAREST, local=True)["items"] * 200

    def start(name: str) -> Worker:
        return Worker(kafka.bootstrap, prefix, tmp_path / name, rules=str(rules), **QUICK)

    reported = [
        Outgoing("views", SESSION.encode(), text(view(1, event_time=AT))),
        *likes(10, 20),
        *records(100, REPORTED, items=[]),
        *records(10_000, 20, items=basket),
    ]
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, reported, together=200))
    with start("first.log") as first:
        asyncio.run(agreed(kafka, prefix, first))
        alerts = asyncio.run(told(kafka, prefix, first, lambda seen: f"dear/{SESSION}" in seen.alerts)).alerts
        first.child.kill()
    fired = alerts[f"dear/{SESSION}"][0]
    assert fired["values"]["gpm_minor"] == MAX_SUM
    assert fired["values"]["gmv_minor"] == (REPORTED + 20) * DEAREST
    assert fired["summary"].endswith(f" {20 * 200 * DEAREST} {20 * 10**6} {20 * 86_400_000}")
    asked = ("--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--rules", str(rules), "--json")
    tried = json.loads(printed(capsys, "backtest", *asked))
    assert [each["values"]["gpm_minor"] for each in tried["incidents"] if each["alert"] == "dear"] == [MAX_SUM]
    half = ENOUGH // 2 + 1
    later = [
        *records(20_000, half, items=basket),
        Outgoing("checkouts", SESSION.encode(), text(checkout(30_000, event_time=LATER))),
        *records(40_000, half, items=basket),
    ]
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, later, together=8))
    with start("second.log") as second:
        expected, written = asyncio.run(agreed(kafka, prefix, second))
        assert peak_mb(second.pid) < PEAK_MB
        second.child.kill()
    totals = newest(written.sessions[SESSION])
    assert totals["item_value_minor"]["IDR"] == totals["local_item_value_minor"]["IDR"] == MAX_SUM
    assert totals["rates"]["gpm_minor"]["IDR"] == MAX_SUM
    assert expected.outcomes["checkouts", "counted"] == REPORTED + 20 + 2 * half + 1
    with start("third.log") as third:
        third.await_ready()
        url = f"{third.url()}/metrics"
        shown = wait_for(
            "top shows the session", lambda: sessions_of(printed(capsys, "top", "--once", "--json", "--url", url)), 30
        )
        assert shown[0]["gmv_minor"]["IDR"] >= (REPORTED + 2 * half) * DEAREST
        assert SESSION in printed(capsys, "top", "--once", "--url", url)
        grouped = ("--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--group", prefix.rstrip("."))
        printed(capsys, "alerts", "history", SESSION, *grouped)
        third.stop()
    held = json.loads(printed(capsys, "state", "show", "--session", SESSION, "--json", *grouped))
    assert held[0]["totals"]["item_value_minor"]["IDR"] == MAX_SUM
    assert "right" in printed(capsys, "state", "verify", *grouped)


def sessions_of(shown: str) -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = json.loads(shown)["sessions"]
    return sessions


def test_ids_are_shown_as_they_are_and_obeyed_by_nobody(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    ids = [id_ for id_ in HOSTILE_IDS if "/" not in id_]
    sent = []
    for number, id_ in enumerate(ids):
        names = {"session_id": id_, "seller_id": id_, "creator_id": id_, "viewer_id": id_, "event_id": f"e{number}"}
        sent.append(Outgoing("views", id_.encode(), text(view(number, **names, affiliate_id=id_, product_id=id_))))
        sent.append(Outgoing("comments", id_.encode(), text(comment(number, **names))))
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, sent))
    with Worker(kafka.bootstrap, prefix, tmp_path / "log", rules=str(rules), **QUICK) as worker:
        expected, _ = asyncio.run(agreed(kafka, prefix, worker))
        assert expected.sessions.keys() == set(ids)
        asyncio.run(told(kafka, prefix, worker, lambda seen: len(seen.alerts) >= len(ids)))
        page = wait_for("each has its figures", lambda: page_of(worker, ids))
        shown = printed(capsys, "top", "--once", "--url", f"{worker.url()}/metrics", "--sessions", "40")
        as_json = json.loads(printed(capsys, "top", "--once", "--json", "--url", f"{worker.url()}/metrics"))
        grouped = ("--brokers", kafka.bootstrap, "--topic-prefix", prefix, "--group", prefix.rstrip("."))
        printed(capsys, "alerts", "list", *grouped)
        told_of = {id_: printed(capsys, "alerts", "history", *grouped, "--", id_) for id_ in ids}
        held = {id_: printed(capsys, "state", "show", f"--session={id_}", *grouped) for id_ in ids}
        worker.stop()
    assert shown_in(page) == {*ids, "_other"}
    assert {session["session_id"] for session in as_json["sessions"]} <= set(ids)
    for id_ in ids:
        for command in (shown, told_of[id_], held[id_]):
            assert together(plain(id_))[:20] in together(command)
    assert all(line.isprintable() for line in (tmp_path / "log").read_text().split("\n"))


def shown_in(page: str) -> set[str]:
    """Of which sessions."""
    return {
        sample.labels["session_id"]
        for family in text_string_to_metric_families(page)
        if family.name == "liveshop_session_views"
        for sample in family.samples
    }


def page_of(worker: Worker, ids: Collection[str]) -> str | None:
    """With all of them: it is made once a second."""
    page = worker.get("/metrics")[1]
    return page if shown_in(page) >= set(ids) else None


def together(shown: str) -> str:
    """Without the spaces of columns and the line ends of folded cells."""
    return "".join(shown.split())
