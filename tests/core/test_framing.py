"""Parts of checkpoints: what is not as it was written is found, named, and never a crash."""

import struct
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import framing
from stream.core.alerts.rules import Rules
from stream.core.formats import NEWEST
from stream.core.framing import StateError, check, checksum, first_needed, first_part, head_of_part, is_part
from stream.core.packing import unpack
from stream.core.shard import Shard
from stream.model.alerts import Rule, Severity
from stream.model.names import Kind
from tests.core.worlds import POLICY, Driver, Happening, World
from tests.examples import examples

Records = list[tuple[int, bytes, bytes]]
"""Offset, value and checksum of each record."""
RULES: Final = Rules(
    [
        Rule(
            alert="busy",
            window_ms=20_000,
            when="w.comments > 0",
            severity=Severity.INFO,
            summary="{comments}",
            runbook="busy",
        )
    ],
    POLICY.pane_ms,
)
SPAN: Final = struct.Struct(">BIQIIq")

COMMENTS: Final = tuple(Happening("comment", after=4000, session=number % 3, ref=number) for number in range(40))
WORLDS: Final = {
    # it makes no sketch: what is in those only their own library can tell, which believes everything
    False: World(
        views=tuple(Happening("like", after=4000, session=number % 3, ref=number) for number in range(40)),
        comments=COMMENTS,
        checkouts=tuple(Happening("initiated", after=4000, session=number % 3, ref=number) for number in range(40)),
    ),
    True: World(
        views=tuple(Happening("enter", after=4000, session=number % 3, ref=number) for number in range(40)),
        comments=COMMENTS,
        checkouts=tuple(Happening("paid", after=4000, ago=number % 4 * 4000, ref=number) for number in range(40)),
    ),
}


