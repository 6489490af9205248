"""A session's slides: any span is what its slides add up to, whatever is amended, forgotten, packed and unpacked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts.figures import EMPTY, FIELDS, Column
from stream.core.alerts.history import History, Lookback
from stream.core.alerts.rules import LONGEST
from stream.core.alerts.session_state import SessionState, pack_session_state, unpack_session_state
from stream.core.formats import NEWEST
from stream.model.money import MAX_SUM

SLIDE = 10


def column(number: int, money: int = 0) -> Column:
    return tuple(money if name == "gmv_minor" else number for name in FIELDS)


columns = st.builds(column, st.integers(0, 5), st.sampled_from((0, 1, 10**13, MAX_SUM)))
slides = st.dictionaries(st.integers(1, 12).map(lambda n: n * SLIDE), columns, min_size=1)


def plain(slides_: dict[int, Column], start: int, end: int) -> Column:
    inside = [each for at, each in slides_.items() if start < at <= end]
    return tuple(min(sum(values), MAX_SUM) for values in zip(*inside, strict=True)) if inside else EMPTY


def kept(history: History) -> History:
    """As a restart finds it."""
    return unpack_session_state(b"s", pack_session_state(SessionState(b"s", history), NEWEST)).history


@given(slides, st.lists(st.tuples(st.integers(1, 12).map(lambda n: n * SLIDE), columns)), st.integers(0, 12))
def test_every_span_is_the_sum_of_its_slides_however_they_came(
    content: dict[int, Column], amended: list[tuple[int, Column]], forgotten: int
) -> None:
    history = History(0, SLIDE)
    for end in sorted(content):
        assert history.note(end, content[end])
    for end, changed in amended:
        history.note(end, changed)
        content[end] = changed
    history.forget(forgotten * SLIDE)
    history = kept(history)
    lookback = Lookback(history, 120, 0)
    assert lookback.first == forgotten * SLIDE
    times = range(forgotten * SLIDE, 121, SLIDE)
    for start in times:
        for end in times:
            if start <= end:
                assert lookback.sum(start, end) == plain(content, start, end)


def test_what_was_noted_already_is_no_news_and_what_is_forgotten_is_not_amended() -> None:
    history = History(0, SLIDE)
    for end in (10, 20, 30, 40):
        assert history.note(end, column(1))
        assert not history.note(end, column(1))
    history.forget(20)
    assert not history.note(20, column(5))
    assert not history.note(10, column(5))
    assert history.note(30, column(5))
    assert Lookback(history, 40, 0).sum(20, 40) == column(6)
    assert Lookback(history, 40, 0).sum(0, 40) == column(6), "nothing is known from before 20"


def test_a_first_slide_that_is_heard_of_later_begins_the_history() -> None:
    history = History(20, SLIDE)
    history.note(30, column(1))
    history.begin(10)
    history.note(20, column(2))
    lookback = Lookback(history, 30, 0)
    assert (lookback.first, lookback.sum(10, 30), lookback.sum(0, 20)) == (10, column(3), column(2))


def test_little_is_kept_of_what_was_before() -> None:
    history = History(0, SLIDE)
    for end in range(10, 1000, SLIDE):
        history.note(end, column(3))
        history.forget(end - 50)
        assert len(history) <= 5


def test_money_that_has_saturated_in_every_slide_can_be_kept_and_told_apart() -> None:
    history = History(0, SLIDE)
    for end in range(10, 60, SLIDE):
        history.note(end, column(MAX_SUM, MAX_SUM))
    lookback = Lookback(kept(history), 50, 0)
    assert lookback.sum(30, 50) == column(MAX_SUM, MAX_SUM)


def test_the_largest_column_there_can_be_is_kept() -> None:
    history = History(0, SLIDE)
    largest = (MAX_SUM,) * len(FIELDS)
    assert history.note(SLIDE, largest)
    assert Lookback(kept(history), SLIDE, 0).sum(0, SLIDE) == largest


def test_slides_without_events_hardly_take_room_however_many() -> None:
    history = History(0, SLIDE)
    history.note(SLIDE, column(1))
    history.note(1000 * SLIDE, column(2))
    assert len(pack_session_state(SessionState(b"s", history), NEWEST)) < 2200
    assert Lookback(kept(history), 1000 * SLIDE, 0).sum(0, 1000 * SLIDE) == column(3)
    history.forget(1100 * SLIDE)
    assert (len(history), Lookback(history, 1200 * SLIDE, 0).sum(0, 1200 * SLIDE)) == (0, column(0))
    assert history.note(1102 * SLIDE, column(4))
    assert Lookback(history, 1200 * SLIDE, 0).sum(1101 * SLIDE, 1102 * SLIDE) == column(4)


def test_sizes_are_kept_as_bytes_as_long_as_each_fits_into_one() -> None:
    """As earlier versions read them. The longest column has 247 now; later versions have more figures."""
    assert [History(0, SLIDE, 0, b"", (size, 3)).stored()[-1] for size in (255, 256)] == [b"\xff\x03", [256, 3]]
    assert History(0, SLIDE).stored()[-1] == b""


def test_across_a_gap_longer_than_any_rule_looks_back_nothing_is_kept() -> None:
    slide = LONGEST // 4
    history = History(slide, slide)
    history.note(2 * slide, column(1))
    history.note(2 * slide + LONGEST, column(2))
    assert (history.known, history.end, len(history)) == (slide, 2 * slide + LONGEST, 5)
    history.note(3 * slide + 2 * LONGEST, column(3))
    assert (history.known, history.end, len(history)) == (2 * slide + 2 * LONGEST, 3 * slide + 2 * LONGEST, 1)
    assert history.columns(0) == [column(3)]
    assert history.begun == slide


@pytest.mark.parametrize(("earlier", "begun"), [(0, 0), (1, 0), (4, 0), (5, 5)])
def test_a_history_begins_earlier_by_no_more_than_a_rule_looks_back(earlier: int, begun: int) -> None:
    slide = LONGEST // 4
    history = History(5 * slide, slide)
    history.note(6 * slide, column(1))
    history.begin((5 - earlier) * slide)
    expected = (5 - earlier) * slide if earlier < 5 else begun * slide
    assert (history.begun, history.known) == (expected, expected)
    assert (history.end, history.columns(0)[-1]) == (6 * slide, column(1))


def test_what_is_forgotten_does_not_come_back_by_an_earlier_beginning() -> None:
    history = History(20, SLIDE)
    for end in (30, 40, 50):
        history.note(end, column(end))
    history.forget(30)
    assert (len(history), history.known, history.columns(0)) == (2, 30, [column(40), column(50)])
    history.forget(40)
    assert (len(history), history.known, history.columns(0)) == (1, 40, [column(50)])
    history.begin(10)
    assert (history.begun, history.known, len(history)) == (20, 40, 1)


def test_a_new_broadcast_begins_with_its_first_slide() -> None:
    for start, known in ((30, [column(4), column(5)]), (60, [])):
        history = History(0, SLIDE)
        for end in (10, 40, 50):
            history.note(end, column(end // SLIDE))
        history.restart(start)
        assert (history.begun, history.known, history.columns(0)) == (start, start, known)
        assert history.end == start + len(known) * SLIDE
        assert history.note(70, column(7))
        assert history.columns(0)[-1] == column(7)


def test_columns_are_given_from_any_place_on() -> None:
    history = History(0, SLIDE)
    for end in (10, 30):
        history.note(end, column(end))
    assert [history.columns(place) for place in range(5)] == [
        [column(10), (), column(30)],
        [(), column(30)],
        [column(30)],
        [],
        [],
    ]


def test_for_a_version_that_knew_fewer_figures_the_rest_is_cut_off() -> None:
    history = History(0, SLIDE)
    for end in (10, 30):
        history.note(end, tuple(range(end, end + len(FIELDS))))
    cut = History(*history.stored(3))
    assert (cut.begun, cut.slide, cut.known, cut.end) == (0, SLIDE, 0, 30)
    assert cut.columns(0) == [(10, 11, 12), (), (30, 31, 32)]
    assert cut.is_whole()
    assert Lookback(cut, 30, 0).sum(0, 30) == (40, 42, 44, *EMPTY[3:])


def test_what_was_put_together_of_something_else_is_not_whole() -> None:
    assert History(0, 1).is_whole()
    history = History(0, SLIDE)
    history.note(20, column(1))
    _, _, _, columns, sizes = history.stored()
    assert History(0, SLIDE, 0, columns, sizes).is_whole()
    for wrong in (
        History(0, 0, 0, columns, sizes),
        History(0, -1, 0, columns, sizes),
        History(0, SLIDE, 0, columns + b"\x90", sizes),
        History(0, SLIDE, 0, columns[:-1], sizes),
        History(0, SLIDE, 0, b"\xa1\xff", (2,)),
        History(0, SLIDE, 0, b"\x90\x90", (2,)),
    ):
        assert not wrong.is_whole()


def test_it_is_looked_back_from_the_end_of_a_slide() -> None:
    history = History(20, SLIDE)
    history.note(30, column(1))
    lookback = Lookback(history, 40, 37)
    assert (lookback.first, lookback.end, lookback.last_event) == (20, 40, 37)
