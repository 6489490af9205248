"""Values written in C are byte for byte those of Python."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.breakdown import Clicks, Label, Labels, Orders, Sales, Source
from stream.core.figures import COUNTERS, MONIES, Shown
from stream.core.render import divide, in_python
from stream.model.money import MAX_SUM

rendering = pytest.importorskip("stream.core.native.rendering", reason="built without a C compiler")
native_totals = pytest.importorskip("stream.core.native.totals")
native_counts = pytest.importorskip("stream.core.native.counts")

HEAD = {"session_id": 'a "session"'}
small = st.integers(0, 40)
numbers = small | st.integers(0, 10**7) | st.integers(0, MAX_SUM)
monies = st.dictionaries(st.sampled_from(("IDR", "USD", "CLP")), small | numbers | st.integers(0, 2**65))
ids = st.text(max_size=3) | st.integers(0, 99).map(str)
sales = st.builds(Sales, small | numbers, monies)
clicks = st.builds(Clicks, st.dictionaries(ids, numbers, max_size=50), small, st.dictionaries(ids, small, max_size=2))
orders = st.builds(Orders, st.dictionaries(ids, sales, max_size=50), sales)
labels = st.builds(Label, st.just(1), st.text(max_size=5), st.just(1), st.integers(0, 10**6))
sources = st.dictionaries(ids, st.builds(Source, small, small | numbers, small, monies))
sums = st.dictionaries(
    st.sampled_from((*COUNTERS, "samples", "sample_sum", "peak", "last", "on_air_from", "on_air_to")), numbers
)
totals = st.sampled_from((Shown.WINDOWS, Shown.SESSIONS))


def counts_of(sums: dict[str, int], viewers: int, **others: Any) -> Any:
    counts = native_counts.Pane(type("S", (), {"seed": 0}), 0)
    for name, value in {**sums, **others}.items():
        if value is not None:
            setattr(counts, name, value)
    for viewer in range(viewers):
        counts.note_viewer(str(viewer), None)
    return native_totals.total([counts])


@given(
    sums,
    st.sampled_from((0, 1, 40)),
    st.fixed_dictionaries(
        {
            **dict.fromkeys(MONIES, monies),
            "sources": st.none() | sources,
            "product_clicks_by": st.none() | clicks,
            "affiliate_clicks": st.none() | clicks,
            "product_pins": st.none() | clicks,
            "product_labels": st.none() | st.builds(Labels, st.dictionaries(ids, labels, max_size=50)),
            "product_orders": st.none() | orders,
            "affiliate_orders": st.none() | orders,
            "incomplete": st.booleans(),
        }
    ),
    totals,
)
def test_any_figures_are_written_alike(sums: dict[str, int], viewers: int, others: dict[str, Any], of: Shown) -> None:
    counts = counts_of(sums, viewers, **others)
    head = json.dumps(HEAD, separators=(",", ":")).encode()
    written = rendering.value_of(head, counts, "IDR", of is Shown.SESSIONS)
    if written is not None:
        assert written == in_python(HEAD, counts, "IDR", of)


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.integers(0, 9 * 10**12), st.integers(1, 10**12))
@example(1, 10**6, 5, 10)
@example(9, 10**6, 25, 100)
@example(10, 10**6, 35, 100)
def test_rates_and_averages_are_written_as_their_doubles_are(over: int, under: int, many: int, few: int) -> None:
    counts = counts_of({"likes": over, "views": under, "sample_sum": many, "samples": few, "peak": 1, "last": 1}, 0)
    written = rendering.value_of(b'{"a":1}', counts, "IDR")
    if divide(10**6 * over, under) < 10**15 and divide(10 * many, few) < 10**15:
        assert written == in_python({"a": 1}, counts, "IDR")
    else:
        assert written is None


def test_what_is_beyond_is_left_to_python() -> None:
    for sums in ({"likes": 10**13, "views": 1}, {"sample_sum": MAX_SUM, "samples": 1}, {"shares": -1, "views": 1}):
        assert rendering.value_of(b'{"a":1}', counts_of(sums, 0), "IDR") is None


def test_what_is_common_is_not_left_to_python() -> None:
    figures = {"views": 3, "likes": 2, "product_clicks": 7, "orders_paid": 1, "on_air_from": 0, "on_air_to": 3_600_000}
    money = {"gmv": {"USD": 5, "IDR": 10**12}, "item_value": {"IDR": 10**12}, "local_item_value": {"IDR": 3}}
    money |= {"cross_border_item_value": {"IDR": 9}, "discount": {"USD": 5}}
    named = {str(number): number for number in range(40)}
    shown = {"product_clicks_by": Clicks(named, 3), "product_orders": Orders({"7": Sales(2, {"IDR": 9})})}
    counts = counts_of(figures, 3, **money, **shown, product_pins=Clicks(dict.fromkeys(named, 1)))
    counts.product_labels = Labels({"7": Label(1, 'Layar 14"', 1, 3), "39": Label(1, "\u00e9"), "38": Label(number=9)})
    for of in Shown.WINDOWS, Shown.SESSIONS:
        written = rendering.value_of(b'{"a":1}', counts, "IDR", of is Shown.SESSIONS)
        assert written is not None
        assert written == in_python({"a": 1}, counts, "IDR", of)
        value = json.loads(written)
        assert (value["products"][-2]["rest"], value["products"][-2]["pins"]) == (20, 20)
        assert [(row.get("product_name"), row.get("basket_number")) for row in value["products"][:4]] == [
            *(('Layar 14"', 3), ("\u00e9", None), (None, 9), (None, None)),
        ]
        assert value["rates"]["local_share"] == 0.25
        assert value["rates"]["discount_rate"] == {"IDR": 0.0, "USD": 0.5}
        assert ("gmv_per_hour_minor" in value["rates"]) == (of is Shown.SESSIONS)
    assert value["rates"]["gmv_per_hour_minor"] == {"IDR": 10**12, "USD": 5}
