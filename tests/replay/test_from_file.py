"""A recording counted without Kafka: what comes out is what an independent recount says, however it is placed."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from stream.core.policy import HOUR, Policy
from stream.errors import UsageError
from stream.model.messages import Message
from stream.model.names import ALERTS, DEAD_LETTERS, SESSION_WINDOWS, SESSIONS, Kind
from stream.model.results import Outputs
from stream.replay import from_file, parquet, recording, result_files
from stream.replay.file_source import batches
from stream.replay.from_file import Summary
from stream.replay.result_files import ResultFiles, named
from stream.rules.reading import load_rules
from stream.sandbox.traffic import Plan, Traffic
from tests.chaos.judge import OF_THE_RUN
from tests.outputs import without
from tests.recount import LogRecord, Recounted, recount
from tests.test_schemas import EXAMPLES, ROOT, check

START: Final = 1_760_000_000_000
POLICY: Final = Policy()
MESSAGES: Final = Traffic(Plan(rate=20, sessions=6, bad=0.08, seed=5), START).step(START + 900_000)
"""A quarter of an hour, with late, repeated and bad events."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recorded") / "events.ndjson.gz"
    with recording.create(file) as opened:
        recording.write(MESSAGES, opened)
    return file


def log(messages: Sequence[Message], partitions: int) -> list[LogRecord]:
    """As the topics would hold them."""
    arrived = [message[:4] for message in messages]
    return [
        LogRecord(str(kind), partition, record.offset, record.timestamp, record.key, record.value)
        for partition, kind, records in batches(arrived, partitions)
        for record in records
    ]


