"""What becomes of a record, and what is said of one that is refused."""

import json

import pytest

from stream.core.headers import MOST_BYTES
from stream.core.judge import LETTER
from stream.core.policy import HOUR, MINUTE, Policy
from stream.model.names import KINDS, Kind, Outcome, Reason
from stream.model.results import RefusedBatch
from tests.core.test_shard import BASES, T0, Room
from tests.core.worlds import Driver, World
from tests.recount import LogRecord


def refused(room: Room, kind: Kind, reason: Reason) -> str:
    """What is said of the only record that was refused since the last checkpoint."""
    room.settle()
    outputs = room.outputs[-1]
    [letter] = outputs.dead_letters
    assert (letter.kind, letter.reason) == (kind, reason)
    assert outputs.tally.refused == {(kind, reason): 1}
    assert outputs.tally.outcomes[kind, Outcome.LATE if reason is Reason.LATE else Outcome.REJECTED] == 1
    return letter.detail


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_from_the_future_says_by_how_much(kind: Kind) -> None:
    room = Room()
    room.see(kind, T0 + 10 * MINUTE + 7, seen=T0)
    assert refused(room, kind, Reason.FUTURE) == "event_time: 600007 ms ahead of the broker"


def test_a_late_checkout_is_a_dead_letter_once_its_repeats_are_no_longer_known() -> None:
    room = Room()
    room.see(Kind.CHECKOUTS, T0)
    room.see(Kind.CHECKOUTS, T0 - room.policy.late_totals_ms)
    assert refused(room, Kind.CHECKOUTS, Reason.LATE) == "event_time: 86400000 ms behind its topic's clock"


def test_a_late_checkout_is_a_dead_letter_where_its_repeats_had_to_be_forgotten() -> None:
    """Else each copy of a webhook would be an order: nobody remembers the one before."""
    room = Room(Policy(max_checkout_keys=3))
    for number in range(8):
        room.see(Kind.CHECKOUTS, T0 + number * MINUTE, checkout_id=f"k{number}")
    room.only(Kind.CHECKOUTS)
    room.settle()
    for number in range(3):
        room.see(Kind.CHECKOUTS, T0, seen=T0 + 20 * MINUTE, checkout_id="k0", event_id=f"copy{number}")
    room.settle()
    outcomes = [each.tally.outcomes[Kind.CHECKOUTS, Outcome.TOTAL_ONLY] for each in room.outputs]
    letters = [letter.reason for outputs in room.outputs for letter in outputs.dead_letters]
    assert (sum(outcomes), letters) == (0, [Reason.LATE] * 3)


@pytest.mark.parametrize("kind", [Kind.VIEWS, Kind.COMMENTS])
def test_a_late_event_says_how_far_behind_its_topic_it_is(kind: Kind) -> None:
    room = Room()
    room.see(kind, T0)
    room.see(kind, T0 - 10 * MINUTE)
    assert refused(room, kind, Reason.LATE) == "event_time: 600000 ms behind its topic's clock"


def test_one_whose_pane_is_gone_says_how_far_behind_the_shard_it_is() -> None:
    room = Room()
    behind = room.policy.state_retention_ms + 2 * MINUTE
    room.see(Kind.VIEWS, T0 + behind)
    room.see(Kind.COMMENTS, T0)
    assert refused(room, Kind.COMMENTS, Reason.PANE_GONE) == f"event_time: {behind} ms behind the shard"


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_a_session_for_which_there_is_no_room_says_which_bound_it_was(kind: Kind) -> None:
    room = Room(Policy(max_sessions=1))
    for session in ("s1", "s2"):
        room.see(kind, T0, session_id=session, checkout_id=session)
    said = "session_id: not known, and its topic knows max_sessions (1)"
    assert refused(room, kind, Reason.TOO_MANY_SESSIONS) == said


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_finds_no_room_in_its_pane_says_which_bound_it_was(kind: Kind) -> None:
    room = Room(Policy(max_pane_events=1))
    for checkout in ("k1", "k2"):
        room.see(kind, T0, checkout_id=checkout)
    said = "event_time: max_pane_events (1) of its topic are in its pane already"
    assert refused(room, kind, Reason.TOO_MANY_EVENTS) == said


@pytest.mark.parametrize("more", [0, MINUTE - 1])
def test_a_pane_is_gone_once_its_end_is_the_retention_behind(more: int) -> None:
    """A topic without a clock decides by the newest clock of the shard, in whole panes."""
    room = Room()
    room.see(Kind.VIEWS, T0 + room.policy.state_retention_ms + more)
    room.see(Kind.COMMENTS, T0 - 1)
    refused(room, Kind.COMMENTS, Reason.PANE_GONE)
    room.see(Kind.COMMENTS, T0, session_id="s2")
    room.settle()
    assert room.outputs[-1].dead_letters == []
    assert room.shard.rows.get(T0) is not None


def test_the_clock_never_goes_back_for_an_old_event_that_the_broker_got_late() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.see(Kind.VIEWS, T0 - 1000, seen=T0 + 1000)
    assert room.shard.judge.clocks[Kind.VIEWS] == T0


