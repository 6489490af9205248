"""Corrections while a topic is left out: one a window now and then, none forgotten. What else windows do: transcripts/."""

import json
from collections import Counter
from itertools import count, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.policy import DAY, HOUR, MINUTE, Policy, WindowSpec
from stream.core.windows import CORRECT_EVERY_MS
from stream.model.names import KINDS, Closed, Kind
from tests.core.test_shard import T0, Room

SECOND = 1000
OLD = T0 - 30 * MINUTE


class Trickle(Room):
    """Views and checkouts are up to date, comments come half an hour late; a checkpoint each second."""

    def __init__(self, policy: Policy | None = None) -> None:
        super().__init__(policy)
        self.now = 5_000_000
        self.see(Kind.COMMENTS, OLD, seen=T0)
        self.see(Kind.CHECKOUTS, T0)
        self.see(Kind.VIEWS, T0)
        self.shard.keep_up(KINDS)
        self.settle()

    def second(self, *comments: int) -> list[tuple[str, int, int]]:
        """Session and minute, revision and comments of each window of a minute written meanwhile."""
        for time in comments:
            self.see(Kind.COMMENTS, time, seen=T0)
        self.windows.clear()
        self.now += SECOND
        while self.shard.work(100):
            pass
        if (outputs := self.shard.collect(now_ms=self.now)) is not None:
            self._take(outputs)
        return [
            (
                f"{value['session_id']} {(value['start'] - OLD) // MINUTE}",
                value["revision"],
                value["counts"]["comments"],
            )
            for value in self.windows.values()
            if value["window"] == "1m"
        ]

    def told(self, seconds: int, **each: Any) -> list[tuple[int, list[tuple[str, int, int]]]]:
        return [(second, found) for second in range(seconds) if (found := self.second(*each.get("comments", ())))]


def test_a_window_is_corrected_at_most_every_ten_seconds() -> None:
    room = Trickle()
    written = room.told(35, comments=[OLD])
    assert [second for second, _ in written] == [10, 21, 32]
    assert [found for _, found in written] == [[("s1 0", 2, 12)], [("s1 0", 3, 23)], [("s1 0", 4, 34)]]
    assert room.told(20) == [(8, [("s1 0", 5, 36)])], "and the last of them is not forgotten"
    assert CORRECT_EVERY_MS == 10 * SECOND


def test_what_was_never_written_does_not_wait() -> None:
    room = Trickle()
    assert room.second(OLD + MINUTE) == [("s1 1", 1, 1)]
    assert room.second(OLD + MINUTE) == []


def test_nothing_waits_once_nothing_is_left_out() -> None:
    room = Trickle()
    assert room.second(OLD, OLD) == []
    room.shard.exclude(Kind.COMMENTS)
    assert room.second() == [("s1 0", 2, 3)]
    assert room.second(OLD) == []
    assert room.second(T0) == [("s1 0", 3, 4)], "the topic has caught up"
    assert room.shard.left_out == set()


def test_a_restart_forgets_no_correction_that_waited() -> None:
    room = Trickle()
    room.second(OLD, OLD + 4 * MINUTE)
    room.second(OLD)
    room.crash()
    room.shard.keep_up(KINDS)
    assert room.second() == [("s1 0", 2, 3)]
    assert room.told(20) == []


def test_a_restart_forgets_no_correction_of_a_window_that_was_closed_while_one_waited() -> None:
    room = Trickle()

    def second(*views: int) -> tuple[int, int] | None:
        """Revision and views of the window of T0's minute, if it is written within a second."""
        for time in views:
            room.see(Kind.VIEWS, time)
        room.second()
        window = room.windows.get(f"s1/1m/{T0 // MINUTE * MINUTE}")
        return None if window is None else (window["revision"], window["counts"]["views"])

    room.second(OLD)
    assert room.shard.left_out == {Kind.COMMENTS}
    room.shard.quiet(T0 + HOUR)
    assert second() == (1, 1)
    assert second(T0) is None, "silence has closed it: this waits"
    room.see(Kind.CHECKOUTS, T0 + 3 * MINUTE, checkout_id="later")
    assert second(T0 + 3 * MINUTE) == (2, 2), "its turn to be closed has come"
    assert second(T0) is None
    room.crash()
    room.shard.keep_up(KINDS)
    assert second() == (3, 3)


