"""No batch, however sparse its topic, moves the newest clock far beyond another topic that has records to read."""

import json
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stream.core.alignment import PIECE_BYTES, SLACK_MS, Alignment, ReadAhead, limit, out_of_reach, paused
from stream.core.decode import Events, Rejected, decode_batch
from stream.model.names import KINDS, Kind
from stream.model.results import Record
from tests.recount import LogRecord

V, C, K = KINDS
T0 = 1_700_000_000_000
HOUR = 3_600_000
MINUTE = 60_000
FUTURE = 60_000
NOBODY: dict[Kind, int | None] = dict.fromkeys(KINDS)


def record(kind: Kind, offset: int, time: int | None) -> LogRecord:
    """``None``: one that cannot be decoded."""
    event: dict[str, object] = {
        "event_id": f"e{offset}",
        "event_time": time,
        "session_id": "s",
        "seller_id": "x",
        "viewer_id": "v",
        "platform": "other",
        "action": "enter",
        "text": "",
        "checkout_id": "k",
        "status": "paid",
        "amount_minor": 1,
        "currency": "IDR",
        "items": [],
    }
    value = b"{" if time is None else json.dumps(event).encode()
    return LogRecord(kind, 0, offset, T0 + 100 * HOUR, b"s", value)


def put(ahead: ReadAhead[Kind], kind: Kind, *times: int | None) -> None:
    records = [record(kind, offset, time) for offset, time in enumerate(times)]
    ahead.wait(kind, records)


def decoded(kind: Kind, records: Sequence[Record]) -> tuple[Sequence[Record], Events]:
    return records, decode_batch(kind, records, 2**20)


def taken(ahead: ReadAhead[Kind], kind: Kind, until: int | None) -> list[int]:
    records, events = ahead.take(kind, until)
    assert len(records) == len(events)
    return [record.offset for record in records]


def test_an_event_of_the_future_at_the_head_lets_nobody_run_ahead() -> None:
    ahead = ReadAhead(FUTURE, decoded)
    put(ahead, V, T0 + 10_000 * HOUR, None, T0 + 1000, T0 + 2000)
    put(ahead, K, T0, T0 + HOUR)
    times = ahead.times({V: T0, K: T0})
    assert times[V] == T0 + 1000
    assert taken(ahead, K, limit(K, times, {V, K})) == [0]


def test_an_event_stamped_ahead_of_the_broker_stands_where_the_broker_was() -> None:
    """So far does it move its clock: what waits for it waits no longer, and it waits for nobody further behind."""
    ahead, now = ReadAhead(FUTURE, decoded), T0 + 100 * HOUR
    put(ahead, V, now + 59_000, now - 1000)
    assert ahead.times(NOBODY)[V] == now
    put(ahead, K, now + 30_000)
    assert taken(ahead, K, now - 1) == []
    assert taken(ahead, K, now) == [0]
    assert taken(ahead, V, now) == [0, 1]


def test_an_afternoon_of_checkouts_waits_for_the_views_of_its_minutes() -> None:
    ahead = ReadAhead(FUTURE, decoded)
    put(ahead, K, T0, T0 + 5_000, T0 + HOUR, T0 + 2 * HOUR)
    assert taken(ahead, K, limit(K, {V: T0, K: T0}, {V, K})) == [0, 1]
    assert K in ahead
    assert ahead.number(K) == 2
    assert ahead.times({V: T0, K: T0 + 5_000}) == {V: T0, K: T0 + HOUR}
    assert taken(ahead, K, limit(K, {V: T0 + HOUR}, {V, K})) == [2]


def test_a_topic_of_which_nobody_knows_how_far_it_is_comes_first() -> None:
    ahead = ReadAhead(FUTURE, decoded)
    put(ahead, K, T0, T0 + HOUR)
    times = ahead.times(NOBODY)
    assert taken(ahead, K, limit(K, times, {V, K})) == []
    put(ahead, V, T0 - HOUR)
    times = ahead.times(NOBODY)
    assert taken(ahead, K, limit(K, times, {V, K})) == []
    assert taken(ahead, V, limit(V, times, {V, K})) == [0]