def test_what_changed_is_named_once_however_much_is_counted_into_it() -> None:
    room = Room()
    for kind in (*KINDS, *KINDS):
        room.see(kind, T0, checkout_id=f"k{kind}{room.shard.positions.get(kind)}")
    [pane] = room.shard.judge.changed
    assert pane.events == 2 * len(KINDS)


@pytest.mark.parametrize("first", KINDS)
def test_each_topic_knows_the_sessions_that_it_has_counted_also_in_a_pane_of_another(first: Kind) -> None:
    room = Room()
    for kind in (first, *(kind for kind in KINDS if kind is not first)):
        room.see(kind, T0)
        room.see(kind, T0 + 1, checkout_id="k2")
    assert {kind: known.number(T0) for kind, known in room.shard.judge.known.items()} == dict.fromkeys(KINDS, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tombstone_and_a_duplicate_end_no_batch(kind: Kind) -> None:
    shard = Driver(World()).shard
    value = json.dumps(BASES[kind] | {"event_time": T0}).encode()
    other = json.dumps(BASES[kind] | {"event_time": T0, "event_id": "other", "checkout_id": "other"}).encode()
    values = (None, value, b"{", value, other)
    shard.read(kind, [LogRecord(str(kind), 0, offset, T0, b"s1", each) for offset, each in enumerate(values)])
    assert +shard.judge.tally.outcomes == {
        (kind, Outcome.TOMBSTONE): 1,
        (kind, Outcome.COUNTED): 2,
        (kind, Outcome.REJECTED): 1,
        (kind, Outcome.DUPLICATE): 1,
    }


def test_an_old_event_is_a_duplicate_while_its_ids_are_held() -> None:
    """Steps 4 to 6 of the design: of an event that is late as well only its age is said."""
    room = Room()
    room.see(Kind.COMMENTS, T0, event_id="twice")
    room.see(Kind.VIEWS, T0 + HOUR)
    room.see(Kind.COMMENTS, T0 + room.policy.bound_ms, session_id="s2")
    room.see(Kind.COMMENTS, T0, event_id="twice")
    room.see(Kind.COMMENTS, T0, event_id="once")
    room.settle()
    comments = {
        outcome: number for (kind, outcome), number in room.outputs[-1].tally.outcomes.items() if kind == "comments"
    }
    assert comments == {Outcome.COUNTED: 2, Outcome.DUPLICATE: 1, Outcome.LATE: 1}


def test_refusals_of_one_checkpoint_are_added_up() -> None:
    room = Room()
    room.see(Kind.VIEWS, T0 + HOUR)
    held = [room.shard.judge.dead_bytes]
    for number in (1, 2):
        room.see(Kind.VIEWS, T0, event_id="late")
        batch = RefusedBatch(10 * number, 10 * number + 4, 5, T0, Reason.UNREADABLE, "", b"raw", 3, "0" * 16)
        room.shard.read(Kind.VIEWS, [batch])
        held.append(room.shard.judge.dead_bytes)
    assert held[2] - held[1] == held[1] - held[0] > 0
    room.settle()
    tally = room.outputs[-1].tally
    assert tally.refused == {(Kind.VIEWS, Reason.LATE): 2, (Kind.VIEWS, Reason.UNREADABLE): 2}
    assert tally.batched == {(Kind.VIEWS, Reason.UNREADABLE): 8}


@pytest.mark.parametrize(
    ("size", "more"), [(10, 10), (2 * MOST_BYTES, 2 * MOST_BYTES), (5 * MOST_BYTES, 2 * MOST_BYTES)]
)
def test_a_dead_letter_weighs_what_is_kept_of_its_headers(size: int, more: int) -> None:
    weights = []
    for headers in ((), (("h", b"x" * (size - 1)),)):
        shard = Driver(World()).shard
        shard.read(Kind.VIEWS, [LogRecord("views", 0, 0, T0, b"key", b"{", headers)])
        weights.append(shard.judge.dead_bytes)
    assert weights == [LETTER + len(b"key") + len(b"{"), weights[0] + more]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_for_which_there_is_no_room_ends_no_batch(kind: Kind) -> None:
    shard = Driver(World(), Policy(max_sessions=1, max_pane_events=2)).shard
    records = []
    for offset, session in enumerate(("s1", "s2", "s1", "s1", "s2")):
        more = {"event_id": f"e{offset}", "checkout_id": f"k{offset}", "session_id": session, "event_time": T0}
        records.append(LogRecord(str(kind), 0, offset, T0, session.encode(), json.dumps(BASES[kind] | more).encode()))
    shard.read(kind, records)
    assert +shard.judge.tally.outcomes == {(kind, Outcome.COUNTED): 2, (kind, Outcome.REJECTED): 3}
    reasons = [Reason.TOO_MANY_SESSIONS, Reason.TOO_MANY_EVENTS, Reason.TOO_MANY_SESSIONS]
    assert [letter.reason for letter in shard.judge.dead] == reasons
