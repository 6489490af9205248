"""The judge of the chaos rounds finds what it is there for: planted faults in outputs that were right."""

import copy
import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.chaos.judge import differences
from tests.core.worlds import Driver, Happening, World
from tests.outputs import Letter, Written, newest
from tests.recount import LogRecord, Recounted, Rules, recount

PREFIX = "t."
SECOND = 1000
WORLD = World(
    views=(
        *(Happening("enter", after=3 * SECOND, ref=number) for number in range(30)),
        *(Happening("garbage"), Happening("enter", ago=15 * SECOND), Happening("enter", ago=60 * SECOND)),
    ),
    checkouts=(Happening("paid", after=SECOND, ref=1, amount=700), Happening("no_session", after=SECOND)),
)


def right() -> tuple[list[LogRecord], Recounted, Written]:
    """What a worker in miniature wrote, as a reader of the topics sees it."""
    driver = Driver(WORLD)
    written = Written()
    take = driver.told.take

    def told(outputs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as Told.take
        take(outputs)
        rows = [("live.session-windows", outputs.windows), ("live.sessions", outputs.sessions)]
        written.take(
            [
                SimpleNamespace(topic=PREFIX + topic, partition=0, key=key, value=value)
                for topic, row in rows
                for key, value in row
            ],
            PREFIX,
        )
        written.letters += [
            Letter(0, letter.record.key, letter.record.value, _headers(letter.kind, letter.record, letter.reason))
            for letter in outputs.dead_letters
        ]

    driver.told.take = told  # type: ignore[method-assign]
    # the stragglers come when their windows are closed
    driver.run([("views", 30), ("checkouts", 9), ("exclude", 1), ("exclude", 2), ("work", 99), ("checkpoint", 0),
                ("views", 99), ("quiet", 9), ("work", 999), ("checkpoint", 0)])  # fmt: skip
    records = [record for log in WORLD.records().values() for record in log]
    return records, recount(records, RULES), written


def _headers(kind: str, record: LogRecord, reason: str) -> tuple[tuple[str, bytes], ...]:
    origin = f"{PREFIX}live.{kind}/0/{record.offset}/{record.timestamp}"
    texts = {"reason": reason, "detail": "x", "origin": origin, "run": "live", "generation": "0", "redrives": "0"}
    return tuple((f"liveshop-{name}", text.encode()) for name, text in texts.items())


RULES = Rules(
    windows=(("10s", 10 * SECOND, 10 * SECOND), ("30s", 30 * SECOND, 10 * SECOND)),
    delay_ms=2 * SECOND,
    lateness_ms=20 * SECOND,
    max_future_ms=5 * SECOND,
    max_ids=2,
)


def test_right_outputs_have_no_difference() -> None:
    records, expected, written = right()
    assert differences(records, expected, written, PREFIX) == []
    assert len(written.letters) == 3
    assert any(len(revisions) > 1 for revisions in written.windows.values())


def _a_window(written: Written) -> list[dict[str, object]]:
    return next(revisions for revisions in written.windows.values() if len(revisions) > 1)


def _miss_a_window(written: Written) -> None:
    del written.windows[next(iter(written.windows))]


def _add_a_window(written: Written) -> None:
    written.windows["s0/10s/0"] = [json.loads(json.dumps(newest(_a_window(written)))) | {"revision": 1}]


def _count_twice(written: Written) -> None:
    value = copy.deepcopy(newest(_a_window(written)))
    value["revision"] += 1
    value["reason"] = "correction"
    value["counts"]["views"] += 1
    _a_window(written).append(value)


def _write_twice(written: Written) -> None:
    _a_window(written).append(_a_window(written)[-1])


def _leave_a_revision_out(written: Written) -> None:
    del _a_window(written)[0]


def _another_generation(written: Written) -> None:
    for value in _a_window(written):
        value["generation"] = 1


def _wrong_total(written: Written) -> None:
    newest(next(iter(written.sessions.values())))["gmv_minor"] = {"IDR": 1}


def _lose_a_letter(written: Written) -> None:
    del written.letters[0]


def _letter_twice(written: Written) -> None:
    written.letters.append(written.letters[0])


def _change_letter(**changes: object) -> Callable[[Written], None]:
    def change(written: Written) -> None:
        first = written.letters[0]
        fields = {"partition": first.partition, "key": first.key, "value": first.value, "headers": first.headers}
        written.letters[0] = Letter(**(fields | changes))  # type: ignore[arg-type]

    return change


def _wrong_reason(written: Written) -> None:
    first = written.letters[0]
    headers = tuple((name, b"future" if name == "liveshop-reason" else value) for name, value in first.headers)
    written.letters[0] = Letter(first.partition, first.key, first.value, headers)


def _two_partitions(written: Written) -> None:
    next(iter(written.partitions.values())).add(1)


@pytest.mark.parametrize(
    ("plant", "word"),
    [
        (_miss_a_window, "is missing"),
        (_add_a_window, "should not be there"),
        (_count_twice, "views"),
        (_write_twice, "revisions"),
        (_leave_a_revision_out, "revisions"),
        (_another_generation, "generation"),
        (_wrong_total, "gmv_minor"),
        (_lose_a_letter, "is missing"),
        (_letter_twice, "2 times"),
        (_change_letter(value=b"other"), "original bytes"),
        (_change_letter(partition=3), "partition"),
        (_wrong_reason, "says future"),
        (_two_partitions, "are on [0, 1]"),
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[Written], None], word: str) -> None:
    records, expected, written = right()
    plant(written)
    found = differences(records, expected, written, PREFIX)
    assert any(word in line for line in found), found
