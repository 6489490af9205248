"""Counted, added up and packed in C, counts are what they are in Python: attributes, bytes and errors."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.counting import count_checkout, count_comment, count_view
from stream.core.figures import BREAKDOWNS, FIGURES, MONIES, PLAIN, REST, UNNAMED_FIGURES
from stream.core.formats import Format
from stream.core.packing import head_of, unpack, unpack_into
from stream.core.pure import counts as pure_counts
from stream.core.pure import ontime as pure_ontime
from stream.core.pure import packing as pure_packing
from stream.core.pure import panes as pure_panes
from stream.core.session import Session
from stream.model.events import Checkout, Comment, View
from stream.model.money import MAX_SUM
from tests.core.test_decode import CHECKOUT, COMMENT, VIEW

native_counts = pytest.importorskip("stream.core.native.counts", reason="built without a C compiler")
native_totals = pytest.importorskip("stream.core.native.totals")
native_packing = pytest.importorskip("stream.core.native.packing")

T0 = 1_700_000_000_000
KINDS: Any = {"view": (count_view, View, VIEW), "checkout": (count_checkout, Checkout, CHECKOUT)}
KINDS["comment"] = (count_comment, Comment, COMMENT)

few_ids = st.sampled_from(("p1", "p2", "p3", "é" * 40, "x" * 128))
common = {
    "event_time": st.integers(T0, T0 + 5),
    "seller_id": st.sampled_from(("s1", "s2", "ß")),
    "platform": st.sampled_from(("tiktok_shop", "shopee", "else", "")),
    "creator_id": st.sampled_from(("c1", "c2", None)),
    "viewer_id": st.integers(0, 300).map(str),
    "affiliate_id": st.none() | few_ids,
    "source": st.sampled_from((None, "for_you", "ads", "unheard of")),
}
views = st.fixed_dictionaries(
    {
        **common,
        "kind": st.just("view"),
        "action": st.sampled_from(
            (
                "enter",
                "heartbeat",
                "like",
                "product_click",
                "impression",
                "share",
                "gift",
                "pin",
                "add_to_cart",
                "start",
            )
        ),
        "product_id": st.none() | few_ids,
        "product_name": st.sampled_from((None, "", "a", "b", "\u00e9 \U0001f525" * 50)),
        "basket_number": st.none() | st.integers(1, 10**6),
        "title": st.sampled_from((None, "", "a", "b", "\u00e9 \U0001f525" * 50)),
        "seller_name": st.sampled_from((None, "a", "b")),
        "count": st.none() | st.integers(1, 10**6),
        "gift_value": st.none() | st.integers(0, 10**13),
        "watch_ms": st.none() | st.integers(0, 86_400_000),
        "concurrent_viewers": st.none() | st.integers(0, 10**9),
    }
)
items = st.fixed_dictionaries(
    {
        "product_id": few_ids,
        "quantity": st.integers(1, 10),
        "unit_price_minor": st.integers(0, 10**12),
        "local": st.none() | st.booleans(),
    }
)
checkouts = st.fixed_dictionaries(
    {
        **common,
        "kind": st.just("checkout"),
        "status": st.sampled_from(("initiated", "submitted", "paid", "failed", "cancelled", "refunded")),
        "amount_minor": st.sampled_from((0, 5, 10**13)),
        "currency": st.sampled_from(("IDR", "USD")),
        "is_cod": st.booleans(),
        "discount_minor": st.sampled_from((None, 0, 5, 10**13)),
        "items": st.lists(items, max_size=3),
    }
)
comments = st.fixed_dictionaries({**common, "kind": st.just("comment")})
extremes = st.fixed_dictionaries(
    {
        "kind": st.just("set"),
        "name": st.sampled_from([name for name in PLAIN if name not in {"seller", "platform", "creator"}]),
        "value": st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**16), 2**34),
    }
)
riches = st.fixed_dictionaries(
    {"kind": st.just("earn"), "name": st.sampled_from(MONIES), "value": st.integers(0, 2**66)}
)
steps = st.lists(
    st.tuples(views | checkouts | comments | extremes | riches | st.just({"kind": "unpack"}), st.booleans()),
    max_size=25,
)
Steps = list[tuple[dict[str, Any], bool]]


def one_way(native: bool) -> tuple[Any, Any, Any]:
    """The modules of totals, panes and packing."""
    if native:
        return native_totals, native_counts, native_packing
    return pure_counts, pure_panes, pure_packing


def unpacked(data: bytes) -> pure_counts.Counts:
    """As Python has it."""
    counts = pure_counts.Counts()
    unpack_into(counts, data)
    return counts


def pane_of(steps: Steps, *, native: bool, limit: int = 2) -> Any:
    _, panes, packing = one_way(native)
    pane = panes.Pane(Session(b"s"), T0)
    for fields, late in steps:
        match fields["kind"]:
            case "set":
                with contextlib.suppress(OverflowError):
                    setattr(pane, fields["name"], fields["value"])
            case "earn":
                getattr(pane, fields["name"])["IDR"] = fields["value"]
            case "unpack":
                data = packing.pack(pane)
                session = pane.session
                pane = panes.Pane(session, T0)
                unpack_into(pane, data)
            case kind:
                _count(pane, kind, fields, late=late, limit=limit)
    return pane


def _count(pane: Any, kind: str, fields: dict[str, Any], *, late: bool, limit: int) -> None:
    count, shape, base = KINDS[kind]
    values = {**base, **fields}
    del values["kind"]
    event = msgspec.convert({name: value for name, value in values.items() if value is not None}, type=shape)
    with contextlib.suppress(OverflowError):
        if late:
            pure_ontime.count_late(count, pane, event, limit)
        else:
            count(pane, event, limit)


def shown(counts: Any) -> dict[str, Any]:
    late = counts.late
    return {
        **{name: getattr(counts, name) for name in (*PLAIN, *MONIES, "sources", *BREAKDOWNS, "incomplete")},
        "viewers": counts.viewers and bytes(counts.viewers.serialize()),
        "buyers": counts.buyers and bytes(counts.buyers.serialize()),
        "late": late and (tuple(late.sums), tuple(late.moments), late.monies),
    }


calm = st.lists(st.tuples(views | checkouts | comments | st.just({"kind": "unpack"}), st.booleans()), max_size=25)


@given(calm)
def test_counting_packing_and_unpacking_are_the_same(steps: Steps) -> None:
    native, pure = pane_of(steps, native=True), pane_of(steps, native=False)
    assert shown(native) == shown(pure)
    assert native.session.named == pure.session.named
    assert native.session.stale == pure.session.stale
    data = native_packing.pack(native)
    assert data == pure_packing.pack(pure) == pure_packing.pack(native)
    assert shown(unpack(data)) == shown(unpacked(data))
    assert native_packing.pack(unpack(data)) == data


@given(steps)
def test_whatever_is_in_them_is_packed_alike(steps: Steps) -> None:
    native = pane_of(steps, native=True)
    data = native_packing.pack(native)
    assert data == pure_packing.pack(native)
    pure, again = unpacked(data), unpack(data)
    assert shown(again) == shown(pure)


@given(st.lists(calm, min_size=1, max_size=6), st.booleans(), st.booleans())
def test_totals_are_the_same(panes: list[Steps], bounded: bool, packed: bool) -> None:
    only: dict[str, Any] | None = {name: {"p1", "p2"} for name in BREAKDOWNS} if bounded else None
    found = []
    for native in (True, False):
        totals, _, packing = one_way(native)
        parts = [pane_of(steps, native=native) for steps in panes]
        if packed:
            parts = [(unpack if native else unpacked)(packing.pack(part)) for part in parts]
        before = [shown(part) for part in parts]
        whole = totals.total(parts, only)
        assert [shown(part) for part in parts] == before
        found.append((shown(whole), packing.pack(whole)))
    assert found[0] == found[1]


@given(calm)
def test_columns_and_what_is_told_are_the_same(steps: Steps) -> None:
    native, pure = pane_of(steps, native=True), pane_of(steps, native=False)
    assert native_totals.column_of(native, "IDR") == pure_ontime.column_of(pure, "IDR")
    for _ in range(2):
        assert (native.told, native.tell()) == (pure.told, pure.tell())
        assert native.untold_gmv() == pure.untold_gmv()
    marks = (1, native.events, 2, 300)
    for figures in range(len(UNNAMED_FIGURES), len(FIGURES) + 1):
        form = Format(3, figures)
        assert native_packing.pack_item(marks, native, form) == pure_packing.pack_item(marks, pure, form)


@given(calm, calm)
def test_adding_is_the_same(first: Steps, second: Steps) -> None:
    found = []
    for native in (True, False):
        totals, _, _ = one_way(native)
        into, part = (pane_of(steps, native=native) for steps in (first, second))
        into.add(part)
        totals.merge_breakdowns(into, part)
        found.append(shown(into))
    assert found[0] == found[1]


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever the Python version says
        unpacked(data)
    with pytest.raises(Exception):  # noqa: B017, PT011
        unpack(data)


@given(calm, st.data())
def test_damaged_bytes_are_an_error_or_what_the_python_version_reads(steps: Steps, data: st.DataObject) -> None:
    pane = pane_of(steps, native=True)
    pane.viewers = pane.buyers = None  # for a damaged one the sketches' library may want minutes, or gigabytes
    packed = bytearray(native_packing.pack(pane))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(packed[: data.draw(st.integers(0, len(packed)))]) if data.draw(st.booleans()) else bytes(packed)
    try:
        native = shown(unpack(damaged))
    except Exception:  # noqa: BLE001  # any, so long as it is one: figures of another type are none either
        return
    read = shown(unpacked(damaged)).items()
    assert native == {name: min(value, MAX_SUM) if isinstance(value, int) else value for name, value in read}  # 64 bits


def test_sums_saturate() -> None:
    one, other = native_counts.Counts(), native_counts.Counts()
    one.likes, other.likes = MAX_SUM - 1, 5
    one.add(other)
    assert one.likes == MAX_SUM
    assert native_totals.total([one, other, other]).likes == MAX_SUM


def test_what_was_never_counted_can_be_set_and_read() -> None:
    counts = native_counts.Counts()
    counts.gmv["IDR"] = 5
    assert (counts.gmv, counts.item_value, counts.viewers) == ({"IDR": 5}, {}, None)
    with pytest.raises(OverflowError):
        counts.events = 2**63
    with pytest.raises(TypeError):
        counts.gmv = None


@pytest.mark.parametrize("read", [unpacked, unpack])
def test_what_was_stored_before_a_figure_existed_has_what_stands_for_it(read: Any) -> None:
    """GMV by the hour of a session that was on air when liveshop was upgraded."""
    pane = native_counts.Pane(Session(b"s"), T0)
    pane.events, pane.first_event, pane.last_event, pane.on_air_from, pane.on_air_to = 2, T0 + 1, T0 + 9, T0 + 2, T0 + 5
    values = msgspec.msgpack.decode(native_packing.pack(pane))
    older = msgspec.msgpack.encode([*values[:8], values[8][: REST.index("gifts")], *values[9:]])
    restored, same = read(older), read(native_packing.pack(pane))
    assert (restored.on_air_from, restored.on_air_to, restored.gifts) == (T0 + 1, T0 + 9, 0)
    assert (same.on_air_from, same.on_air_to) == (T0 + 2, T0 + 5)


def test_a_sketch_taken_out_and_updated_is_packed_as_it_is_now() -> None:
    pane = native_counts.Pane(Session(b"s"), T0)
    pane.note_viewer("v1", None)
    before = native_packing.pack(pane)
    sketch = pane.viewers
    sketch.update("v2")
    assert native_packing.pack(pane) != before
    assert native_packing.pack(pane) == pure_packing.pack(pane)


@pytest.mark.parametrize("place", [1, 2, 6, 7])
def test_what_is_no_sketch_of_ours_is_refused_at_once(place: int) -> None:
    pane = native_counts.Pane(Session(b"s"), T0)
    pane.note_viewer("v1", None)
    sketch = bytes(pane.viewers.serialize())
    damaged = bytes(byte ^ 1 if at == place else byte for at, byte in enumerate(sketch))
    with pytest.raises(Exception):  # noqa: B017, PT011  # the library's own
        unpack(native_packing.pack(pane).replace(sketch, damaged))


def test_the_head_is_read_without_the_rest() -> None:
    pane = pane_of([({"kind": "view", "action": "enter"}, False)], native=True)
    assert head_of(native_packing.pack(pane)).views == 1