def test_what_moves_no_clock_waits_for_nobody() -> None:
    ahead = ReadAhead(FUTURE, decoded)
    put(ahead, K, None, T0 + 200 * HOUR, None, T0 + HOUR, None)
    assert taken(ahead, K, T0) == [0, 1, 2]  # the second is stamped beyond the broker's clock, and refused
    assert taken(ahead, K, T0 + HOUR) == [3, 4]
    assert K not in ahead


def test_a_topic_alone_is_not_held_back() -> None:
    ahead = ReadAhead(FUTURE, decoded)
    put(ahead, V, T0, T0 + 50 * HOUR)
    assert limit(V, {V: T0, C: T0}, {V}) is None
    assert taken(ahead, V, None) == [0, 1]


def test_nobody_waits_for_what_will_be_refused_anyway() -> None:
    """Old records without end, more than the retention behind, must not keep the others from being read."""
    clocks: dict[Kind, int | None] = {V: T0, C: T0 - 90 * MINUTE, K: None}
    times = clocks | {C: T0 - 80 * MINUTE, K: T0 - 61 * MINUTE}
    assert out_of_reach(times, clocks, HOUR) == {C, K}
    assert paused(times, {V, C, K} - out_of_reach(times, clocks, HOUR)) == set()
    assert limit(V, times, {V, C} - out_of_reach(times, clocks, HOUR)) is None
    assert limit(C, times, {V}) == T0 + SLACK_MS
    times[K] = T0 - HOUR
    assert out_of_reach(times, clocks, HOUR) == {C}
    assert paused(times, {V, K}) == {V}


def test_a_topic_far_behind_what_is_only_waiting_is_within_reach() -> None:
    """A rebuild begins where retention has left each topic: nothing of the newer one is counted yet."""
    times: dict[Kind, int | None] = {V: T0, C: T0 - 150 * HOUR, K: None}
    assert out_of_reach(times, NOBODY, HOUR) == set()
    assert out_of_reach(times, NOBODY | {C: T0 - 150 * HOUR}, HOUR) == set()
    assert paused(times, {V, C}) == {V}


def test_what_is_given_back_is_forgotten_but_not_how_far_its_topic_is() -> None:
    ahead = ReadAhead(FUTURE, decoded)
    put(ahead, K, T0 + 1000, T0 + HOUR)
    put(ahead, V, None, None)
    assert taken(ahead, K, T0 + 1000) == [0]
    assert set(ahead.give_back()) == {K, V}
    assert not ahead.kinds()
    assert (ahead.nbytes, ahead.number(K)) == (0, 0)
    assert ahead.times({V: None, C: T0, K: T0 + 1000}) == {V: None, C: T0, K: T0 + HOUR}
    assert ahead.times({V: None, C: T0, K: None})[K] == T0 + HOUR, "also of one that has no clock yet"
    put(ahead, K, T0 + HOUR)
    assert taken(ahead, K, None) == [0]
    assert ahead.times({K: T0})[K] == T0, "once it is read again, its clock says it"


def test_large_records_are_decoded_one_at_a_time() -> None:
    sizes: list[int] = []

    def decode(kind: Kind, records: Sequence[Record]) -> tuple[Sequence[Record], Events]:
        sizes.append(sum(len(record.value or b"") for record in records))
        return decoded(kind, records)

    ahead = ReadAhead(FUTURE, decode)
    small = record(K, 0, T0)
    large = replace(small, value=(small.value or b"") + b" " * 300_000)
    ahead.wait(K, [large] * 5 + [small] * 5)
    number = 0
    while K in ahead:
        number += len(ahead.take(K, None)[0])
    assert number == 10
    assert max(sizes) <= PIECE_BYTES
    assert len(sizes) == 5


