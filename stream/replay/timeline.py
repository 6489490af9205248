"""Incidents over time as one line of text for each alert. Pure."""

from collections.abc import Sequence
from typing import Final

from stream.replay.incidents import Incident, Span

COLUMNS: Final = 60
QUIET: Final = "·"
LEVELS: Final = "▁▂▃▄▅▆▇█"


def firing(found: Sequence[Incident], span: Span, columns: int = COLUMNS) -> list[int]:
    """How many were firing, at some time, in each of so many equal parts of the span."""
    length = max(1, span.end - span.begin)
    counts = [0] * columns
    for each in found:
        first = max(0, (each.fired - span.begin) * columns // length)
        last = min(columns - 1, (min(each.until, span.end) - 1 - span.begin) * columns // length)
        for column in range(first, max(first, last) + 1):
            counts[column] += 1
    return counts


def line(counts: Sequence[int]) -> str:
    """A dot where none was firing, else a bar; the tallest is the most there were at once."""
    most = max(counts, default=0)
    return "".join(LEVELS[(count * len(LEVELS) - 1) // most] if count else QUIET for count in counts)
