"""Dead letters in figures: groups of those that are alike, and how many there were when. Pure, and of bounded size."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from stream.core.policy import DAY, HOUR, MINUTE
from stream.dlq.letters import Letter

MOST_GROUPS: Final = 500
"""A stranger may write any detail; the letters of further groups are one number."""
MOST_SPANS: Final = 48
"""Of time; when there are more they become wider."""
_WIDTHS: Final = (
    *(MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR),
    *(DAY, 7 * DAY, 28 * DAY, 364 * DAY, 3640 * DAY),
)
_NUMBERS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest letter of a group: where it lies, and its detail with its own numbers."""

    place: str
    written: int
    detail: str


@dataclass(slots=True)
class Group:
    """Letters of one reason, topic and detail. Times are those of `Letter.time`, in ms."""

    reason: str
    topic: str
    detail: str
    """With N in place of each number."""
    letters: int
    records: int
    """More than letters, where some stand for a batch."""
    first: int
    last: int
    sample: Sample


@dataclass(frozen=True, slots=True)
class Span:
    """How many letters have a time in it, ``[start, end)`` in ms."""

    start: int
    end: int
    letters: int


class Histogram:
    """Numbers by time, in spans as narrow as `MOST_SPANS` of them allow."""

    def __init__(self) -> None:
        self._widths = iter(_WIDTHS)
        self._width = next(self._widths)
        self._counts: Counter[int] = Counter()

    def add(self, time_ms: int) -> None:
        self._counts[time_ms // self._width] += 1
        while len(self._counts) > MOST_SPANS:
            self._widen()

    def _widen(self) -> None:
        before, self._width = self._width, next(self._widths)
        counts = Counter[int]()
        for place, number in self._counts.items():
            counts[place * before // self._width] += number
        self._counts = counts

    def spans(self) -> list[Span]:
        """In order; those without a letter are left out."""
        width = self._width
        return [Span(place * width, (place + 1) * width, number) for place, number in sorted(self._counts.items())]


@dataclass(slots=True)
class Groups:
    """All letters that were given to `add`."""

    letters: int = 0
    rest: int = 0
    """Letters of groups beyond `MOST_GROUPS`."""
    _groups: dict[tuple[str, str, str], Group] = field(default_factory=dict)
    _times: Histogram = field(default_factory=Histogram)

    def add(self, letter: Letter) -> None:
        self.letters += 1
        time = letter.time()
        self._times.add(time)
        key = (letter.reason, letter.origin.topic, _NUMBERS.sub("N", letter.detail))
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) == MOST_GROUPS:
                self.rest += 1
                return
            group = self._groups[key] = Group(*key, 0, 0, time, time, _sample(letter))
        group.letters += 1
        group.records += letter.records or 1
        group.first, group.last = min(group.first, time), max(group.last, time)
        if letter.written >= group.sample.written:
            group.sample = _sample(letter)

    def groups(self) -> list[Group]:
        """The largest first."""
        return sorted(self._groups.values(), key=lambda each: (-each.letters, each.reason, each.topic, each.detail))

    def spans(self) -> list[Span]:
        return self._times.spans()


def _sample(letter: Letter) -> Sample:
    return Sample(letter.place, letter.written, letter.detail)
