"""What rules speak of, against computations of another kind."""

from fractions import Fraction
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts.figures import (
    COUNTS,
    EMPTY,
    FIELDS,
    FIGURES,
    LARGEST,
    LONGEST_NAME,
    QUOTIENTS,
    RATIOS,
    Z,
    added,
    full_path,
    is_money,
    names_of,
    read,
    shown_name,
    unknown_figure,
    wilson,
)
from stream.core.counts import COUNTERS
from stream.model.money import MAX_SUM
from tests.history import Minutes, column, rule


def bound_by_search(hits: int, trials: int, *, upper: bool) -> float:
    """Where the true share p is just Z standard errors from what was seen: (hits/trials - p)^2 = Z^2 p (1-p) / trials.

    Found by halving, in exact fractions: nothing of the formula under test.
    """
    seen, z = Fraction(hits, trials), Fraction(Z)

    def is_within(p: Fraction) -> bool:
        return (seen - p) ** 2 <= z * z * p * (1 - p) / trials

    inside, outside = seen, Fraction(1 if upper else 0)
    if is_within(outside):
        return float(outside)
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_within(middle) else (inside, middle)
        inside, outside = inside.limit_denominator(10**15), outside.limit_denominator(10**15)
    return float(inside)


@st.composite
def shares(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 10**6))
    return draw(st.integers(0, trials)), trials


@given(shares())
def test_wilson_bounds_are_where_the_score_test_ends(share: tuple[int, int]) -> None:
    low, high = wilson(*share)
    assert low == pytest.approx(bound_by_search(*share, upper=False), abs=1e-9)
    assert high == pytest.approx(bound_by_search(*share, upper=True), abs=1e-9)


@given(shares())
def test_wilson_bounds_hold_the_share_and_stay_shares(share: tuple[int, int]) -> None:
    hits, trials = share
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 20, 0.0, 0.161130), (8, 20, 0.218802, 0.613421), (20, 20, 0.838870, 1.0), (1, 1, 0.206543, 1.0)],
)
def test_wilson_bounds_as_printed_in_tables(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson(hits, trials) == pytest.approx((low, high), abs=5e-6)


def test_z_leaves_out_one_in_twenty() -> None:
    assert pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-4) == Z


def figure(name: str, **counts: int) -> float | None:
    return FIGURES[name](column(counts))


def test_every_counter_is_a_figure() -> None:
    assert set(COUNTERS) < set(FIELDS) < set(COUNTS)
    assert len(EMPTY) == len(FIELDS) == len(set(FIELDS))


@pytest.mark.parametrize(
    "name", [*RATIOS, *QUOTIENTS, *(f"{name}_low" for name in RATIOS), *(f"{name}_high" for name in RATIOS)]
)
def test_a_rate_without_denominator_is_absent(name: str) -> None:
    assert FIGURES[name](EMPTY) is None


def test_rates_are_those_of_the_windows() -> None:
    assert figure("ctor", orders_paid=9, product_clicks=120) == 0.075
    assert figure("order_rate", orders_paid=9, views=400) == 0.0225
    assert figure("live_ctr", product_clicks=120, product_impressions=350) == pytest.approx(0.342857, abs=1e-6)
    assert figure("gpm_minor", gmv_minor=81_900_000, views=400) == 204_750_000
    assert figure("aov_minor", gmv_minor=81_900_000, orders_paid=9) == 9_100_000
    assert figure("local_share", local_item_value_minor=60, cross_border_item_value_minor=24) == pytest.approx(
        0.714286, abs=1e-6
    )


def test_orders_on_delivery_are_no_payments() -> None:
    counts = {"checkouts_initiated": 14, "orders_paid": 9, "cod_orders": 2, "checkouts_failed": 3}
    assert figure("payment_rate", **counts) == pytest.approx(7 / 12)
    assert figure("attempts", **counts) == 10
    assert figure("failure_rate", **counts) == 0.3


def test_more_hits_than_trials_give_a_rate_above_one_and_bounds_of_a_share() -> None:
    assert figure("ctor", orders_paid=3, product_clicks=2) == 1.5
    assert figure("ctor_high", orders_paid=3, product_clicks=2) == 1
    assert figure("payment_rate_high", orders_paid=1, cod_orders=3, checkouts_initiated=9) == wilson(0, 6)[1]


def test_payments_without_checkouts_have_no_rate() -> None:
    """Cash on delivery begun before the window: fewer checkouts than such orders."""
    assert figure("payment_rate", checkouts_initiated=1, cod_orders=2, orders_paid=2) is None


# -- what is read from a history


def reading(path: str, history: Minutes, *, window: int = 5, baseline: int = 30) -> float | None:
    return read(full_path(path), rule(window=window, baseline=baseline))(history)


