"""What commands print: text of data is never markup and never an escape for the terminal. All of them print through here."""

import ast
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from rich.console import Console

import stream.cli
from stream.cli import _leave, alerts, backtest_report, doctor, offsets, output, scrape, state, table
from stream.cli.timestamps import use_zone
from stream.config import Settings
from stream.core.policy import MINUTE
from stream.doctor.finding import Check, Finding
from stream.doctor.finding import Severity as Gravity
from stream.model.alerts import Alert, Severity, Status
from stream.model.names import Outcome
from stream.observe.metrics import Metrics
from stream.operate.offsets import InputOffsets
from stream.plaintext import plain
from stream.replay.backtest import Report, RuleSetReport
from stream.replay.incidents import Incident, Span, Tally
from stream.rules.reading import Problem
from tests.hostile_texts import HOSTILE_IDS, HOSTILE_TEXTS
from tests.observe.views import session, view

ROOM = Path(stream.cli.__file__).parent
PRINTING = {"echo", "print", "secho"}


def test_nothing_but_this_module_prints() -> None:
    wrong = [
        f"{path.name}:{node.lineno}"
        for path in sorted(ROOM.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and _is_printing(path.name, node.func)
    ]
    assert wrong == []


def _is_printing(module: str, called: ast.expr) -> bool:
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    if name == "Text" or name in PRINTING:
        return module != "output.py" and (module, name) not in {("__init__.py", "echo"), ("screen.py", "print")}
    return name == "Console" and module not in {"output.py", "screen.py"}


def range_of(text: str) -> str:
    """Short, for the name of a test."""
    return ascii(text[:12])


def rows_of(shown: str) -> list[str]:
    """The lines of what was printed; each of them is plain."""
    lines = shown.split("\n")
    assert all(line.isprintable() for line in lines)
    return lines


def together(text: str) -> str:
    """Without the spaces of columns and the line ends of folded cells."""
    return "".join(text.split())


@pytest.mark.parametrize("id_", HOSTILE_IDS, ids=range_of)
def test_top_shows_an_id_as_it_is_and_the_rows_around_it(id_: str) -> None:
    metrics = Metrics(Settings())
    metrics.assigned(frozenset({0}))
    metrics.shard(0, view(session("first", 9), session(id_, 8), session("last", 7)))
    look = scrape.parse([generate_latest(metrics.registry).decode()], 0.0, 0.0)
    out = io.StringIO()
    Console(file=out, width=2000).print(table.render(look, 1.0, 5, width=2000))
    rows = rows_of(out.getvalue())
    assert [name for name in ("first", "last") if any(row.strip().startswith(name) for row in rows)] == [
        "first",
        "last",
    ]
    assert together(plain(id_)) in together(out.getvalue())
    assert [row["session_id"] for row in table.as_dict(look, None)["sessions"]] == ["first", id_, "last"]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range_of)
def test_a_page_of_a_stranger_is_shown_as_it_is(text: str) -> None:
    look = scrape.Snapshot(0.0, 0.0)
    look.rows[text] = scrape.SessionRow(text, events=3)
    look.rows[text].gmv_minor[text] = 5
    look.firing[text, "page"] = look.fired[text, "firing"] = look.reasons[text] = look.windows[text, "closed"] = 2
    out = io.StringIO()
    look.rows[text].seller_id = look.rows[text].title = look.rows[text].seller_name = text
    look.rows[text].firing[text] = 1
    console = Console(file=out, width=2000, height=40)
    console.print(table.screenful(look, 1.0, console=console, notes=[text], alerts=[alert(text)]))
    rows_of(out.getvalue())
    assert together(plain(text)) in together(out.getvalue())


def alert(text: str) -> Alert:
    return Alert(
        alert="busy",
        session_id=text,
        seller_id=text,
        status=Status.FIRING,
        severity=Severity.PAGE,
        since=0,
        at=MINUTE,
        run="live",
        summary=text,
        runbook=text,
        values={},
        id="0",
    )


def incident(text: str) -> Incident:
    return Incident("busy", text, text, Severity.PAGE, 0, 0, None, text, {}, {}, "0")