Times = list[int]
logs = st.lists(st.integers(0, 6 * HOUR), max_size=30)


@given(logs, logs, logs, st.tuples(st.integers(1, 12), st.integers(1, 12)), st.booleans())
def test_nothing_runs_ahead_and_nobody_waits_for_ever(
    views: Times, comments: Times, checkouts: Times, sizes: tuple[int, int], full: bool
) -> None:
    """A worker in miniature: every record is counted, in order, and never far beyond what others still have.

    Where memory is ``full``, everything that waits is given back each time and read again.
    """
    size, piece = sizes
    left = {
        kind: sorted(T0 + time for time in log) for kind, log in zip(KINDS, (views, comments, checkouts), strict=True)
    }
    total = sum(map(len, left.values()))
    ahead, clocks, counted = ReadAhead(FUTURE, decoded, piece), dict(NOBODY), 0
    held: dict[Kind, Times] = {kind: [] for kind in KINDS}
    for _ in range(4 * total + 4):
        counted += _count(ahead, clocks, left)
        behind = {*ahead.kinds(), *(kind for kind in KINDS if left[kind])}
        for kind in set(KINDS) - paused(ahead.times(clocks), behind) - set(ahead.kinds()):
            times, left[kind] = left[kind][:size], left[kind][size:]
            if times:
                put(ahead, kind, *times)
                held[kind] = times
        if full:
            counted += _count(ahead, clocks, left)
            for kind in KINDS:
                waiting = ahead.number(kind)
                left[kind] = held[kind][len(held[kind]) - waiting :] + left[kind]
            ahead.give_back()
    assert counted == total


def _count(ahead: ReadAhead[Kind], clocks: dict[Kind, int | None], left: dict[Kind, Times]) -> int:
    number = 0
    for kind in ahead.kinds():
        behind = {*ahead.kinds(), *(other for other in KINDS if left[other])}
        times = ahead.times(clocks)
        _, events = ahead.take(kind, limit(kind, times, behind))
        number += len(events)
        for event in events:
            assert event is not None
            assert not isinstance(event, Rejected)
            clocks[kind] = max(clocks[kind] or 0, event.event_time)
            _check(event.event_time, [times[other] for other in behind if other is not kind])
    return number


def _check(time: int, others: Sequence[int | None]) -> None:
    assert all(other is not None and time <= other + SLACK_MS for other in others)


def test_pieces_come_as_far_as_their_topics_are_in_step_and_those_far_ahead_are_not_read() -> None:
    ahead, clocks = ReadAhead(FUTURE, decoded), dict[Kind, int | None](NOBODY)
    alignment = Alignment(ahead, lambda: clocks, lambda: KINDS, 100 * HOUR)
    put(ahead, K, T0, T0 + HOUR)
    put(ahead, V, T0, T0 + SLACK_MS)
    assert [(kind, len(records)) for kind, records, _ in alignment.ready()] == [], "nobody knows how far the third is"
    assert alignment.wanted(KINDS) == {C}
    put(ahead, C, T0)
    counted = []
    for kind, records, _ in alignment.ready():
        counted += [(kind, record.offset) for record in records]
        clocks[kind] = max(clocks[kind] or 0, *(T0 + HOUR * record.offset * (kind is K) for record in records))
    assert counted == [(K, 0), (V, 0), (V, 1), (C, 0)]
    assert alignment.wanted(KINDS) == {V, C}


def test_topics_that_are_not_aligned_wait_for_nobody() -> None:
    ahead = ReadAhead(FUTURE, decoded)
    alignment = Alignment(ahead, lambda: NOBODY, lambda: KINDS, HOUR, aligned=False)
    put(ahead, K, T0, T0 + HOUR)
    assert [(kind, len(records)) for kind, records, _ in alignment.ready()] == [(K, 2)]
