"""When a topic is left out, and when the wall clock is looked at."""

from stream.core.silence import OVER_AFTER, Hidden, LeftOut, Silence
from stream.model.names import KINDS, Kind


def test_a_caught_up_topic_falls_silent_once_after_its_time() -> None:
    silence = Silence(KINDS, idle_after=5.0)
    assert silence.fallen_silent(100.0, KINDS) == []
    assert silence.fallen_silent(104.9, KINDS) == []
    assert silence.fallen_silent(105.0, KINDS) == list(KINDS)
    assert silence.fallen_silent(106.0, KINDS) == []


def test_a_record_begins_the_wait_anew() -> None:
    silence = Silence(KINDS, idle_after=5.0)
    silence.fallen_silent(100.0, KINDS)
    silence.heard(Kind.VIEWS)
    assert silence.fallen_silent(105.0, KINDS) == [Kind.COMMENTS, Kind.CHECKOUTS]
    assert silence.fallen_silent(110.0, KINDS) == [Kind.VIEWS]


def test_a_topic_with_records_to_read_is_not_silent() -> None:
    silence = Silence(KINDS, idle_after=5.0)
    for now in (100.0, 105.0, 110.0):
        assert Kind.VIEWS not in silence.fallen_silent(now, (Kind.COMMENTS, Kind.CHECKOUTS))
    assert not silence.is_quiet(110.0)


def test_the_wall_clock_is_looked_at_once_a_second_while_all_are_silent() -> None:
    silence = Silence(KINDS, idle_after=5.0)
    assert not silence.is_quiet(100.0)
    silence.fallen_silent(100.0, KINDS)
    silence.fallen_silent(105.0, KINDS)
    assert [silence.is_quiet(now) for now in (105.0, 105.5, 106.0, 106.1)] == [True, False, True, False]
    silence.heard(Kind.CHECKOUTS)
    assert not silence.is_quiet(120.0)


def test_topics_that_are_far_behind_are_as_good_as_silent() -> None:
    """A trickle of old events on one must not keep the others' last windows open."""
    silence = Silence(KINDS, idle_after=5.0)
    silence.fallen_silent(100.0, KINDS)
    silence.heard(Kind.COMMENTS)
    silence.fallen_silent(105.0, KINDS)
    assert not silence.is_quiet(106.0)
    assert silence.is_quiet(106.0, {Kind.COMMENTS})
    assert not silence.is_quiet(108.0, {Kind.VIEWS})


def test_a_topic_left_out_is_told_of_once_and_again_when_that_is_over_for_good() -> None:
    left_out = LeftOut[Kind]()
    assert left_out.changes(100.0, []) == []
    assert left_out.changes(101.0, [Kind.VIEWS]) == [(Kind.VIEWS, True)]
    for now in range(102, 200):  # in and out by turns
        assert left_out.changes(now, [Kind.VIEWS][: now % 2]) == []
    assert left_out.changes(199.0 + OVER_AFTER - 1, []) == []
    assert left_out.changes(199.0 + OVER_AFTER, []) == [(Kind.VIEWS, False)]
    assert left_out.changes(300.0, [Kind.VIEWS]) == [(Kind.VIEWS, True)]


def test_what_hides_records_is_one_transaction_that_does_not_end_not_always_another() -> None:
    hidden = Hidden[Kind]()
    assert [hidden.seconds(Kind.VIEWS, begin, now) for now, begin in enumerate((10, 20, 30))] == [0, 0, 0]
    assert [hidden.seconds(Kind.VIEWS, 30, now) for now in (5, 60)] == [3, 58]
    assert hidden.seconds(Kind.COMMENTS, 30, 61) == 0, "each topic by itself"
    assert hidden.seconds(Kind.VIEWS, None, 61) == 0
    assert hidden.seconds(Kind.VIEWS, 30, 62) == 0