def input_offsets(text: str) -> InputOffsets:
    names = InputOffsets.__dataclass_fields__
    values: dict[str, Any] = dict.fromkeys(names, None) | {"topic": text, "partition": 0, "problem": text, "lost": 0}
    return InputOffsets(**values)


def held(text: str) -> dict[str, Any]:
    known = {"partition": 0, "status": text, "events": 1, "written_events": 1, "revision": 1, "last_event": 0}
    pane = {"start": 0, "events": 1, "counts": {text: 1}, "windows_written": {text: 1}}
    return {**known, "totals": {"session_id": text, "counts": {text: 1}}, "panes": [pane]}


def test_a_session_is_shown_with_what_it_is_called_and_when_it_started(capsys: pytest.CaptureFixture[str]) -> None:
    shown = held("x")
    shown["totals"] |= {"seller_name": "Toko", "title": "Obral \x1b[31m", "started_at": 1_700_000_000_000}
    use_zone("Asia/Jakarta")
    try:
        state._print_session(shown)
    finally:
        use_zone(None)
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    first = rows.index("so far") + 1
    assert rows[first : first + 3] == [
        *(r"title Obral \x1b[31m", "seller_name Toko", "started_at 2023-11-15 05:13:20 WIB"),
    ]


def test_a_session_s_money_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    shown = held("x")
    shown["totals"] |= {"gmv_minor": {"IDR": 319_033_500, "USD": 12_345}, "discount_minor": {}, "revision": 1}
    state._print_session(shown)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["gmv", "Rp", "3.190.335"] in rows
    assert ["gmv", "USD", "123.45"] in rows


def report(text: str) -> Report:
    tally = Tally("busy", Severity.PAGE, *([1] * (len(Tally.__dataclass_fields__) - 2)))
    return Report(
        Span(0, MINUTE),
        1,
        Counter({Outcome.COUNTED: 1}),
        Counter(),
        RuleSetReport([tally], [incident(text)]),
        lost=[text],
        bad_lines=1,
    )


SHOWN: dict[str, Callable[[str], None]] = {
    "say": output.say,
    "print_table": lambda text: output.print_table(("a", "b"), [(text, 1), ("x", text)]),
    "alerts": lambda text: output.print_table(("fired", *alerts.WHOSE), [("x", *alerts._whose(alert(text)))]),
    "alerts --json": lambda text: alerts._print_json([alert(text)]),
    "state": lambda text: state._print_session(held(text)),
    "state --json": lambda text: output.print_json([held(text)]),
    "offsets": lambda text: output.print_table(("topic",) * 10, [offsets._row(input_offsets(text))]),
    "backtest": lambda text: backtest_report.show(report(text)),
    "doctor": lambda text: doctor._print([Finding(Check.GROUP, Gravity.ERROR, text, text, text)]),
    "rules check": lambda text: output.say(Problem(1, text, text).located(text)),
}


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell is folded."""
    monkeypatch.setattr(output, "UNCUT", 4000)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("command", SHOWN)
@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=range_of)
def test_commands_show_what_data_says_as_it_is(text: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command.endswith("--json"):
        if text != "\ud800":  # no JSON that anybody wrote can hold it
            SHOWN[command](text)
            shown = capsys.readouterr().out
            rows_of(shown)
            assert text in texts_of(json.loads(shown))
        return
    SHOWN[command](text)
    shown = capsys.readouterr().out
    rows_of(shown)
    lines = text.split("\n") if command in {"say", "rules check"} else [text]
    assert all(together(plain(line)) in together(shown) for line in lines)


def texts_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(texts_of, value.values()))
    if isinstance(value, list):
        return set().union(*map(texts_of, value))
    return {value} if isinstance(value, str) else set()


def test_an_error_is_shown_line_by_line_and_nothing_in_it_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _leave("wrong:\n  \x1b[2J[red]x\u202e \ud800", 2)
    assert capsys.readouterr().err == "liveshop: wrong:\n  \\x1b[2J[red]x\\u202e \\ud800\n"


def test_spinning_shows_no_markup() -> None:
    with output.spinning("[/red]") as show:
        show("[/]\x1b[2J")


def test_one_of_a_thing_is_not_several() -> None:
    assert [output.number_of(number, "message") for number in (0, 1, 2, 12_000)] == [
        *("0 messages", "1 message", "2 messages", "12,000 messages"),
    ]
