"""The table of rates: each divides what there is."""

from stream.core.figures import BY_NAME, COUNTERS, FIGURES, How, Shown
from stream.core.rates import DERIVED, RATES, Of

COUNTS = {figure.shown_as for figure in FIGURES if figure.how is How.SUM}
TIMES = {figure.shown_as for figure in FIGURES if figure.how in {How.MAXIMUM, How.MINIMUM}}
MONIES = {figure.shown_as for figure in FIGURES if figure.how is How.MONEY}


def is_money(name: str) -> bool:
    derived = {row.name: row for row in DERIVED}
    return name in MONIES or (name in derived and set(derived[name].plus) <= MONIES)


def test_no_two_have_one_name() -> None:
    names = [*BY_NAME, *(row.name for row in DERIVED), *(rate.name for rate in RATES)]
    assert len(names) == len(set(names))


def test_what_is_derived_adds_up_figures_of_one_sort() -> None:
    for row in DERIVED:
        parts = {*row.plus, *row.minus}
        assert parts <= COUNTS or parts <= MONIES or parts <= TIMES, row.name


def test_rates_divide_known_figures_of_the_sorts_they_say() -> None:
    known = COUNTS | MONIES | {row.name for row in DERIVED}
    for rate in RATES:
        assert {rate.over, rate.under} <= known, rate.name
        sorts = is_money(rate.over), is_money(rate.under)
        assert sorts == {Of.COUNTS: (False, False), Of.MONEY: (True, False)}.get(rate.of, (True, True)), rate.name
        assert rate.bounds == (rate.of is Of.COUNTS), rate.name


def test_results_show_rates_of_what_they_show() -> None:
    shown = {*COUNTERS, *MONIES}
    derived = {row.name: {*row.plus, *row.minus} for row in DERIVED}
    for rate in RATES:
        if rate.shown & (Shown.WINDOWS | Shown.SESSIONS):
            for name in (rate.over, rate.under):
                assert derived.get(name, {name}) <= shown | TIMES, rate.name
