"""What of a pane came late: the whole is what it always was, and the rest is what was on time alone."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts.figures import FIELDS
from stream.core.counting import count_checkout, count_view
from stream.core.counts import COUNTERS, total
from stream.core.ontime import column_of, count_late, events_of
from stream.core.packing import pack, unpack, unpack_into
from stream.core.panes import Pane
from stream.core.render import window_value
from stream.core.session import Session
from stream.core.state_format import Head
from stream.model.events import Checkout, View
from stream.model.money import MAX_SUM
from tests.core.test_decode import CHECKOUT, VIEW

T0 = 1_700_000_000_000
views = st.fixed_dictionaries(
    {
        "event_time": st.integers(T0, T0 + 4),
        "action": st.sampled_from(("enter", "heartbeat", "like", "product_click")),
        "seller_id": st.sampled_from(("s1", "s2", "s3")),
        "platform": st.sampled_from(("tiktok_shop", "shopee")),
        "creator_id": st.sampled_from(("c1", "c2", None)),
        "viewer_id": st.sampled_from(("v1", "v2")),
    }
)
checkouts = st.fixed_dictionaries(
    {
        "event_time": st.integers(T0, T0 + 4),
        "status": st.sampled_from(("initiated", "paid", "failed", "cancelled")),
        "amount_minor": st.sampled_from((0, 5, 10**13)),
        "currency": st.sampled_from(("IDR", "USD")),
        "seller_id": st.sampled_from(("s0", "s2")),
    }
)
arrivals = st.lists(st.tuples(st.one_of(views, checkouts), st.booleans()), max_size=14)


def counted(events: list[tuple[dict[str, Any], bool]], *, kept: bool = False) -> Pane:
    """``kept``: packed and unpacked after each event."""
    pane = Pane(Session(b"s"), T0)
    for fields, late in events:
        count: Any = count_view if "action" in fields else count_checkout
        kind: Any = View if "action" in fields else Checkout
        base = {**(VIEW if "action" in fields else CHECKOUT), **fields}
        event = msgspec.json.decode(json.dumps({name: v for name, v in base.items() if v is not None}), type=kind)
        if late:
            count_late(count, pane, event, 10)
        else:
            count(pane, event, 10)
        if kept:
            data = pack(pane)
            pane = Pane(pane.session, T0)
            unpack_into(pane, data)
    return pane


def shown(pane: Pane) -> bytes:
    return window_value("s", total([pane]), "IDR", {})


@given(arrivals)
def test_the_whole_is_the_same_whatever_of_it_was_late(events: list[tuple[dict[str, Any], bool]]) -> None:
    pane, all_on_time = counted(events), counted([(fields, False) for fields, _ in events])
    assert shown(pane) == shown(all_on_time)
    head, expected = (msgspec.msgpack.decode(pack(each), type=Head) for each in (pane, all_on_time))
    assert head == expected


@given(arrivals)
def test_what_was_on_time_is_what_it_is_without_the_rest(events: list[tuple[dict[str, Any], bool]]) -> None:
    rest = counted([(fields, late) for fields, late in events if not late])
    for pane in (counted(events), counted(events, kept=True)):
        assert column_of(pane, "IDR") == column_of(rest, "IDR")
        assert events_of(pane) == rest.events
        assert (pane.label_at, pane.seller, pane.platform) == (rest.label_at, rest.seller, rest.platform)
        assert (pane.creator_at, pane.creator) == (rest.creator_at, rest.creator)
        assert (pane.first_event, pane.last_event) == (rest.first_event, rest.last_event)


@given(arrivals)
def test_a_pane_is_packed_and_unpacked_without_a_difference(events: list[tuple[dict[str, Any], bool]]) -> None:
    assert shown(counted(events, kept=True)) == shown(counted(events))


def test_money_saturates_on_time_late_and_in_all() -> None:
    pane = counted([({"event_time": T0, "status": "paid"}, False), ({"event_time": T0, "status": "paid"}, True)])
    assert pane.late is not None
    pane.gmv["IDR"] += 2 * MAX_SUM
    place = FIELDS.index("gmv_minor")
    assert column_of(pane, "IDR")[place] == MAX_SUM
    again = unpack(pack(pane))
    assert (again.gmv["IDR"], column_of(again, "IDR")[place]) == (MAX_SUM, MAX_SUM)
    again.gmv["IDR"] += 5
    assert column_of(again, "IDR")[place] == MAX_SUM


def test_a_pane_of_a_version_that_knew_neither_heartbeats_nor_late_parts_is_read() -> None:
    pane = counted([({"event_time": T0, "action": "enter"}, False), ({"event_time": T0, "action": "like"}, False)])
    values = msgspec.msgpack.decode(pack(pane))
    del values[-1]
    del values[8][-1]
    again = unpack(msgspec.msgpack.encode(values))
    assert column_of(again, "IDR") == column_of(pane, "IDR")
    assert [getattr(again, name) for name in COUNTERS] == [getattr(pane, name) for name in COUNTERS]
    assert (again.heartbeats, again.late) == (0, None)