def test_no_pane_goes_before_its_correction() -> None:
    room = Trickle()
    minute = OLD + 20 * MINUTE
    assert ("s1 20", 1, 1) in room.second(minute)
    room.second(minute)
    for kind in (Kind.VIEWS, Kind.CHECKOUTS):
        room.see(kind, T0 + 2 * HOUR, checkout_id="later")
    written = dict(room.told(5))
    assert room.shard.drop_line == room.shard.windows.first_waiting() - 1
    written |= {second + 5: found for second, found in room.told(10)}
    assert written.keys() == {0, 9}, "the windows that are closed, and then what waited"
    assert written[9] == [("s1 20", 2, 2)]
    room.settle()
    assert not room.shard.rows[minute].holds(b"s1")


def test_the_end_of_a_bounded_input_writes_all_that_waits() -> None:
    room = Trickle()
    room.second(OLD)
    room.shard.finish()
    assert ("s1 0", 2, 2) in room.second()


SPECS = (
    WindowSpec("1m", MINUTE, MINUTE),
    WindowSpec("7m", 7 * MINUTE, 3 * MINUTE),
    WindowSpec("2m", 2 * MINUTE, MINUTE),
)
moments = st.lists(st.tuples(st.sampled_from((0, HOUR, 400 * DAY)), st.integers(-20 * MINUTE, 20 * MINUTE)), max_size=8)


