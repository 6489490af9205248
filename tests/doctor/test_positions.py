"""Positions: what the worker would refuse at its start, and what lag tools see wrongly."""

import pytest

from stream.config import Settings
from stream.doctor.finding import Finding, Severity
from stream.doctor.positions import Bounds, Shard, StateSummary, Unusable, judge_ids, judge_outgrown, judge_positions
from stream.model.names import DEAD_LETTERS, INPUTS, KINDS, SESSIONS, STATE, Kind
from tests.doctor.tools import one

OWNER = {"group": "g", "topics": "v,c,k"}


def judged(shard: Shard) -> list[Finding]:
    return judge_positions([shard], OWNER, "state")


def shard(position: int = 50, before: int = 50, after: int = 50, begin: int = 10, end: int = 90) -> Shard:
    """The others are where the group says."""
    inputs = {kind: Bounds(f"live.{kind}", 0, 9, 9, 9) for kind in KINDS}
    inputs[Kind.VIEWS] = Bounds("live.views", begin, end, before, after)
    positions = {**dict.fromkeys(KINDS, 9), Kind.VIEWS: position}
    return Shard(2, inputs, StateSummary(OWNER, {}, 0, positions))


def stateless(committed: int = -1, state: Unusable | None = None, *, traces: bool = False) -> Shard:
    return Shard(2, {Kind.VIEWS: Bounds("live.views", 0, 9, committed, committed)}, state, traces)


def test_a_worker_that_moves_on_meanwhile_is_no_difference() -> None:
    assert "partition 2" in one(judged(shard(position=50, before=40, after=60)), Severity.OK).what
    one(judged(shard(position=50, before=50, after=50)), Severity.OK)


@pytest.mark.parametrize(
    ("made", "severity", "says"),
    [
        (shard(before=40, after=40), Severity.WARNING, "offset 40 is behind the state's 50"),
        (shard(before=60, after=60), Severity.ERROR, "position 50 is behind the group's offset 60"),
        (shard(before=-1, after=-1), Severity.WARNING, "the group has no offset"),
        (shard(position=95), Severity.ERROR, "ends at 90, but the state has read up to 95"),
        (shard(position=4, before=4, after=4), Severity.ERROR, "up to 6 records were deleted unread"),
    ],
)
def test_a_difference_is_told_for_its_topic(made: Shard, severity: Severity, says: str) -> None:
    found = one(judged(made), severity, "live.views/2")
    assert says in found.what


def test_where_nothing_was_read_the_group_needs_no_offset() -> None:
    one(judged(shard(position=10, before=-1, after=-1)), Severity.OK)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (stateless(5), "no state, but the group has offsets:"),
        (stateless(5, traces=True), "the group has offsets and there are results"),
        (
            stateless(state=Unusable("cannot be read: state of version 9")),
            "the state cannot be read: state of version 9",
        ),
    ],
)
def test_what_the_worker_refuses_is_an_error(made: Shard, says: str) -> None:
    found = one(judged(made), Severity.ERROR, "state/2")
    assert says in found.what
    assert "--rebuild" in found.todo


def test_anothers_state_is_an_error() -> None:
    found = judge_positions([shard()], {**OWNER, "group": "mine"}, "state")
    assert "its group is g, not mine" in one(found, Severity.ERROR, "state/2").what


def test_nothing_yet_is_told() -> None:
    assert "partition 2: no state yet" in one(judged(stateless()), Severity.INFO).what


def test_a_state_of_another_number_of_partitions_or_moved_elsewhere_is_an_error() -> None:
    settings, inputs = Settings(brokers="k:9092"), {kind: Bounds(f"live.{kind}", 0, 9) for kind in KINDS}

    def found(*, has: int, counted: int | None, moved_to: str | None = None) -> list[Finding]:
        state = StateSummary(OWNER, {}, 0, {}, counted, moved_to)
        return judge_outgrown([Shard(0, inputs, state), Shard(1, inputs)], {"live.views": has}, settings)

    assert found(has=2, counted=2) == found(has=2, counted=None) == []
    grown = one(found(has=3, counted=2), Severity.ERROR)
    assert "live.views has 3, and 2 are counted" in grown.what
    assert "liveshop topics grow" in grown.todo
    assert "--topic-prefix p3." in one(found(has=2, counted=2, moved_to="p3."), Severity.ERROR).todo


KNOWN = dict.fromkeys((INPUTS[Kind.VIEWS], SESSIONS, STATE, DEAD_LETTERS), "a")


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        (INPUTS[Kind.VIEWS], "liveshop state adopt --brokers k:9092 --positions beginning --execute"),
        (SESSIONS, "liveshop state adopt --brokers k:9092 --positions keep --execute"),
        (STATE, "state adopt --brokers k:9092 --positions keep --execute`; else start the worker once with --rebuild"),
    ],
)
def test_a_topic_made_anew_is_an_error_with_its_way_out(name: str, todo: str) -> None:
    shards = [Shard(number, {}, StateSummary(OWNER, {}, 0, {}, topic_ids=KNOWN)) for number in range(3)]
    shards += [
        Shard(3, {}, StateSummary(OWNER, {}, 0, {}, topic_ids={**KNOWN, name: "b"})),
        Shard(4, {}, StateSummary(OWNER, {}, 0, {})),
    ]
    settings = Settings(brokers="k:9092")
    assert judge_ids(shards[:3], KNOWN, settings) == []
    assert judge_ids(shards, {}, settings) == [], "missing is told elsewhere"
    found = one(judge_ids(shards, {**KNOWN, name: "b"}, settings), Severity.ERROR, name)
    assert "its id is b, and the state of partition 0-2 knows another one" in found.what
    assert todo in found.todo


def test_dead_letters_made_anew_are_a_warning() -> None:
    state = StateSummary(OWNER, {}, 0, {}, topic_ids=KNOWN)
    one(judge_ids([Shard(0, {}, state)], {**KNOWN, DEAD_LETTERS: "b"}, Settings()), Severity.WARNING, DEAD_LETTERS)