def written(world: World) -> Records:
    """A state of several checkpoints of several parts each: panes, bases, marks, ids, and what alerts know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "PART_BYTES", 2000)
        driver = Driver(world, rules=RULES)
        for _ in range(4):
            for kind in Kind:
                driver.step(str(kind), 10)
            driver.step("settle", 0)
    return [(offset, value, checksum(value)) for offset, value in driver.state]


STATES: Final = {with_sketches: written(world) for with_sketches, world in WORLDS.items()}


def restored(records: Sequence[tuple[int, bytes, bytes]], *, vouched: bool) -> Shard:
    """As the edge does it."""
    for offset, value, stored in records if vouched else ():
        check(value, offset, stored)
    offset, value, _ = records[-1]
    start = first_needed(value, offset)
    needed = [(offset, value) for offset, value, _ in records if offset >= start]
    if not needed or needed[0][0] != start:
        raise StateError(f"it begins at offset {start}, and that record is missing")
    return Shard.restore(POLICY, needed, rules=RULES, vouched=vouched)


def contents(shard: Shard) -> object:
    """All of it, also what is held as bytes."""
    panes = {
        (start, key): (pane.events, pane.gmv, pane.last_event)
        for start, row in shard.rows.items()
        for key in row.packed
        if (pane := row.counts(key)) is not None
    }
    totals = {session.key: shard.rows.of(session).events for session in shard.sessions.each()}
    watched = {key: each.history.columns(0) for key, each in shard.alerting.session_states.items()}
    return panes, totals, watched, shard.positions, shard.clocks, shard.log.number


def test_the_states_hold_something_of_everything() -> None:
    for records in STATES.values():
        shard = restored(records, vouched=True)
        assert contents(shard) == contents(restored(records, vouched=False))
        assert len({head_of_part(value, offset).number for offset, value, _ in records}) >= 4
        assert max(head_of_part(value, offset).parts for offset, value, _ in records) >= 2
        assert any(row.packed for row in shard.rows.values())
        assert any(session.packed_base() for session in shard.sessions.each())
        assert shard.alerting.session_states


# -- garbling

DEEP: Final = b"\x91" * 100_000
HUGE: Final = tuple(tag + b"\xff\xff\xff\xff" for tag in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"))


def _framed(section: bytes) -> bytes:
    return struct.pack(">I", len(section)) + section


def garbled_value(value: bytes) -> st.SearchStrategy[bytes]:
    """Another value than it was."""
    places = st.integers(0, len(value) - 1)
    head, section = value[: SPAN.size], msgspec.msgpack.encode
    replaced = [
        b"", b"{", b"\xff" * 40, value[: SPAN.size], value + value, value + b"\0",
        head + _framed(DEEP), head + _framed(b"\x96" + b"\xc4\0" + b"\x90" * 4 + DEEP), head + b"\xff" * 4 + b"x" * 50,
        *(head + _framed(each) for each in HUGE), *(head + _framed(b"\x95\xc4\0\x90\x90" + each) for each in HUGE),
        *(head + _framed(section([b"", [], [], [[b"p" + bytes(8) + b"s0", bytes([0x92, 0x90, 0xC4, 1]) + bytes(1)]], []]))
          for _ in range(1)),
        SPAN.pack(2, 0, 1, 0, 1, -1) + value[SPAN.size :], SPAN.pack(2, 60, 1, 7, 3, -1) + value[SPAN.size :],
        SPAN.pack(2, 2**32 - 1, 2**64 - 1, 0, 2**32 - 1, 2**63 - 1), SPAN.pack(5, 60, 1, 0, 1, -1),
    ]  # fmt: skip
    return st.one_of(
        st.builds(
            lambda at, bit: value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :], places, st.integers(0, 7)
        ),
        st.builds(lambda at: value[:at], places),
        st.builds(lambda at, more: value[:at] + more + value[at:], places, st.binary(min_size=1, max_size=40)),
        st.builds(
            lambda at, more: value[:at] + more + value[at + len(more) :], places, st.binary(min_size=1, max_size=9)
        ),
        st.sampled_from(replaced),
    ).filter(lambda garbled: garbled != value)


@st.composite
def garbled(draw: st.DrawFn, *, with_sketches: bool) -> Records:
    """Values that are others, records that are swapped, missing, there twice, or copied from elsewhere in the log."""
    records = list(STATES[with_sketches])
    for _ in range(draw(st.integers(1, 3))):
        at, other = draw(st.integers(0, len(records) - 1)), draw(st.integers(0, len(records) - 1))
        offset, value, stored = records[at]
        match draw(st.sampled_from(("value", "value", "value", "swap", "twice", "missing"))):
            case "value":
                records[at] = offset, draw(garbled_value(value or b"x")), stored
            case "swap":
                records[at], records[other] = (offset, *records[other][1:]), (records[other][0], value, stored)
            case "twice":
                records.insert(other, records[at])
            case _ if len(records) > 1:
                del records[at]
    last = -1
    ascending = [last := max(last + 1, offset) for offset, _, _ in records]
    return [(offset, value, stored) for offset, (_, value, stored) in zip(ascending, records, strict=True)]


def at_any_time(records: Records) -> Iterator[object]:
    for until in range(1, len(records) + 1):
        head = head_of_part(records[until - 1][1], records[until - 1][0])
        if head.part == head.parts - 1:
            yield contents(restored(records[:until], vouched=True))


AT_ANY_TIME: Final = list(at_any_time(STATES[True]))


@settings(deadline=None, max_examples=examples(400))
@given(st.data())
def test_with_checksums_what_is_garbled_is_refused_or_was_not_needed(data: st.DataObject) -> None:
    """What is restored all the same is what was written, at some time: whole checkpoints were missing at the end."""
    broken = data.draw(garbled(with_sketches=True))
    try:
        found = contents(restored(broken, vouched=True))
    except StateError:
        return
    assert found in AT_ANY_TIME


@settings(deadline=None, max_examples=examples(100))
@given(st.integers(0, len(STATES[True]) - 1), st.data())
def test_with_checksums_no_change_of_a_value_is_missed_and_it_is_named(at: int, data: st.DataObject) -> None:
    offset, value, stored = STATES[True][at]
    with pytest.raises(StateError, match=f"the record at offset {offset}( |$).*damaged: its checksum is wrong"):
        check(data.draw(garbled_value(value)), offset, stored)


@settings(deadline=None, max_examples=examples(400))
@given(st.data())
def test_without_checksums_what_is_garbled_is_refused_or_can_be_unpacked(data: st.DataObject) -> None:
    """And it never takes more memory than a multiple of what was given."""
    broken = data.draw(garbled(with_sketches=False))
    tracemalloc.start()
    try:
        shard = restored(broken, vouched=False)
        for row in shard.rows.values():
            for packed in row.packed.values():
                unpack(packed)
        for session in shard.sessions.each():
            _ = session.base
        for watched in shard.alerting.session_states.values():
            watched.history.columns(0)
    except StateError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5_000_000 + 100 * sum(len(value) for _, value, _ in broken)


# -- one by one


def test_a_damaged_part_says_which_it_is_and_what_it_says_of_itself() -> None:
    offset, value, stored = next(each for each in STATES[True] if head_of_part(each[1], each[0]).part == 1)
    head = head_of_part(value, offset)
    part = f"checkpoint {head.number}, part 2 of {head.parts}"
    with pytest.raises(StateError) as caught:
        check(value[:-1], offset, stored)
    assert str(caught.value) == f"the record at offset {offset} ({part}) is damaged: its checksum is wrong"
    with pytest.raises(StateError, match=f"the record at offset {offset} is damaged: its checksum"):
        check(b"\xff" + value[1:], offset, stored)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda records: records[:1], r"checkpoint 1, part 2 of \d is missing at the end"),
        (lambda records: [records[1], records[0], *records[2:]], r"checkpoint 1, part 1 of \d is missing: at offset"),
        (lambda records: [*records[:1], *records], r"checkpoint 1, part 2 of \d is missing: at offset \d+ is checkpoint 1"),
        (lambda _: [(0, b"\x09", b"")], r"the record at offset 0 is a state of version 9; this program reads"),
        (lambda _: [(0, b"\x02\0", b"")], r"the record at offset 0 is cut short: it has 2 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change: Callable[[Records], Records], says: str) -> None:
    with pytest.raises(StateError, match=says):
        Shard.restore(POLICY, [(offset, value) for offset, value, _ in change(STATES[True])])


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ((2, 0, 1, 0, 1, -1), "damaged"),
        ((2, 60, 0, 0, 1, -1), "damaged"),
        ((2, 60, 1, 1, 1, -1), "damaged"),
        ((2, 60, 1, 0, 1, -2), "damaged"),
        ((2, 60, 1, 8, 9, -1), "does not lie where it was written"),
        ((2, 60, 1, 0, 1, 8), "does not lie where it was written"),
    ],
)
def test_a_head_that_makes_no_sense_is_refused(head: tuple[int, ...], says: str) -> None:
    with pytest.raises(StateError, match=f"offset 7 .*{says}"):
        first_needed(SPAN.pack(*head), 7)


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"0/0", True), (b"59/12", True), (None, False), (b"", False), (b"0", False), (b"0/0x", False), (b"-1/0", False),
     (b"\xd9\xa3/0", False), (b"1/2\n", False), (b"9" * 5000 + b"/0", False)],
)  # fmt: skip
def test_parts_are_known_by_their_keys(key: bytes | None, expected: bool) -> None:
    assert is_part(key) == expected


def test_what_is_needed_begins_with_the_first_part_or_where_it_says() -> None:
    """A checkpoint that says nothing of others needs only itself."""
    first, last = SPAN.pack(NEWEST.version, 3, 7, 0, 3, -1), SPAN.pack(NEWEST.version, 3, 7, 2, 3, -1)
    assert (first_needed(first, 40), first_needed(last, 42)) == (40, 40)
    assert first_needed(SPAN.pack(NEWEST.version, 3, 7, 2, 3, 11), 42) == 11
    found = first_part(first + b"rest", 40)
    assert (found.offset, found.number, found.span, found.version) == (40, 7, 3, NEWEST.version)
    with pytest.raises(StateError, match="is not the first part"):
        first_part(last, 42)
