"""A session's slides: any span is what its slides add up to, whatever is amended, forgotten, packed and unpacked."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts.figures import EMPTY, FIELDS, Column
from stream.core.alerts.history import History, Lookback
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
