"""Which sessions a topic knows and admits, by small numbers; and how it comes back from a state."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from stream.core.cooperative import drained
from stream.core.ids import hash_id
from stream.core.known import ENTRY, Known
from stream.core.policy import DAY, HOUR, MINUTE, Policy
from stream.core.statelog import StateLog

T0 = 1_700_000_000_000 - 1_700_000_000_000 % HOUR
ROOT = Path(__file__).parents[2]
FEW = Policy(max_new_sessions=2, max_sessions=3)


def count(known: Known, session: int, start: int, clock: int | None = None) -> str | None:
    """One event of it, if it is not refused."""
    clock = start if clock is None else clock
    why = known.refusal(session, start, clock)
    if why is None:
        known.note(session, start, clock)
    return why


def counted(known: Known, sessions: Iterable[int], start: int, clock: int | None = None) -> list[int]:
    return [session for session in sessions if count(known, session, start, clock) is None]


def test_so_many_are_admitted_in_a_pane_and_so_many_are_known() -> None:
    known = Known(FEW)
    assert counted(known, [1, 2, 3, 1], T0) == [1, 2, 1]
    assert "max_new_sessions (2)" in str(count(known, 3, T0))
    assert counted(known, [3, 4, 2], T0 + MINUTE) == [3, 2]
    assert "max_sessions (3)" in str(count(known, 4, T0 + MINUTE))
    assert known.number(T0 + MINUTE) == 3


def test_a_pane_that_comes_late_has_room_of_its_own() -> None:
    known = Known(FEW)
    assert counted(known, [1, 2], T0) == [1, 2]
    assert counted(known, [3], T0 - MINUTE, T0) == [3]


def test_a_session_is_known_until_the_end_of_its_latest_pane_and_session_keep() -> None:
    known = Known(replace(FEW, max_sessions=1))
    end = T0 + MINUTE + DAY
    assert counted(known, [1], T0) == [1]
    assert counted(known, [2], end - MINUTE, end - 1) == []
    assert counted(known, [2], end - MINUTE, end) == [2]
    assert counted(known, [1], end) == []


def test_a_late_event_takes_no_time_from_a_session() -> None:
    known = Known(replace(FEW, max_sessions=1))
    for start in (T0 + 3 * MINUTE, T0):
        assert counted(known, [1], start, T0 + 3 * MINUTE) == [1]
    assert counted(known, [2], T0 + DAY, T0 + 4 * MINUTE + DAY - 1) == []
    assert known.number(T0 + 4 * MINUTE + DAY) == 0


def test_what_is_admitted_is_remembered_while_its_pane_may_admit_more() -> None:
    known = Known(replace(FEW, max_sessions=100))
    for minute in range(30):
        assert counted(known, [minute], T0 + minute * MINUTE) == [minute]
    assert set(known.admitted) <= {T0 + minute * MINUTE for minute in range(23, 30)}


class Stored(StateLog):
    """The buckets of a state, as its log keeps them."""

    def __init__(self) -> None:
        super().__init__(10)
        self.hours: dict[bytes, list[bytes]] = {}

    def drop_bucket(self, bucket: bytes) -> None:
        self.hours.pop(bucket, None)

    def take(self, known: Known, clock: int) -> None:
        drained(known.retire(self, clock))
        for bucket, chunk in known.additions(self):
            self.hours.setdefault(bucket, []).append(chunk)

    def restored(self, policy: Policy, known: Known) -> Known:
        other = Known(policy)
        for bucket, chunks in self.hours.items():
            other.restore(bucket, chunks)
        other.admitted.update(known.admitted)
        return other

    def __len__(self) -> int:
        return sum(len(chunk) for chunks in self.hours.values() for chunk in chunks) // ENTRY


@pytest.mark.parametrize("pane_ms", [1000, MINUTE, 7 * MINUTE, 5 * HOUR])
def test_restored_it_decides_as_before(pane_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.core.known.SLACK", 2)
    policy = replace(FEW, session_keep_ms=20 * pane_ms)
    object.__setattr__(policy, "pane_ms", pane_ms)
    rng, stored, known, clock = Random(pane_ms), Stored(), Known(policy), T0
    for _ in range(600):
        clock += rng.choice((0, 0, pane_ms // 3, 3 * pane_ms))
        start = (clock - rng.choice((0, 0, pane_ms // 2))) // pane_ms * pane_ms
        session = rng.randrange(12)
        twin = known
        if rng.random() < 0.3:
            stored.take(known, clock)
            twin = stored.restored(policy, known)
        assert twin.refusal(session, start, clock) == known.refusal(session, start, clock)
        assert twin.number(clock) == known.number(clock)
        known = twin
        count(known, session, start, clock)


def test_sessions_on_air_for_a_day_do_not_fill_the_state() -> None:
    known, stored, sessions = Known(Policy()), Stored(), [hash_id(b"%d" % number) for number in range(50)]
    for minute in range(1440):
        now = T0 + minute * MINUTE
        counted(known, sessions, now)
        stored.take(known, now)
    assert len(stored) < 24 * (2 * len(sessions) + 300)
    stored.take(known, T0 + 3 * DAY)
    assert len(stored) == 0


def test_a_flood_is_held_in_bytes() -> None:
    """Half a million made up, of which the first are known: memory and state follow the bound, not the flood."""
    policy = Policy(max_new_sessions=1000, max_sessions=5000)
    known, stored = Known(policy), Stored()
    for number in range(500_000):
        now = T0 + number // 10_000 * MINUTE
        count(known, hash_id(b"%d" % number), now)
    stored.take(known, now)
    assert known.number(now) == len(stored) == 5000


def test_of_a_state_that_does_not_say_who_is_known_the_held_ones_are() -> None:
    known = Known(FEW)
    for session in (1, 2, 3, 4):
        known.adopt(session, T0, T0)
    known.adopt(5, T0 - 2 * DAY, T0)
    assert known.number(T0) == 4
    assert counted(known, [1, 5], T0) == [1]


LATE_IMPORT = """
import sys
from stream.core.known import Known
from stream.core.policy import Policy
from stream.core.statelog import StateLog
known = Known(Policy())
known.note(1, 0, 0)
before = set(sys.modules)
assert list(known.additions(StateLog(10)))
assert set(sys.modules) == before, set(sys.modules) - before
"""


def test_a_checkpoint_imports_nothing() -> None:
    """`np.unique` brought numpy.ma with it: 8 to 15 ms of CPU, in the first checkpoint of a process."""
    done = subprocess.run([sys.executable, "-c", LATE_IMPORT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
