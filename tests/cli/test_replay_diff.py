"""``liveshop replay diff``: what it prints, the page it writes, how it ends."""

import asyncio
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka.admin import NewTopic

from stream import cli
from stream.cli.replay_figures import difference, figure, label
from stream.cli.replay_page import names_of, page, verdict
from stream.config import Settings
from stream.kafka import client
from stream.model.names import SESSION_WINDOWS, SESSIONS
from stream.replay import audit
from stream.replay import plan as plans
from stream.replay.audit import RunOutcome
from stream.replay.compare import Change, Comparison
from stream.replay.plan import Plan
from stream.sandbox.broker import EmbeddedKafka
from tests.kafka import tools
from tests.replay.test_compare import FROM, TO, compared, counted
from tests.replay.test_plan import a_plan
from tests.replay.test_results import totals
from tests.test_schemas import check

HOSTILE: Final = '<script>alert("x")</script>&\u202e\x1b[31m'
INSIDE: Final[dict[str, Any]] = {"first_event": FROM, "last_event": TO - 1, "counts": {"views": 3}}


# -- as people read it


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (Change("counts.orders_paid", 1000, 2500, 1500), ("orders_paid", "1,000", "2,500", "+1,500")),
        (Change("gmv_minor.IDR", 5350000, 5350, -5344650), ("gmv IDR", "53,500.00", "53.50", "-53,446.50")),
        (Change("gmv_minor.JPY", 0, 5350, 5350), ("gmv JPY", "0", "5,350", "+5,350")),
        (Change("rates.ctr", 0.25, 0.15, -0.1), ("rates.ctr", "0.25", "0.15", "-0.1")),
        (Change("title", None, "x" * 60), ("title", "-", "x" * 39 + "…", "-")),
        (Change("incomplete", None, replay=True), ("incomplete", "-", "yes", "-")),
        (
            Change("products[p4].item_value_minor.IDR", 0, 150, 150),
            ("products[p4].item_value IDR", "0.00", "1.50", "+1.50"),
        ),
        (
            Change("ended_at", 0, 60000, 60000),
            ("ended_at", figure("ended_at", 0), figure("ended_at", 60000), "+60.000 s"),
        ),
    ],
)
def test_values_are_shown_in_their_own_units(change: Change, shown: tuple[str, ...]) -> None:
    name = change.name
    assert (label(name), figure(name, change.live), figure(name, change.replay), difference(change)) == shown


def test_the_verdict_is_one_sentence() -> None:
    assert verdict(compared([counted(3)], [counted(3)])) == "Equal: 1 results are the same in the replay and live."
    assert verdict(compared([counted(3)], [counted(4)])) == "1 of 1 results differ."
    assert "nothing in the range" in verdict(compared([], []))
    assert "retention has deleted" in verdict(compared([], [counted(3)], kept_from=TO))


def test_windows_stand_by_their_length() -> None:
    found = Comparison(FROM, TO, 0)
    for name in ("10m", "5m", "1h", "sessions", "1m30s"):
        found.tallies[name]["equal"] += 1  # type: ignore[index]  # a StrEnum's text
    assert names_of(found) == ["sessions", "1m30s", "5m", "10m", "1h"]


# -- the page