@given(moments, st.integers(0, 3))
def test_open_windows_are_those_that_hold_an_event_however_far_apart(found: list[tuple[int, int]], closed: int) -> None:
    room = Room(Policy(windows=SPECS))
    times = sorted(T0 + far + near for far, near in found)
    for number, time in enumerate(times):  # each on its own: none is late, and none pane_gone
        room.see(KINDS[number % 3], time, session_id=f"s{time % 2}", checkout_id=f"k{number}", seen=times[-1])
    horizon = times[min(closed, len(times) - 1)] if times and closed else -(2**62)
    room.shard.windows.horizon = [horizon] * len(SPECS)
    held = [(start, key) for start, row in room.shard.rows.items() for key in row.panes]
    expected = {
        spec.name: len(
            {
                (end, key)
                for (start, key), number in product(held, range(spec.size_ms // spec.slide_ms + 1))
                if (end := spec.first_end(start) + number * spec.slide_ms) <= spec.last_end(start) and end > horizon
            }
        )
        for spec in SPECS
    }
    assert room.shard.view(1).windows_open == expected


def test_the_metrics_hear_of_sources_once_for_each_window_of_the_first_kind() -> None:
    """A correction counts no second time, and windows of other kinds count nothing."""
    room = Room()
    for second, source in enumerate(("ads", "search", "ads", None, "moon")):
        room.see(Kind.VIEWS, T0 + second * SECOND, source=source)
    room.see(Kind.CHECKOUTS, T0 + SECOND, source="ads")
    room.see(Kind.VIEWS, T0 + 5 * MINUTE)
    room.only(Kind.VIEWS)
    room.settle()
    room.see(Kind.VIEWS, T0 + 10 * SECOND, source="search")
    room.settle()
    room.see(Kind.VIEWS, T0 + 10 * MINUTE)
    room.settle()
    views: Counter[str] = Counter()
    orders: Counter[str] = Counter()
    for each in room.outputs:
        views.update(each.tally.source_views)
        orders.update(each.tally.source_orders)
    assert views == {"ads": 2, "search": 1, "unknown": 2, "other": 1}, "the last view is in no closed window yet"
    assert +orders == {"ads": 1}
    first = room.windows[f"s1/1m/{T0 // MINUTE * MINUTE}"]
    assert (first["reason"], first["counts"]["views"]) == ("correction", 6)


def test_nothing_is_corrected_that_has_not_changed() -> None:
    """What closes in time while another topic is left out is written once."""
    room = Trickle()
    revisions: list[int] = []
    for minute in range(1, 8):
        room.see(Kind.VIEWS, T0 + minute * MINUTE - SECOND)  # closed in the checkpoint in which it comes
        for kind in (Kind.VIEWS, Kind.CHECKOUTS):
            room.see(kind, T0 + minute * MINUTE + 15 * SECOND, checkout_id=f"k{minute}")
        for _ in range(12):
            room.second(OLD)
            revisions += [value["revision"] for value in room.windows.values() if value["start"] >= T0]
    assert set(revisions) == {1}


def test_open_windows_are_counted_wherever_closing_stands() -> None:
    """Also when a session's window of one kind is written and that of the next is not yet."""
    policy = Policy(windows=tuple(WindowSpec(f"{n}m", n * MINUTE, MINUTE) for n in (1, 2, 5)))
    for steps in range(100):
        room = Room(policy)
        room.only(Kind.VIEWS)
        for minute in range(6):
            room.see(Kind.VIEWS, T0 + minute * MINUTE, session_id=f"s{minute}")
        room.shard.finish()
        room.shard.work(steps)
        number = room.shard.view(1).windows_open
        written = Counter(json.loads(value)["window"] for _, value in room.shard.windows.written)
        assert number == {"1m": 6 - written["1m"], "2m": 12 - written["2m"], "5m": 30 - written["5m"]}
    assert number == {"1m": 0, "2m": 0, "5m": 0}


def test_a_window_at_the_end_of_its_retention_is_closed_whatever_the_clocks() -> None:
    """One millisecond before it is not: two topics have no clock yet."""
    room = Room()
    due = T0 + room.policy.longest_ms + room.policy.state_retention_ms
    room.see(Kind.VIEWS, T0)
    room.see(Kind.VIEWS, due - 1, session_id="s2")
    room.settle()
    assert {key for key in room.windows if key.endswith(f"/{T0}")} == set()
    room.see(Kind.VIEWS, due, session_id="s2")
    room.settle()
    assert {key for key in room.windows if key.endswith(f"/{T0}")} == {f"s1/1m/{T0}", f"s1/5m/{T0}"}
    assert room.shard.watermark is None


def test_after_silence_has_closed_a_window_the_next_silence_closes_it_for_those_who_came_since() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0)
    for session in ("s1", "s2"):
        room.shard.quiet(T0 + 2 * MINUTE)
        room.settle()
        assert room.windows[f"{session}/1m/{T0}"]["reason"] == "idle"
        room.see(Kind.VIEWS, T0 + SECOND, session_id="s2")


def test_a_restored_shard_holds_as_many_windows_and_corrections_as_before() -> None:
    room = Trickle()
    room.second(OLD)
    windows = room.shard.windows
    room.crash()
    restored = room.shard.windows
    assert (restored.marks, restored.marked_through) == (windows.marks, windows.marked_through)
    assert restored.first_waiting() == windows.first_waiting() <= OLD
    room.shard.keep_up(KINDS)
    found = room.second(OLD + MINUTE)  # so that the topic is left out again
    assert sorted(found) == [("s1 0", 2, 2), ("s1 1", 1, 1)], "what waited when it was stored is due at once"


def test_what_is_told_of_windows_is_of_those_that_were_written() -> None:
    """By kind and reason; shares and the newest end of first revisions alone, shares of the first kind of window."""
    room = Room()
    assert room.shard.waiting_bytes == 0
    room.only(Kind.VIEWS)
    room.only(Kind.CHECKOUTS)
    for second in range(4):
        room.see(Kind.VIEWS, T0 + second, source="ads")
    room.see(Kind.CHECKOUTS, T0, source="ads")
    room.see(Kind.VIEWS, T0, session_id="s3", source="ads")
    room.see(Kind.CHECKOUTS, T0, session_id="s3", source="ads", checkout_id="k3")
    room.see(Kind.VIEWS, T0 + 70 * SECOND, session_id="s2", action="heartbeat")
    room.see(Kind.CHECKOUTS, T0 + 70 * SECOND, session_id="s2", status="initiated", checkout_id="k2")
    while room.shard.work(100):
        pass
    windows = room.shard.windows
    assert windows.written_bytes == sum(len(key) + len(value) for key, value in windows.written) > 0
    room.settle()
    [first, *_] = room.outputs
    assert first.tally.windows == {("1m", "closed"): 2, ("5m", "closed"): 2}
    assert sorted(first.tally.conversions) == [0.25, 1.0]
    assert (first.tally.source_views, first.tally.source_orders) == ({"ads": 5}, {"ads": 2})
    assert first.newest_end == T0 + MINUTE
    room.outputs.clear()
    for second in range(4):
        room.see(Kind.VIEWS, T0 + second, event_id=f"late{second}")
    room.settle()
    [again, *_] = room.outputs
    assert again.tally.windows == {("1m", "correction"): 1, ("5m", "correction"): 1}
    assert (again.tally.conversions, again.newest_end) == ([], None)


def test_a_window_that_was_corrected_is_a_correction_also_when_its_turn_to_be_closed_comes_after() -> None:
    """Silence has written the first revision; the clocks close it again with what came since."""
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.shard.quiet(T0 + 2 * MINUTE)
    room.settle()
    room.see(Kind.VIEWS, T0 + SECOND)
    room.see(Kind.VIEWS, T0 + 2 * MINUTE, session_id="s2")
    room.only(Kind.VIEWS)
    while room.shard.work(100):
        pass
    room.settle()
    window = room.windows[f"s1/1m/{T0}"]
    assert (window["revision"], window["reason"], window["counts"]["views"]) == (2, "correction", 2)


def test_a_correction_that_was_written_meanwhile_waits_no_longer() -> None:
    """Else what comes next would be forgotten: its mark does not say any more that it waits."""
    room = Trickle()
    assert room.second(OLD) == []
    room.shard.windows.write(0, OLD, b"s1", Closed.CORRECTION)
    assert (0, OLD, b"s1") not in room.shard.windows._waiting


def test_a_window_that_silence_has_closed_is_corrected_like_others() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.shard.quiet(T0 + 2 * MINUTE)
    room.settle()
    room.see(Kind.VIEWS, T0 + SECOND)
    room.settle()
    window = room.windows[f"s1/1m/{T0}"]
    assert (window["revision"], window["reason"], window["counts"]["views"]) == (2, "correction", 2)


def test_written_windows_of_every_kind_are_restored() -> None:
    room = Room(Policy(windows=tuple(WindowSpec(f"{n}m", n * MINUTE, MINUTE) for n in (1, 2, 5))))
    room.only(Kind.VIEWS)
    room.see(Kind.VIEWS, T0)
    room.see(Kind.VIEWS, T0 + 10 * MINUTE, session_id="s2")
    room.settle()
    marks = room.shard.windows.marks
    room.crash()
    assert room.shard.windows.marks == marks == len([key for key in room.windows if key.startswith("s1/")])


def test_silence_has_closed_a_window_for_those_who_were_in_it_and_for_nobody_else() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.shard.quiet(T0 + 2 * MINUTE)
    room.settle()
    room.see(Kind.VIEWS, T0 + SECOND, session_id="s2")
    room.settle()
    assert f"s2/1m/{T0}" not in room.windows
    room.shard.quiet(T0 + 3 * MINUTE)
    room.settle()
    window = room.windows[f"s2/1m/{T0}"]
    assert (window["revision"], window["reason"]) == (1, "idle")


def test_a_window_that_is_closed_to_the_millisecond_and_was_empty_is_written_at_the_next_checkpoint() -> None:
    room = Room()
    room.only(Kind.VIEWS)
    room.see(Kind.VIEWS, T0 + MINUTE + room.policy.delay_ms)
    room.settle()
    assert room.shard.windows.closed_through() == T0 + MINUTE
    room.see(Kind.VIEWS, T0, session_id="s2")
    room.settle()
    window = room.windows[f"s2/1m/{T0}"]
    assert (window["revision"], window["reason"]) == (1, "correction")
    assert room.shard.windows._unsettled == [], "what is settled is not looked at again"


def test_who_comes_to_a_window_while_it_is_closed_to_the_millisecond_is_not_forgotten() -> None:
    room = Room()
    room.only(Kind.VIEWS)
    room.see(Kind.VIEWS, T0)
    room.see(Kind.VIEWS, T0 + MINUTE + room.policy.delay_ms, session_id="s3")
    assert room.shard.work(1)
    room.see(Kind.VIEWS, T0, session_id="s2")
    outputs = room.shard.collect()
    assert outputs is not None
    room._take(outputs)
    room.settle()
    assert {session for session in ("s1", "s2") if f"{session}/1m/{T0}" in room.windows} == {"s1", "s2"}


def test_of_a_pane_that_a_gap_has_marked_only_the_windows_that_are_not_final_are_corrected() -> None:
    room = Room()
    for minute in range(21):
        if minute == 11:
            room.see(Kind.VIEWS, T0 + minute * MINUTE, session_id="once")
        for kind in KINDS:
            room.see(kind, T0 + minute * MINUTE + room.policy.delay_ms, checkout_id=f"k{minute}")
        room.settle()
    assert room.shard.drop_line == T0 + 10 * MINUTE
    room.shard.gap(Kind.VIEWS, 1)
    room.settle()
    revisions = [room.windows[f"once/5m/{T0 + minute * MINUTE}"]["revision"] for minute in range(7, 12)]
    assert revisions == [1, 1, 1, 1, 2]


def test_a_window_that_silence_has_closed_says_that_offsets_are_lost() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.shard.quiet(T0 + 2 * MINUTE)
    room.settle()
    room.shard.gap(Kind.VIEWS, 1)
    room.settle()
    window = room.windows[f"s1/1m/{T0}"]
    assert (window["revision"], window["incomplete"]) == (2, True)


def test_no_pane_is_dropped_before_its_windows_are_closed_wherever_a_checkpoint_comes() -> None:
    """All clocks go far ahead while older windows are still being closed."""
    expected = {start: len(set(range(start, start + 5)) & set(range(7))) for start in range(-4, 7)}
    for steps in count():
        room = Room()
        for minute in range(7):
            room.see(Kind.VIEWS, T0 + minute * MINUTE)
        for kind in (Kind.COMMENTS, Kind.CHECKOUTS):
            room.see(kind, T0 + 2 * MINUTE + room.policy.delay_ms, session_id="clock")
        more = room.shard.work(steps)
        for kind in KINDS:
            room.see(kind, T0 + 3 * HOUR, session_id="clock", checkout_id="k2")
        outputs = room.shard.collect()
        assert outputs is not None
        room._take(outputs)
        room.settle()
        windows = [value for value in room.windows.values() if (value["session_id"], value["window"]) == ("s1", "5m")]
        assert {(each["start"] - T0) // MINUTE: each["counts"]["views"] for each in windows} == expected, steps
        if not more:
            break
    assert steps > 5


def test_corrections_that_have_waited_are_spread_over_checkpoints_and_none_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.core.windows.WAITING_BYTES", 1)
    room = Trickle()
    comments = [OLD + minute * MINUTE for minute in range(4)]
    room.second(*comments)
    for _ in range(20):
        room.second()
    assert room.second(*comments) == []
    written = []
    for _ in range(30):
        room.second()
        written.append(len(room.windows))
    assert (max(written), sum(written)) == (1, 4 + 8), "of a minute four, of five minutes eight"
