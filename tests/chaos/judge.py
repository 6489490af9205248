"""What the outputs must be, held against an independent recount of the inputs: nothing missing, nothing twice."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.outputs import Letter, Value, Written, newest, without
from tests.recount import LogRecord, Recounted, RefusedBatch

OF_THE_RUN: Final = ("run", "revision", "generation", "reason", "status")
"""What the way of counting may change."""
OURS: Final = frozenset({"liveshop-origin"})
"""A letter has its own; that of a record that was moved from a smaller set of topics makes room for it."""
KEPT: Final = 64 * 1024


def differences(records: Iterable[LogRecord], expected: Recounted, written: Written, prefix: str) -> list[str]:
    """One line each; empty when the outputs are exactly what they must be. No worker was told to rebuild."""
    by_place = {record.place: record for record in records}
    return [
        *_results("window", expected.windows, written.windows),
        *_results("session", expected.sessions, written.sessions),
        *_letters(by_place, expected, written.letters, prefix),
        *_places(by_place.values(), written.partitions),
        *_alerts(written.alerts),
    ]


def _results(what: str, expected: Mapping[str, Value], written: Mapping[str, list[Value]]) -> Iterator[str]:
    for key in sorted(expected.keys() - written.keys()):
        yield f"{what} {key} is missing"
    for key in sorted(written.keys() - expected.keys()):
        yield f"{what} {key} should not be there: {_brief(newest(written[key]))}"
    for key in sorted(expected.keys() & written.keys()):
        found = without(newest(written[key]), *OF_THE_RUN)
        if found != expected[key]:
            yield f"{what} {key} differs: {_unequal(expected[key], found)}; revisions {_revisions(written[key])}"
    for key, revisions in written.items():
        yield from _history(f"{what} {key}", revisions)


def _history(what: str, revisions: list[Value]) -> Iterator[str]:
    """In the log the revisions of a key are 1, 2, 3 …; nothing twice and none left out."""
    if [value["revision"] for value in revisions] != list(range(1, len(revisions) + 1)):
        yield f"{what} has the revisions {_revisions(revisions)}"
    if any(value["generation"] != 0 for value in revisions):
        yield f"{what} has another generation than 0: {_revisions(revisions)}"
    reasons = [value.get("reason") for value in revisions]
    # the first revision is a correction when a late event is the first one of a window that was closed without any
    corrections = [each for each in reasons[1:] if each is not None]
    if reasons[0] not in {None, "closed", "idle", "end_of_input", "correction"} or set(corrections) - {"correction"}:
        yield f"{what} has the reasons {reasons}"


def _alerts(written: Mapping[str, list[Value]]) -> Iterator[str]:
    """Which there are depends on when a topic was left out; but each firing is told once, and resolved once."""
    for key, values in written.items():
        told = [(value["status"], value["id"], value["since"]) for value in values]
        fired = told[::2]
        ids = [id_ for _, id_, _ in fired]
        expected = [(status, *each[1:]) for each in fired for status in ("firing", "resolved")]
        if told != expected[: len(told)] or len(set(ids)) < len(ids):
            yield f"alert {key} was told as {told}"


def _letters(
    records: Mapping[tuple[str, int, int], LogRecord], expected: Recounted, letters: Iterable[Letter], prefix: str
) -> Iterator[str]:
    by_origin: defaultdict[tuple[str, int, int], list[Letter]] = defaultdict(list)
    for letter in letters:
        by_origin[letter.origin(prefix)].append(letter)
    for place in sorted(expected.dead.keys() - by_origin.keys()):
        yield f"dead letter of {place} is missing: {expected.dead[place]}"
    for place in sorted(by_origin.keys() - expected.dead.keys()):
        yield f"dead letter of {place} should not be there: {by_origin[place][0].headers}"
    for place in sorted(expected.dead.keys() & by_origin.keys()):
        if len(by_origin[place]) > 1:
            yield f"{place} is {len(by_origin[place])} times among the dead letters"
        letter = by_origin[place][0]
        batch = expected.refused.get(place)
        yield from _letter(records[place], expected, letter) if batch is None else _batch_letter(batch, letter)


def _letter(record: LogRecord, expected: Recounted, letter: Letter) -> Iterator[str]:
    what = f"dead letter of {record.place}"
    reasons = expected.faults.get(record.place, set()) | {expected.dead[record.place]}
    if letter.reason not in reasons:
        yield f"{what} says {letter.reason}, true are {sorted(reasons)}"
    if letter.partition != record.partition:
        yield f"{what} is on partition {letter.partition}"
    kept = (record.value or b"")[:KEPT] if letter.reason == "too_large" else record.value
    if letter.value != kept or letter.key != (record.key and record.key[:KEPT]):
        yield f"{what} has not its original bytes"
    dropped = len({header for header in record.headers if header[0] not in OURS} - set(letter.headers))
    if dropped and letter.header("liveshop-headers-dropped") != str(dropped):
        yield f"{what} has lost headers and does not say so"
    timestamp = letter.header("liveshop-origin").rsplit("/", 1)[1]
    if (letter.header("liveshop-run"), letter.header("liveshop-generation")) != ("live", "0"):
        yield f"{what} is of another run or generation"
    if timestamp != str(record.timestamp):
        yield f"{what} has the timestamp {timestamp}, not {record.timestamp}"


def _batch_letter(batch: RefusedBatch, letter: Letter) -> Iterator[str]:
    what = f"dead letter of the batch at {batch.place}"
    if (letter.reason, letter.partition) != (batch.reason, batch.partition):
        yield f"{what} says {letter.reason} on partition {letter.partition}"
    offsets = letter.header("liveshop-origin").rsplit("/", 2)[1]
    if offsets != f"{batch.first}-{batch.first + batch.records - 1}":
        yield f"{what} is of the offsets {offsets}"
    if letter.header("liveshop-records") != str(batch.records):
        yield f"{what} stands for {letter.header('liveshop-records')} records, not {batch.records}"
    if letter.key is not None or letter.value != batch.data[:KEPT]:
        yield f"{what} has not its original bytes"


def _places(records: Iterable[LogRecord], partitions: Mapping[str, set[int]]) -> Iterator[str]:
    """ "Records go to the partition number of their shard"."""
    keys: defaultdict[str, set[int]] = defaultdict(set)
    for record in records:
        if record.key:
            keys[record.key.decode(errors="replace")].add(record.partition)
    for session, numbers in sorted(partitions.items()):
        if numbers != keys[session]:
            yield f"results of session {session} are on {sorted(numbers)}, its events on {sorted(keys[session])}"


def _unequal(expected: Value, found: Value) -> str:
    names = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
    return "; ".join(f"{name}: {_parts(expected.get(name), found.get(name))}" for name in names)


def _parts(expected: Any, found: Any) -> str:
    if isinstance(expected, dict) and isinstance(found, dict):
        names = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
        return ", ".join(f"{name} {found.get(name)} instead of {expected.get(name)}" for name in names)
    return f"{found} instead of {expected}"


def _revisions(values: Iterable[Value]) -> list[tuple[int, str | None, int]]:
    return [(value["revision"], value.get("reason"), sum(value["counts"].values())) for value in values]


def _brief(value: Value) -> str:
    return json.dumps({name: value[name] for name in ("revision", "counts")})[:300]


def save(folder: Path, found: Iterable[str], expected: Recounted, written: Written) -> None:
    """Everything there is to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "differences.txt").write_text("\n".join(found))
    (folder / "expected.json").write_text(
        json.dumps({"windows": expected.windows, "sessions": expected.sessions}, indent=1)
    )
    (folder / "written.json").write_text(
        json.dumps({"windows": written.windows, "sessions": written.sessions}, indent=1)
    )
