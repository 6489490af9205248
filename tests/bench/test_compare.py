"""The comparison on a small scale: the harness, the recount, and the loops by hand. The others are too slow to try here."""

import sys
from pathlib import Path

import pytest

from stream.children import Child
from stream.errors import UsageError
from stream.sandbox import jars
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.java import java
from tests.bench import backlog, compare, race
from tests.bench.contenders import CONTENDERS, Contender, Stage
from tests.bench.events import Maker
from tests.bench.tally import Counts, Place, Tally, counts_of, differences

BY_NAME = {contender.name: contender for contender in CONTENDERS}


def test_the_recount_tells_repeats_apart_and_agrees_with_the_maker() -> None:
    maker, tally = Maker(5_000, 20, 1_700_000_000_000, 250_000), Tally()
    for record in maker:
        tally.add(record.value or b"")
    once, repeated = tally.rows(repeats=False), tally.rows(repeats=True)
    for name in Counts._fields:
        made = sum(number for (_, each), number in maker.expected.counts.items() if each == name)
        assert sum(getattr(counts, name) for counts in once.values()) == made, name
    assert once.keys() == repeated.keys()
    assert once != repeated


def test_differences_name_what_is_missing_and_what_is_too_much() -> None:
    place, other = Place("7301", 0), Place("7302", 0)
    assert differences({place: Counts(views=2)}, {place: Counts(views=2)}) == ""
    said = differences({place: Counts(views=2)}, {place: Counts(views=3), other: Counts(gmv=5)})
    assert said == "2 of 2 windows differ (1 missing, 0 unknown; -1 views, -5 gmv)"


def test_an_event_that_moves_no_count_still_makes_a_window() -> None:
    assert counts_of({"action": "heartbeat"}) == Counts()
    tally = Tally()
    tally.add(b'{"event_id":"1","event_time":60001,"session_id":"7301","action":"heartbeat"}')
    assert tally.rows(repeats=False) == {Place("7301", 60_000): Counts()}


def test_an_unknown_rival_is_named() -> None:
    with pytest.raises(UsageError, match="there is no rival storm; there are flink"):
        compare.chosen(["storm"])
    assert [contender.name for contender in compare.chosen(["loop"])] == ["liveshop", "loop"]


@pytest.mark.kafka
def test_the_loops_are_measured_and_exact(kafka: EmbeddedKafka) -> None:
    full, few = backlog.fill(kafka.bootstrap, 2_000, 10, 500)
    said: list[str] = []
    assert compare.run_all(compare.Table(said.append), [BY_NAME["loop"], BY_NAME["loop-full"]], full, few)
    rows = [line.split() for line in said if line.startswith("loop")]
    assert [(row[0], row[5]) for row in rows] == [("loop", "yes"), ("loop-full", "yes")], said
    assert (full.records, few.records) == (2_012, 512)
    assert sum(map(sum, full.once.values())) > sum(map(sum, few.once.values()))


@pytest.mark.kafka
def test_what_counts_wrong_is_said(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    full, _ = backlog.fill(kafka.bootstrap, 5_000, 10, 10)
    careless = BY_NAME["loop"]
    strict = Contender(careless.name, "", careless.start, careless.outputs, careless.rows, repeats=False)
    outcome = race.run(strict, full, Stage(full, f"{full.prefix}strict", tmp_path, print))
    assert "windows differ (0 missing, 0 unknown; +" in outcome.fault


@pytest.mark.kafka
def test_a_rival_that_ends_by_itself_fails_the_comparison_with_its_last_words(
    kafka: EmbeddedKafka, prefix: str
) -> None:
    def start(stage: Stage) -> Child:
        return Child([sys.executable, "-c", "raise SystemExit('no memory left')"], log=stage.log)

    broken = Contender("broken", "", start, BY_NAME["loop"].outputs, BY_NAME["loop"].rows)
    waiting = backlog.Backlog(kafka.bootstrap, prefix, 112, {}, {})
    said: list[str] = []
    assert not compare.run_all(compare.Table(said.append), [broken], waiting, waiting)
    assert "broken FAILED: it ended with code 1 when 0 of 112 records are committed:\nno memory left" in said[-1]


@pytest.mark.kafka
def test_a_rival_whose_tools_are_missing_is_left_out_and_fails_nothing(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(java())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(jars, "cache_folder", lambda: tmp_path / "kafka")
    waiting = backlog.Backlog(kafka.bootstrap, prefix, 112, {}, {})
    said: list[str] = []
    assert compare.run_all(compare.Table(said.append), [BY_NAME["flink"]], waiting, waiting)
    assert "flink is left out: mvn is missing (Debian: apt install openjdk-17-jdk-headless maven)" in said[-1]


def test_the_table_is_markdown_on_request() -> None:
    said: list[str] = []
    table = compare.Table(said.append, markdown=True)
    table.head()
    table.row(compare.cells(BY_NAME["loop"], race.Outcome(1.5, 2.0, 300_000.0, 100.0, ""), 3.0))
    assert said[0].count("|") == said[1].count("|") == said[2].count("|")
    assert said[2].startswith("| loop | 1.50 | 2.00 | 300,000 | 100 | yes | 0.50 | 5 counts")


def test_what_so_few_events_cannot_tell_is_a_dash() -> None:
    cells = compare.cells(BY_NAME["loop"], race.Outcome(None, 2.0, None, 100.0, "2 windows differ"), 3.0)
    assert cells[1:7] == ["-", "2.00", "-", "100", "no", "-"]
