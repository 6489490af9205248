"""Incidents over time as a line of text."""

from stream.model.alerts import Severity
from stream.replay.incidents import Incident, Span
from stream.replay.timeline import firing, line

SPAN = Span(1000, 2000)


def incident(fired: int, resolved: int | None) -> Incident:
    return Incident("a", "7", "s1", Severity.PAGE, fired, fired, resolved, "", {}, {}, f"{fired}")


def test_each_part_of_the_span_says_how_many_were_firing_in_it() -> None:
    found = [incident(1100, 1300), incident(1250, 1300), incident(900, 1001), incident(1900, None)]
    assert firing(found, SPAN, 10) == [1, 1, 2, 0, 0, 0, 0, 0, 0, 1]


def test_an_incident_shorter_than_a_column_is_seen() -> None:
    assert firing([incident(1999, None), incident(1550, 1551)], SPAN, 10) == [0, 0, 0, 0, 0, 1, 0, 0, 0, 1]


def test_an_empty_span_has_a_line_as_well() -> None:
    assert firing([incident(1000, None)], Span(1000, 1000), 3) == [1, 0, 0]


def test_bars_are_as_tall_as_there_are_many() -> None:
    assert line([0, 1, 2, 4, 8]) == "·▁▂▄█"
    assert line([0, 3, 0]) == "·█·"
    assert line([0, 0]) == "··"
