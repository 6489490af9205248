"""Values as docs/counting.md and docs/topics.md describe them."""

import json
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from stream.core.breakdown import Clicks, Orders, Sales
from stream.core.counts import Counts
from stream.core.render import divide, figures_of, ranked, ratio, session_value, window_value
from stream.model.money import MAX_SUM


@given(st.integers(0, 10**20), st.integers(1, 10**12))
def test_quotients_are_rounded_half_even_from_exact_integers(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert divide(numerator, denominator) == round(exact)


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_ratio_has_six_decimals(numerator: int, denominator: int) -> None:
    million = round(Fraction(numerator * 10**6, denominator))
    assert Decimal(str(ratio(numerator, denominator))) == (Decimal(million) / 10**6).quantize(
        Decimal("0.000001"), rounding=ROUND_HALF_EVEN
    )


def test_the_rates_of_the_contract() -> None:
    counts = Counts()
    counts.impressions, counts.views, counts.product_impressions, counts.product_clicks = 900, 400, 350, 120
    counts.likes, counts.shares, counts.follows, counts.comments = 55, 3, 2, 61
    counts.checkouts_initiated, counts.orders_paid, counts.cod_orders = 14, 9, 2
    counts.gmv, counts.item_value, counts.local_item_value = {"IDR": 81900000}, {"IDR": 84000000}, {"IDR": 60000000}
    counts.cross_border_item_value, counts.discount = {"IDR": 24000000}, {"IDR": 9100000}
    value = figures_of(counts, "IDR")
    assert value["rates"] == {
        "aov_minor": {"IDR": 9100000},
        "comment_rate": 0.1525,
        "ctor": 0.075,
        "ctr": 0.3,
        "discount_rate": {"IDR": 0.1},
        "enter_room_rate": 0.444444,
        "follow_rate": 0.005,
        "gpm_minor": {"IDR": 204750000},
        "like_rate": 0.1375,
        "live_ctr": 0.342857,
        "local_share": 0.714286,
        "order_rate": 0.0225,
        "payment_rate": 0.583333,
        "share_rate": 0.0075,
    }
    assert list(value["rates"]) == sorted(value["rates"])


def test_nothing_counted_has_all_maps_and_lists_but_no_rates_and_no_samples() -> None:
    value = figures_of(Counts(), "IDR")
    assert value["rates"] == {}
    assert value["by_source"] == {}
    assert value["by_affiliate"] == value["products"] == []
    assert "concurrent_last" not in value
    assert "incomplete" not in value


def test_a_record_says_the_digits_of_every_currency_in_it() -> None:
    counts = Counts()
    counts.gmv, counts.item_value, counts.discount = {"IDR": 81900000, "JPY": 500}, {"JPY": 500}, {"KWD": 1}
    for value in (window_value("7301", counts, "IDR", {}), session_value("7301", counts, "IDR", {})):
        assert json.loads(value)["minor_digits"] == {"IDR": 2, "JPY": 0, "KWD": 3}
    assert "minor_digits" not in json.loads(window_value("7301", Counts(), "IDR", {}))


def test_sums_saturate_before_anything_is_derived_from_them() -> None:
    counts = Counts()
    counts.gmv = {"IDR": 2**70}
    counts.views = counts.orders_paid = 1
    value = figures_of(counts, "IDR")
    assert value["gmv_minor"] == {"IDR": MAX_SUM}
    assert value["rates"]["aov_minor"] == value["rates"]["gpm_minor"] == {"IDR": MAX_SUM}


def test_what_sums_saturate_to_is_what_rates_are_of() -> None:
    counts = Counts()
    counts.gmv, counts.discount = {"IDR": 2**70, "USD": 3}, {"IDR": 2**70}
    counts.local_item_value = counts.cross_border_item_value = {"IDR": MAX_SUM - 1}
    rates = figures_of(counts, "IDR")["rates"]
    assert rates == {"discount_rate": {"IDR": 1.0, "USD": 0.0}, "local_share": 1.0}


def test_products_say_how_often_they_were_pinned_wherever_they_stand() -> None:
    names = [f"p{number:02}" for number in range(22)]
    clicks = Clicks(dict.fromkeys(names, 1), beyond=1)
    pins = Clicks({"p00": 3, "p20": 2, "p21": 5, "nobody's": 9}, beyond=4)
    rows = ranked(clicks, None, "IDR", "product_id", "item_value_minor", pins=pins)
    assert [row["pins"] for row in rows] == [3, *[0] * 19, 7, 4]
    assert ranked(None, None, "IDR", "product_id", "item_value_minor", pins=pins) == []
    only = ranked(Clicks({"p": 0}), None, "IDR", "product_id", "item_value_minor", pins=Clicks({"p": 1}))
    assert only == [{"product_id": "p", "product_clicks": 0, "orders_paid": 0, "item_value_minor": {}, "pins": 1}]
    unnamed = ranked(Clicks(), None, "IDR", "product_id", "item_value_minor", pins=Clicks(beyond=1))
    assert [row["pins"] for row in unnamed] == [1]


def test_ranked_by_money_then_clicks_then_bytes_with_rest_and_unnamed() -> None:
    clicks = Clicks({f"p{number:02}": 30 - number for number in range(22)} | {"é": 1, "z": 1}, beyond=4)
    orders = Orders({"p21": Sales(1, {"IDR": 5}), "usd": Sales(2, {"USD": 900})}, Sales(3, {"IDR": 7}))
    rows = ranked(clicks, orders, "IDR", "product_id", "item_value_minor")
    assert rows[0] == {"product_id": "p21", "product_clicks": 9, "orders_paid": 1, "item_value_minor": {"IDR": 5}}
    assert [row["product_id"] for row in rows[1:20]] == [f"p{number:02}" for number in range(19)]
    assert rows[20] == {
        "rest": 5,
        "product_clicks": 11 + 10 + 1 + 1,
        "orders_paid": 2,
        "item_value_minor": {"USD": 900},
    }
    assert rows[21] == {"unnamed": True, "product_clicks": 4, "orders_paid": 3, "item_value_minor": {"IDR": 7}}
    assert len(rows) == 22
