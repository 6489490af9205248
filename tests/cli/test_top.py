"""``liveshop top``: from canned metrics to a table, and from a real server."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from threading import Thread
from typing import Any

import orjson
import pytest
from rich.console import Console, RenderableType

from stream import cli
from stream.children import free_port
from stream.cli import scrape, table
from stream.cli.scrape import Pace, SessionRow, Snapshot
from stream.cli.screen import Screen
from stream.cli.timestamps import use_zone
from stream.model.alerts import Alert, Severity, Status

METRICS = """\
# HELP liveshop_events_total Committed records
# TYPE liveshop_events_total counter
liveshop_events_total{type="views",outcome="counted"} 12000.0
liveshop_events_total{type="comments",outcome="counted"} 500.0
liveshop_events_total{type="checkouts",outcome="not_an_order"} 3.0
liveshop_events_total{type="views",outcome="duplicate"} 120.0
liveshop_events_total{type="views",outcome="rejected"} 7.0
# TYPE liveshop_dead_letters_total counter
liveshop_dead_letters_total{topic="live.views",reason="bad_value"} 3.0
liveshop_dead_letters_total{topic="live.comments",reason="bad_value"} 2.0
liveshop_dead_letters_total{topic="live.views",reason="not_utf8"} 2.0
liveshop_dead_letters_total{topic="live.views",reason="late"} 0.0
# TYPE liveshop_windows_total counter
liveshop_windows_total{window="1m",reason="closed"} 40.0
liveshop_windows_total{window="1m",reason="correction"} 2.0
liveshop_windows_total{window="5m",reason="closed"} 38.0
# TYPE liveshop_watermark_timestamp_seconds gauge
liveshop_watermark_timestamp_seconds{partition="0"} 1.75999999e+09
liveshop_watermark_timestamp_seconds{partition="1"} 1.759999992e+09
liveshop_watermark_timestamp_seconds{partition="2"} NaN
# TYPE liveshop_lag_records gauge
liveshop_lag_records{topic="live.views",partition="0"} 4.0
liveshop_lag_records{topic="live.views",partition="1"} 1.0
# TYPE liveshop_sessions_open gauge
liveshop_sessions_open 40.0
# TYPE liveshop_sessions_held gauge
liveshop_sessions_held 45.0
# TYPE liveshop_alerts_firing gauge
liveshop_alerts_firing{alert="comment_surge",severity="info"} 0.0
liveshop_alerts_firing{alert="checkout_failures",severity="page"} 2.0
# TYPE liveshop_alert_transitions_total counter
liveshop_alert_transitions_total{alert="checkout_failures",status="firing"} 5.0
liveshop_alert_transitions_total{alert="checkout_failures",status="resolved"} 3.0
# TYPE liveshop_session_views gauge
liveshop_session_views{session_id="7301"} 400.0
liveshop_session_views{session_id="7302"} 1000.0
liveshop_session_views{session_id="_other"} 50.0
liveshop_session_product_clicks{session_id="7301"} 120.0
liveshop_session_orders_paid{session_id="7301"} 9.0
liveshop_session_gmv_minor{session_id="7301",currency="IDR"} 8.19e+07
liveshop_session_gmv_minor{session_id="7301",currency="USD"} 12345.0
liveshop_session_comments{session_id="7301"} 61.0
liveshop_session_comments_per_minute{session_id="7301"} 30.5
liveshop_session_events_recent{session_id="7301"} 900.0
liveshop_session_events_recent{session_id="7302"} 100.0
liveshop_session_events_recent{session_id="_other"} 5.0
# TYPE liveshop_session_info gauge
liveshop_session_info{session_id="7301",seller_id="s28"} 1.0
# TYPE liveshop_session_alerts_firing gauge
liveshop_session_alerts_firing{session_id="7302",alert="checkout_failures",severity="page"} 1.0
liveshop_session_alerts_firing{session_id="_other",alert="checkout_failures",severity="page"} 1.0
# TYPE liveshop_delay_seconds gauge
liveshop_delay_seconds 10.0
# TYPE something_else gauge
something_else{session_id="7301"} 1.0
"""
WALL = 1_760_000_000.0


@pytest.fixture(autouse=True)
def in_utc() -> Iterator[None]:
    use_zone("UTC")
    yield
    use_zone(None)


def look(text: str = METRICS, at: float = 100.0) -> Snapshot:
    return scrape.parse([text], at, WALL)


def shown(what: RenderableType, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_counters_and_gauges_are_read() -> None:
    seen = look()
    assert seen.read == 12_630
    assert seen.outcome("counted") == 12_500
    assert seen.behind == 10.0, "of the slowest partition; NaN is none"
    assert seen.lag.total() == 5
    assert table.windows(seen) == "1m 42, 5m 38"


AWAY = """\
liveshop_unready{reason="brokers_away"} 1.0
liveshop_unready{reason="stuck"} 0.0
"""


def test_brokers_that_are_away_are_no_quiet_minute() -> None:
    """Without the reason, nothing comes, nothing lags, and nobody knows why."""
    lines = [line for line in METRICS.splitlines(keepends=True) if not line.startswith("liveshop_lag_records{")]
    away = look("".join(lines) + AWAY)
    said = "not ready: brokers_away (/readyz says more)"
    assert said in table.line(away, 0.0)
    assert "lag unknown" in table.line(away, 0.0)
    assert said in shown(table.render(away, 0.0, 10))
    assert table.as_dict(away, None)["not_ready"] == ["brokers_away"]
    assert "not ready" not in shown(table.render(look(), 0.0, 10)) + table.line(look(), 0.0)


def screen(
    seen: Snapshot, width: int, height: int, *, notes: Sequence[str] = (), alerts: Sequence[Alert] = ()
) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(table.screenful(seen, 398.4, console=console, notes=notes, alerts=alerts))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def crowded(sessions: int, **more: Any) -> Snapshot:
    """Long ids that differ in their last digits, as platforms make them."""
    seen = look()
    seen.rows = {
        id_: SessionRow(id_, views=1_000_000 - n, events=1000 - n, **more)
        for n, id_ in enumerate(f"77136577420194{n:05}" for n in range(sessions))
    }
    return seen


def test_the_table_has_alerts_and_then_the_busiest_first_with_readable_money() -> None:
    lines = shown(table.render(look(), 398.4, rows=5, width=120)).splitlines()
    assert lines[0].strip() == "events/s 398 · read 12,630 · lag 5 · sessions 40 · windows 1m 42, 5m 38"
    assert lines[1].strip() == "results up to 08:53:10 UTC (10 s ago, 10 s of it the delay)"
    assert "counted 12,500  total_only 0  duplicate 120  not_an_order 3  tombstone 0  late 0  rejected 7" in lines[2]
    assert lines[3].strip() == "firing checkout_failures 2"
    heads = ["session", "seller", "alert", "views", "clicks", "orders", "GMV", "conversion", "comments/min"]
    assert lines[4].split() == heads
    assert lines[5].split() == ["7302", "checkout_failures", "1,000", "0", "0", "-", "0.00%", "0.0"]
    assert lines[6].split() == [
        "7301",
        "s28",
        "400",
        "120",
        "9",
        "Rp",
        "819.000",
        "+",
        "USD",
        "123.45",
        "2.25%",
        "30.5",
    ]
    assert lines[7].split() == ["all", "others", "1", "firing", "50", "0", "0", "-", "0.00%", "0.0"]


def test_sessions_beyond_the_rows_are_summed_with_the_others_in_one_line() -> None:
    lines = shown(table.render(look(), None, rows=1)).splitlines()
    assert lines[6].split()[:5] == ["all", "others", "1", "firing", "450"]
    assert len(lines) == 7
    assert lines[0].startswith("events/s - ·")
    values = table.as_dict(look(), None, rows=1)
    assert [row["session_id"] for row in values["sessions"]] == ["7302"], "an alert fires for it"
    assert values["others"]["views"] == 450
    assert values["minor_digits"] == {"IDR": 2, "USD": 2}, "of the others, too"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 50), (60, 24), (40, 30)])
def test_no_id_is_cut_and_every_line_of_the_terminal_is_used(width: int, height: int) -> None:
    seen = crowded(100, seller_id="7494561234567890123", firing=Counter(["checkout_failures"]))
    lines = screen(seen, width, height, notes=["metrics  http://here", "Ctrl-C ends"])
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    ids = [line.split()[0] for line in lines if line.startswith("771365")]
    assert ids == sorted(seen.rows)[: len(ids)]
    assert len(ids) >= height - 12
    assert lines[-3].startswith("all others"), "in one line"
    assert lines[-2:] == ["metrics  http://here".ljust(width)[: len(lines[-2])], lines[-1]]
    assert "checkout_failures" in lines[lines.index(next(line for line in lines if line.startswith("771365")))]


def test_a_title_stands_beside_the_id_and_is_cut_where_the_id_is_not() -> None:
    long = "Obral besar kaos polos \N{FIRE} dan hijab segi empat untuk semua"
    seen = crowded(3, title=long, seller_name="Toko Nusantara Jaya Abadi Selalu", gmv_minor=Counter(IDR=99_999_900))
    for width in (80, 120, 180):
        lines = screen(seen, width, 24)
        head, row = next((a, b) for a, b in pairwise(lines) if a.startswith("session "))
        assert row.startswith("7713657742019400000  Obral besar kaos")
        assert all(len(line) <= width for line in lines)
        assert ("seller" in head.split()) is (width > 80), "a title matters more, and so do most numbers"
        assert "Rp 999.999" in row
        assert "…" in row
    assert "Toko Nusantara Jaya Aba…" in row
    assert long in row, "what no other column needs"


def test_where_a_session_has_no_title_its_seller_stands_there_uncut() -> None:
    seen = crowded(3, seller_id="7494561234567890123", title="Obral " * 10)
    without, named = list(seen.rows.values())[1:]
    without.title = named.title = ""
    named.seller_name = "Toko"
    lines = [line for line in screen(seen, 60, 24) if line.startswith("771365")]
    assert [line.split()[1] for line in lines] == ["Obral", "7494561234567890123", "Toko"]


def test_titles_and_sellers_names_are_in_the_json() -> None:
    seen = crowded(1, title="Obral \x1b", seller_name="Toko")
    (row,) = table.as_dict(seen, None)["sessions"]
    assert (row["title"], row["seller_name"]) == ("Obral \x1b", "Toko")


def test_columns_that_do_not_fit_are_left_out_the_least_important_first() -> None:
    heads = [
        next(line for line in screen(crowded(3), width, 24) if line.startswith("session ")) for width in (100, 70, 40)
    ]
    assert [head.split() for head in heads] == [
        ["session", "views", "clicks", "orders", "GMV", "conversion", "comments/min"],
        ["session", "views", "clicks", "orders", "GMV", "conversion"],
        ["session", "orders", "GMV"],
    ]


def test_the_longest_id_goes_on_in_the_next_line() -> None:
    seen = crowded(5)
    long = "x" * 100 + "y" * 28
    seen.rows[long] = SessionRow(long, events=5000, firing=Counter(["busy", "rich"]))
    lines = screen(seen, 80, 24, notes=["the end"])
    assert len(lines) == 24
    assert "".join(line.split()[0] for line in lines if line.strip("xy ") != line) == long
    assert any("busy" in line for line in lines)
    assert any("rich" in line for line in lines)
    assert lines[-1].strip() == "the end"


def test_few_sessions_leave_the_notes_at_the_end_of_the_terminal() -> None:
    lines = screen(crowded(2), 100, 30, notes=["the end"])
    assert len(lines) == 30
    assert lines[-1].strip() == "the end"


def test_alerts_stand_beneath_with_session_text_and_value() -> None:
    fired = Alert(
        alert="checkout_failures",
        session_id="7302",
        seller_id="s28",
        status=Status.FIRING,
        severity=Severity.PAGE,
        since=0,
        at=int(WALL * 1000),
        run="live",
        summary="9 of 12 attempts to pay failed",
        runbook="",
        values={},
        id="1",
    )
    lines = screen(crowded(30), 140, 24, notes=["the end"], alerts=[fired])
    said = "08:53:20 UTC  firing  checkout_failures (page)  session 7302, seller s28: 9 of 12 attempts to pay failed"
    assert lines[-2].strip() == said


def test_the_time_of_the_results_says_its_date_when_it_is_long_ago() -> None:
    use_zone("Asia/Jakarta")
    seen = look()
    assert "results up to 15:53:10 WIB" in table.line(seen, None)
    seen.watermarks["0"] = WALL - 200_000
    assert "results up to 2025-10-07 08:20:00 WIB (200,000 s ago, 10 s of it the delay)" in table.line(seen, None)
    seen.delay = None
    assert table.line(seen, None).count("delay") == 0


def test_a_partition_in_which_nothing_comes_holds_no_results_back() -> None:
    """Its watermark stands; what it holds was closed by the wall clock."""
    seen = look()
    seen.watermarks["9"] = WALL - 3600
    assert seen.behind == 3600
    seen.idle.add("9")
    assert seen.behind == 10.0
    seen.idle.update(seen.watermarks)
    assert seen.results_until == WALL - 10
    silent = '\nliveshop_shard_idle{partition="9"} 1\nliveshop_shard_idle{partition="0"} 0\n'
    assert scrape.parse([METRICS + silent], 100.0, WALL).idle == {"9"}


def test_workers_are_summed_and_a_moved_partition_counts_once() -> None:
    both = scrape.parse([METRICS, METRICS], 100.0, WALL)
    assert both.read == 2 * 12_630
    assert both.rows["7301"].gmv_minor["IDR"] == 2 * 81_900_000
    assert both.behind == 10.0


def test_nothing_counted_yet_is_shown_too() -> None:
    empty = look("")
    assert empty.behind is None
    assert "windows none yet" in shown(table.render(empty, None, rows=5))
    assert "no alert fires" in shown(table.render(empty, None, rows=5))
    values = table.as_dict(empty, None)
    assert (values["sessions"], values["minor_digits"]) == ([], {})


def test_alerts_that_fire_and_that_have_fired() -> None:
    values = table.as_dict(look(), None)
    assert values["alerts_firing"] == {"checkout_failures": 2}
    assert values["alerts_fired"] == {"checkout_failures": 5}
    assert table.line(look(), None).endswith(" · firing checkout_failures 2")


def test_the_pace_is_measured_over_looks_and_begins_anew_after_a_restart() -> None:
    pace = Pace()
    assert pace.note(look()) is None
    assert pace.note(look(METRICS.replace("12000.0", "12400.0"), at=101.0)) == 400.0
    assert pace.note(look("", at=102.0)) is None


def test_the_summary_names_every_outcome_by_input_with_reasons() -> None:
    lines = table.outcome_lines(look())
    assert lines[0].split() == ["all", "views", "comments", "checkouts"]
    assert [line.split()[0] for line in lines[1:]] == [
        *("counted", "total_only", "duplicate", "not_an_order", "tombstone", "late", "rejected")
    ]
    assert lines[1].split()[1:] == ["12,500", "12,000", "500", "0"]
    assert lines[7].endswith("(bad_value 5, not_utf8 2)")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(METRICS.encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def test_once_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as url, pytest.raises(SystemExit) as caught:
        cli.main(["top", "--once", "--url", url])
    assert caught.value.code == 0
    assert "7301" in capsys.readouterr().out


def test_once_as_json_of_two_workers(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as url, pytest.raises(SystemExit):
        cli.main(["top", "--once", "--json", "--url", url, "--url", url, "--sessions", "1"])
    found = orjson.loads(capsys.readouterr().out)
    assert found["outcomes"]["counted"] == 25_000
    assert found["windows"]["1m"] == {"closed": 80, "correction": 4}
    assert [session["session_id"] for session in found["sessions"]] == ["7302"]
    assert found["sessions"][0]["alerts_firing"] == {"checkout_failures": 2}


def test_nobody_there_is_a_failure_that_names_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}/metrics"
    with pytest.raises(SystemExit) as caught:
        cli.main(["top", "--once", "--url", url])
    assert caught.value.code == 1
    assert f"{url} does not answer" in capsys.readouterr().err


def test_a_wrong_interval_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["top", "--every", "1"])
    assert caught.value.code == 2
    assert "--every: a duration needs a unit" in capsys.readouterr().err


def test_a_frame_goes_out_in_one_piece_and_nothing_is_deleted_before_it_is_written_over(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    written: list[bytes] = []

    def write(_number: int, data: bytes) -> int:
        written.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("LINES", "50")
    with Screen() as drawn:
        for _ in range(2):
            drawn.show(table.screenful(crowded(60), 1.0, console=drawn.console, notes=["the end"]))
    monkeypatch.undo()
    assert capfd.readouterr().out == ""
    _, first, second, last = written
    assert first == second
    assert first.startswith(b"\x1b[?2026h\x1b[H")
    assert first.count(b"\r\n") == 49, "no line more than the terminal has"
    assert b"\x1b[2J" not in first
    assert b"\x1b[2K" not in first
    assert last.count(b"7713657742019") == first.count(b"7713657742019"), "the last frame stays"