class Page(HTMLParser):
    """What it is made of; every element that has an end must have one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_shows_hostile_texts_as_texts() -> None:
    live = [counted(3, title=HOSTILE), totals(HOSTILE, **INSIDE)]
    found = compared(live, [counted(4, title=f"{HOSTILE}!", gmv_minor={"IDR": 5350000})])
    text = page("friday", found, "1.2.3")
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert not {"src", "href", "style"} & {name for name, _ in parsed.attributes}
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import|\x1b|\u202e", text)
    assert HOSTILE[:27] in parsed.text
    assert "53,500.00" in parsed.text
    assert "prefers-color-scheme: dark" in text
    assert "2 of 2 results differ." in parsed.text


def test_a_page_of_no_difference_says_so() -> None:
    parsed = Page(page("friday", compared([counted(3)], [counted(3)]), "0"))
    assert "Equal: 1 results" in parsed.text
    assert "largest" not in parsed.text


# -- the command


def test_a_plan_that_is_none_is_refused_before_a_broker_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", "diff", str(tmp_path / "nothing.json"), "--brokers", "127.0.0.1:1") == 2
    assert "cannot be read" in capsys.readouterr().err


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main([*words])
    return int(caught.value.code or 0)


async def make(config: Settings, plan: Plan) -> None:
    await tools.make_topics(config)
    admin = client.make_admin(config)
    await client.start(admin, config)
    try:
        await admin.create_topics(
            [NewTopic(config.topic(plan.topic(name)), 1, 1) for name in (SESSION_WINDOWS, SESSIONS)]
        )
    finally:
        await client.end(admin)


@pytest.mark.kafka
def test_it_compares_topics_and_ends_with_1_where_they_differ(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tools.settings(kafka, prefix)
    plan = a_plan(topic_prefix=prefix, from_ms=FROM, to_ms=TO)
    file = tmp_path / "plan.json"
    file.write_bytes(plans.written(plan))
    words = ("replay", "diff", str(file), "--brokers", kafka.bootstrap, "--topic-prefix", prefix)

    async def fill(name: str, *rows: tuple[bytes, bytes]) -> None:
        await tools.send(kafka, name, [*rows])

    asyncio.run(tools.make_topics(config))
    assert run(*words) == 2
    assert f"there is no {prefix}replay.friday.sessions: the replay was not run" in capsys.readouterr().err
    asyncio.run(make(config, plan))
    windows, own = config.topic(SESSION_WINDOWS), config.topic(plan.topic(SESSION_WINDOWS))
    asyncio.run(fill(windows, counted(3), counted(9, start=TO)))
    asyncio.run(fill(own, counted(3, run="friday", revision=4, reason="end_of_input")))
    for name in (SESSIONS, plan.topic(SESSIONS)):
        asyncio.run(fill(config.topic(name), totals("7", **INSIDE)))
    assert run(*words) == 0, "a window beyond the range is none of it"
    assert "Equal: 2 results" in capsys.readouterr().out
    asyncio.run(fill(windows, counted(5, revision=2)))
    html = tmp_path / "page.html"
    assert run(*words, "--html", str(html), "--json", "--top", "1") == 1
    printed = json.loads(capsys.readouterr().out)
    check("replay-diff", printed)
    assert printed["compared"]["1m"]["changed"] == 1
    assert printed["largest"][0]["changes"][0] == {"name": "counts.views", "live": 5, "replay": 3, "difference": -2}
    Page(html.read_text())
    assert run(*words) == 1
    assert "views -2" in capsys.readouterr().out
    assert run(*words[:-1], "other.") == 2
    assert "the settings say 'other.'" in capsys.readouterr().err
    _check_by_id(config, plan, tmp_path, capsys)


def _check_by_id(config: Settings, plan: Plan, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was run is known by its id: compared, and exported."""
    flags = ("--brokers", config.brokers or "", "--topic-prefix", config.topic_prefix)
    assert run("replay", "diff", "friday", *flags) == 2
    assert "there is no replay friday" in capsys.readouterr().err
    entry = audit.begun(plan, "me", "", None)
    asyncio.run(audit.record(config, entry))
    assert run("replay", "diff", "friday", *flags) == 2
    assert "the replay friday is running" in capsys.readouterr().err
    asyncio.run(audit.record(config, audit.changed(entry, outcome=RunOutcome.DONE)))
    assert run("replay", "diff", "friday", *flags) == 1
    assert "views -2" in capsys.readouterr().out
    file = folder / "friday.openmetrics"
    assert run("replay", "export", "friday", "--openmetrics", str(file), "--with-live", *flags) == 0
    assert "1 windows of friday, 1 windows of live" in capsys.readouterr().out
    samples = [line for line in file.read_text().splitlines() if line.startswith("liveshop_window_views{")]
    assert samples == [
        'liveshop_window_views{run="friday",window="1m",platform="unknown"} 3 120.000',
        'liveshop_window_views{run="live",window="1m",platform="unknown"} 5 120.000',
    ]
    assert run("replay", "export", "friday", "--openmetrics", str(file), *flags) == 2
    assert "--force writes over it" in capsys.readouterr().err
