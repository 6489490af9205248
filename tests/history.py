"""A session's history written by hand: minutes of event time and what happened in them."""

from collections.abc import Mapping, Sequence

from stream.core.alerts.figures import EMPTY, FIELDS, PLACE, Column
from stream.core.policy import MINUTE
from stream.model.alerts import Rule, Severity


def column(counts: Mapping[str, int]) -> Column:
    values = [0] * len(FIELDS)
    for name, number in counts.items():
        values[PLACE[name]] = number
    return tuple(values)


class Minutes:
    """A history of one slide a minute; ``end`` is moved by hand."""

    def __init__(self, minutes: Sequence[Mapping[str, int]], first: int = 0, end: int | None = None) -> None:
        self.first = first * MINUTE
        self.end = (first + len(minutes) if end is None else end) * MINUTE
        self._columns = {(first + number) * MINUTE: column(counts) for number, counts in enumerate(minutes)}
        self._seen = [start for start, each in self._columns.items() if any(each)]
        self.asked: list[tuple[int, int]] = []

    @property
    def last_event(self) -> int:
        """In the middle of the last minute in which something was."""
        return max((start for start in self._seen if start < self.end), default=self.first) + MINUTE // 2

    def sum(self, start: int, end: int) -> Column:
        self.asked.append((start, end))
        columns = [self._columns.get(each, EMPTY) for each in range(start, end, MINUTE)]
        return tuple(map(sum, zip(*columns, strict=True))) if columns else EMPTY


def rule(
    when: str = "true",
    *,
    window: int = 5,
    baseline: int = 30,
    summary: str = "x",
    least: Mapping[str, float] | None = None,
) -> Rule:
    """Spans in minutes."""
    return Rule(
        alert="a",
        window_ms=window * MINUTE,
        baseline_ms=baseline * MINUTE,
        when=when,
        severity=Severity.PAGE,
        summary=summary,
        runbook="x",
        min=least or {},
    )