class Taken:
    """The last values of each key."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, Any]] = {SESSION_WINDOWS: {}, SESSIONS: {}}
        self.reasons: set[str] = set()

    def take(self, _partition: int, outputs: Outputs) -> None:
        for topic, last in self.last.items():
            for key, value in outputs.records[topic]:
                decoded = json.loads(value)
                self.reasons.add(decoded.get("reason"))
                last[key.decode()] = without(decoded, *OF_THE_RUN)


def replayed(source: Path, partitions: int, taken: Taken) -> Summary:
    rules = load_rules("default", POLICY.pane_ms)
    return from_file.replay(
        source,
        POLICY,
        rules,
        partitions,
        taken.take,
        tell=lambda _done, _every: None,
        complain=lambda _text, _number: None,
    )


@pytest.mark.parametrize(("partitions", "every"), [(1, 4_000), (3, 1_500)])
def test_it_counts_what_an_independent_recount_counts(
    source: Path, partitions: int, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_file, "EVERY", every)
    expected = recount(log(MESSAGES, partitions))
    taken = Taken()
    summary = replayed(source, partitions, taken)
    assert taken.last[SESSION_WINDOWS] == expected.windows
    assert taken.last[SESSIONS] == expected.sessions
    assert "end_of_input" in taken.reasons
    assert "correction" in taken.reasons
    outcomes: Counter[str] = Counter()
    for (_, outcome), number in expected.outcomes.items():
        outcomes[outcome] += number
    assert {**summary.outcomes} == {**outcomes}
    assert {**summary.refused} == {**Counter(expected.dead.values())}
    assert summary.records == len(MESSAGES)
    assert len(summary.sessions) == len(expected.sessions)
    assert sum(summary.windows.values()) == len(expected.windows)
    assert summary.orders_paid == sum(each["counts"]["orders_paid"] for each in expected.sessions.values())
    assert {**summary.gmv_minor} == _gmv(expected)


def _gmv(expected: Recounted) -> dict[str, int]:
    found: Counter[str] = Counter()
    for each in expected.sessions.values():
        found.update(each["gmv_minor"])
    return {**found}


def test_a_topic_that_never_speaks_does_not_keep_windows_open_to_the_end(tmp_path: Path) -> None:
    """Hours of views alone: what is held is what `state_retention` allows."""
    views = [message for message in MESSAGES if message.kind is Kind.VIEWS and message.fault is None][::20]
    hours = [
        recording.moved(message, hour * HOUR)._replace(at=message.at + hour * HOUR)
        for hour in range(4)
        for message in views
    ]
    with recording.create(tmp_path / "views.ndjson") as opened:
        recording.write(hours, opened)
    taken = Taken()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(from_file, "EVERY", 100)
        replayed(tmp_path / "views.ndjson", 1, taken)
    assert taken.last[SESSION_WINDOWS] == recount(log(hours, 1)).windows
    assert taken.reasons >= {"closed", "end_of_input"}


def test_an_empty_recording_has_no_results(tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").write_bytes(b"\n")
    taken = Taken()
    summary = replayed(tmp_path / "empty.ndjson", 2, taken)
    assert (summary.records, summary.first, taken.last[SESSIONS]) == (0, None, {})


# -- files


def files(source: Path, folder: Path, *, tables: bool = True, force: bool = False) -> list[Path]:
    written = ResultFiles(folder, tables=tables, force=force)
    rules = load_rules("default", POLICY.pane_ms)
    with written:
        from_file.replay(
            source,
            POLICY,
            rules,
            2,
            written.take,
            tell=lambda _done, _every: None,
            complain=lambda _text, _number: None,
        )
        return written.finish()


def lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_files_hold_the_last_revisions_as_their_schemas_say_and_parquet_the_same(source: Path, tmp_path: Path) -> None:
    assert {each.name for each in files(source, tmp_path / "out")} == {
        each.name for each in (tmp_path / "out").iterdir()
    }
    expected = recount(log(MESSAGES, 2))
    windows = lines(tmp_path / "out" / named(SESSION_WINDOWS, "ndjson"))
    sessions = lines(tmp_path / "out" / named(SESSIONS, "ndjson"))
    keyed = {f"{each['session_id']}/{each['window']}/{each['start']}": each for each in windows}
    assert [*keyed] == sorted(keyed)
    assert {key: without(each, *OF_THE_RUN) for key, each in keyed.items()} == expected.windows
    assert {each["session_id"]: without(each, *OF_THE_RUN) for each in sessions} == expected.sessions
    for topic, values in (
        (SESSION_WINDOWS, windows),
        (SESSIONS, sessions),
        (ALERTS, lines(tmp_path / "out" / "alerts.ndjson")),
    ):
        name = topic.removeprefix("live.")
        for value in values[:20]:
            check(name, value)
        assert rows(tmp_path / "out" / named(topic, "parquet")) == values


def rows(file: Path) -> list[Any]:
    """What a Parquet file holds, as JSON has it: what is not there is absent."""
    import duckdb

    with duckdb.connect() as connection:
        found = connection.read_parquet(str(file))
        return [_known(dict(zip(found.columns, row, strict=True))) for row in found.fetchall()]


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _known(each) for name, each in value.items() if each is not None}
    return [_known(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("topic", result_files.TABLES)
def test_every_field_of_every_example_is_a_column_of_parquet(topic: str, tmp_path: Path) -> None:
    examples = [file for file in EXAMPLES if file.parent.parent == ROOT / topic.removeprefix("live.")]
    values = [json.loads(file.read_text()) for file in examples]
    (tmp_path / "lines").write_text("".join(f"{json.dumps(value)}\n" for value in values))
    parquet.write(topic, tmp_path / "lines", tmp_path / "it's.parquet")
    assert rows(tmp_path / "it's.parquet") == values


@pytest.mark.parametrize("topic", result_files.TABLES)
def test_the_columns_of_parquet_are_those_of_the_schemas(topic: str) -> None:
    schema = json.loads((ROOT / topic.removeprefix("live.") / "v1.schema.json").read_text())
    assert {*parquet.COLUMNS[topic]} == {*schema["properties"]}


def test_dead_letters_are_a_recording_again(source: Path, tmp_path: Path) -> None:
    files(source, tmp_path, tables=False)
    file = tmp_path / named(DEAD_LETTERS, "ndjson")
    letters = lines(file)
    again = [each for each in recording.read(file) if isinstance(each, Message)]
    assert len(again) == len(letters) == len(recount(log(MESSAGES, 2)).dead)
    assert {each["reason"] for each in letters} >= {"late", "invalid_json", "key_mismatch"}
    sent = Counter((message.at, message.kind, message.key, message.value) for message in MESSAGES)
    whole = [message[:4] for message, letter in zip(again, letters, strict=True) if "size" not in letter]
    assert not Counter(whole) - sent


def test_results_are_not_overwritten_unless_told_to(source: Path, tmp_path: Path) -> None:
    files(source, tmp_path, tables=False)
    before = (tmp_path / "sessions.ndjson").read_bytes()
    with pytest.raises(UsageError, match="would lose it: --force writes over it"):
        files(source, tmp_path)
    files(source, tmp_path, tables=False, force=True)
    assert (tmp_path / "sessions.ndjson").read_bytes() == before


def test_without_duckdb_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(UsageError, match=r"pip install 'liveshop\[parquet\]'.*--no-parquet"):
        parquet.require()


def test_no_results_are_files_without_rows(tmp_path: Path) -> None:
    (tmp_path / "empty.ndjson").write_bytes(b"")
    files(tmp_path / "empty.ndjson", tmp_path / "out")
    assert rows(tmp_path / "out" / "sessions.parquet") == []