def test_window_baseline_and_median_are_spans_of_their_own() -> None:
    history = Minutes([{"views": number} for number in range(1, 41)])
    assert reading("views", history) == sum(range(36, 41))
    assert reading("base.views", history) == sum(range(6, 36))
    assert reading("median.views", history) == (5 * 18 + 5 * 23) / 2
    assert reading("base.minutes", history) == 30


def test_the_baseline_begins_with_the_session() -> None:
    history = Minutes([{"views": 10}] * 12, first=100)
    assert reading("base.minutes", history) == 7
    assert reading("base.views", history) == 70
    assert reading("median.views", history) == 50
    assert min(start for start, _ in history.asked) >= history.first


def test_a_young_session_has_no_baseline() -> None:
    history = Minutes([{"views": 10}] * 3)
    assert reading("base.minutes", history) == 0
    assert reading("base.views", history) == 0
    assert reading("base.ctr", history) is None
    assert reading("median.views", history) is None


def test_empty_windows_count_for_the_median() -> None:
    history = Minutes([{"comments": 90}, {}, {}, {"comments": 90}, {}, {"comments": 7}])
    assert reading("median.comments", history, window=1, baseline=15) == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 4), st.integers(0, 20))
def test_the_median_is_the_middle_of_whole_windows(comments: list[int], window: int, baseline: int) -> None:
    history = Minutes([{"comments": number} for number in comments])
    found = reading("median.comments", history, window=window, baseline=baseline)
    end = len(comments) - window
    sums = sorted(sum(comments[at - window : at]) for at in range(end, max(0, end - baseline) + window - 1, -window))
    if not sums:
        assert found is None
    else:
        assert found == (sums[(len(sums) - 1) // 2] + sums[len(sums) // 2]) / 2


def test_silence_is_counted_from_the_last_event_to_the_end_of_the_slide() -> None:
    assert reading("w.seconds_since_last_event", Minutes([{"views": 1}, {}, {}])) == 150


def test_each_column_has_its_names() -> None:
    assert "seconds_since_last_event" in names_of("w")
    assert "minutes" in names_of("base")
    assert "ctor" not in names_of("median")
    assert "ctor_low" in names_of("base")


# -- names and sums


@pytest.mark.parametrize(
    ("path", "mistake"),
    [
        ("w.views", None),
        ("base.views", None),
        ("median.views", None),
        ("base.minutes", None),
        ("w.minutes", "w.minutes is not known; did you mean base.minutes?"),
        ("views", "views is not known: write w.views"),
        ("w.vievs", "w.vievs is not known; did you mean w.views?"),
        ("vievs", "vievs is not known; did you mean w.views?"),
        ("median.viewss", "median.viewss is not known; did you mean median.views?"),
        ("zzz", "zzz is not known: figures are w.<name>, base.<name> and median.<name>"),
        ("q" * LONGEST_NAME, f"{'q' * 60} is not known: figures are w.<name>, base.<name> and median.<name>"),
        ("q" * (LONGEST_NAME + 1), f"{'q' * 60}… is not known"),
    ],
)
def test_what_is_wrong_with_a_name_is_told_with_the_nearest_there_is(path: str, mistake: str | None) -> None:
    assert unknown_figure(path, baseline=True) == mistake


def test_without_a_baseline_only_the_window_has_figures() -> None:
    assert [unknown_figure(f"{column}.views", baseline=False) for column in ("w", "base", "median")] == [
        *(None, "base.views: the rule has no baseline", "median.views: the rule has no baseline"),
    ]


def test_a_short_name_is_that_of_the_window() -> None:
    assert [full_path("views"), full_path("base.views")] == ["w.views", "base.views"]
    assert [shown_name("w.views"), shown_name("base.views")] == ["views", "base.views"]
    assert [is_money("gmv_minor"), is_money("views"), is_money("minor_gmv")] == [True, False, False]


def test_columns_add_up_and_what_an_earlier_version_noted_lacks_what_came_later() -> None:
    last = len(FIELDS) - 1
    assert added([(1, 2), (10,)]) == (11, 2, *EMPTY[2:])
    assert added([(*EMPTY[:last], 5), (1,)]) == (1, *EMPTY[1:last], 5)
    assert added([(MAX_SUM, 1), (1, 1)]) == (MAX_SUM, 2, *EMPTY[2:])


def test_one_trial_is_enough_for_a_rate_and_its_bounds() -> None:
    assert figure("ctor", orders_paid=1, product_clicks=1) == 1
    assert (figure("ctor_low", orders_paid=1, product_clicks=1), figure("ctor_high", product_clicks=1)) == (
        *(wilson(1, 1)[0], wilson(0, 1)[1]),
    )


def test_a_quotient_of_money_saturates() -> None:
    assert figure("gpm_minor", gmv_minor=MAX_SUM, views=1) == LARGEST
    assert figure("aov_minor", gmv_minor=MAX_SUM, orders_paid=1) == LARGEST
