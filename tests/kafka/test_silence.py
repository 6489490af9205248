"""When a topic is left out, and when the wall clock is looked at."""

from stream.kafka.silence import Silence
from stream.model.names import KINDS, Kind


def test_a_caught_up_topic_falls_silent_once_after_its_time() -> None:
    silence = Silence(idle_after=5.0)
    assert silence.fallen_silent(100.0, lambda _: True) == []
    assert silence.fallen_silent(104.9, lambda _: True) == []
    assert silence.fallen_silent(105.0, lambda _: True) == list(KINDS)
    assert silence.fallen_silent(106.0, lambda _: True) == []


def test_a_record_begins_the_wait_anew() -> None:
    silence = Silence(idle_after=5.0)
    silence.fallen_silent(100.0, lambda _: True)
    silence.heard(Kind.VIEWS)
    assert silence.fallen_silent(105.0, lambda _: True) == [Kind.COMMENTS, Kind.CHECKOUTS]
    assert silence.fallen_silent(110.0, lambda _: True) == [Kind.VIEWS]


def test_a_topic_with_records_to_read_is_not_silent() -> None:
    silence = Silence(idle_after=5.0)
    for now in (100.0, 105.0, 110.0):
        assert Kind.VIEWS not in silence.fallen_silent(now, lambda kind: kind is not Kind.VIEWS)
    assert not silence.is_quiet(110.0)


def test_the_wall_clock_is_looked_at_once_a_second_while_all_are_silent() -> None:
    silence = Silence(idle_after=5.0)
    assert not silence.is_quiet(100.0)
    silence.fallen_silent(100.0, lambda _: True)
    silence.fallen_silent(105.0, lambda _: True)
    assert [silence.is_quiet(now) for now in (105.0, 105.5, 106.0, 106.1)] == [True, False, True, False]
    silence.heard(Kind.CHECKOUTS)
    assert not silence.is_quiet(120.0)
