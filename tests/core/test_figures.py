"""The table of figures: what each reader derives from it, and that what is stored keeps its place."""

import pytest

from stream.core import figures
from stream.core.counts import Counts
from stream.core.figures import ADDED, BY_NAME, FIGURES, HEAD, PLAIN, REST, STAND_INS, UNNAMED_FIGURES, How, Shown
from stream.core.pure.counts import Counts as PureCounts

NAMES = """
impressions views product_impressions product_clicks adds_to_cart likes shares follows watch_ms comments checkouts_initiated
checkouts_submitted checkouts_failed orders_paid cod_orders items_sold orders_cancelled orders_refunded samples sample_sum
peak last last_at label_at seller platform creator_at creator first_event last_event heartbeats gmv item_value
local_item_value viewers buyers sources product_clicks_by affiliate_clicks product_orders affiliate_orders events
"""
FORMAT_3 = NAMES.split()


def test_what_states_without_names_hold_keeps_its_place_for_ever() -> None:
    assert [figure.name for figure in FIGURES[: len(FORMAT_3)]] == FORMAT_3 == list(UNNAMED_FIGURES)


def test_a_figure_of_a_later_format_stands_behind_those_of_earlier_ones() -> None:
    formats = [max(figure.since, figures.UNNAMED) for figure in FIGURES]
    assert formats == sorted(formats)


def test_no_two_figures_have_one_name_and_no_two_plain_ones_are_shown_under_one() -> None:
    assert len(BY_NAME) == len(FIGURES)
    shown = [figure.shown_as for figure in FIGURES if figure.how is not How.BREAKDOWN]
    assert len(shown) == len(set(shown))


def test_what_is_latest_names_the_maximum_that_holds_its_time() -> None:
    latest = [figure for figure in FIGURES if figure.how is How.LATEST]
    assert latest
    for figure in latest:
        assert BY_NAME[figure.by].how is How.MAXIMUM, figure.name


def test_a_breakdown_that_names_the_ids_of_another_is_of_its_type() -> None:
    shared = [figure for figure in FIGURES if figure.by and figure.how is not How.LATEST]
    assert shared
    for figure in shared:
        assert figure.of == BY_NAME[figure.by].of == "Clicks", figure.name


def test_what_stands_in_for_a_figure_is_older_and_combines_alike() -> None:
    for _, name, before in STAND_INS:
        assert BY_NAME[name].how is BY_NAME[before].how, name
        assert figures.NAMES.index(before) < figures.NAMES.index(name), name
        assert BY_NAME[name].since > figures.UNNAMED, name


def test_each_figure_is_stored_once() -> None:
    first = {"gmv", "item_value", "local_item_value", "viewers", "buyers", "sources", *figures.BREAKDOWNS}
    added = {figure.name for figure in ADDED}
    assert sorted([*HEAD, *REST, *(first - added), *added]) == sorted(BY_NAME)
    assert set(HEAD) | set(REST) == set(PLAIN)


@pytest.mark.parametrize("of", [PureCounts, Counts])
def test_counts_have_every_figure_and_no_other(of: type) -> None:
    counts = of()
    for figure in FIGURES:
        value = getattr(counts, figure.name)
        assert value == figures.DEFAULTS.get(figure.name, {} if figure.how is How.MONEY else None), figure.name
        setattr(counts, figure.name, value)
    with pytest.raises(AttributeError):
        counts.veiws = 1


def test_alerts_know_sums_and_money_and_when_and_whose_they_are() -> None:
    for figure in FIGURES:
        in_column = figure.shown_as in figures.COLUMN
        in_moments = figure.name in figures.MOMENTS
        assert bool(figure.shown & Shown.ALERTS) == (in_column or in_moments), figure.name
        assert not in_column or figure.how in {How.SUM, How.MONEY}
