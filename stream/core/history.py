"""What a session did, slide by slide, on time: as running sums, so that any span is the difference of two of them.

A slide without events has no entry. Only as much is kept as rules may ask for, packed: some 80 bytes a slide.
"""

from bisect import bisect_left, bisect_right
from operator import add, sub
from typing import Final

import msgspec

from stream.core.figures import EMPTY, Column
from stream.model.money import MAX_SUM

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, ...]).decode
_decode_large: Final = msgspec.msgpack.Decoder(tuple[int | str, ...]).decode


def _pack(column: Column) -> bytes:
    """Running sums of money may exceed 64 bits, of which each slide's own is cut to 63; they are written out."""
    try:
        return _encode(column)
    except OverflowError:
        return _encode([number if number <= MAX_SUM else str(number) for number in column])


def _unpack(data: bytes) -> Column:
    try:
        return _decode(data)
    except msgspec.ValidationError:
        return tuple(map(int, _decode_large(data)))


class History:
    """Of one session. Times are ends of slides, in ms."""

    __slots__ = ("begun", "ends", "known", "sums")

    def __init__(self, begun: int) -> None:
        self.begun = begun
        """Start of the session's first slide."""
        self.known = begun
        """Nothing is known any more of what was before."""
        self.ends: list[int] = []
        self.sums: list[bytes] = []
        """What came before each of these ends, from the beginning on."""

    def through(self, time: int) -> Column:
        """Everything before ``time``, which must not lie before `known`."""
        place = bisect_right(self.ends, time)
        return _unpack(self.sums[place - 1]) if place else EMPTY

    def note(self, end: int, column: Column) -> bool:
        """What a slide holds, again when that has changed; False when it is what it was, or too long ago."""
        if end <= self.known:
            return False
        place = bisect_left(self.ends, end)
        if place == len(self.ends):
            before = _unpack(self.sums[-1]) if self.sums else EMPTY
            self.ends.append(end)
            self.sums.append(_pack(tuple(map(add, before, column))))
            return True
        return self._amend(place, end, column)

    def _amend(self, place: int, end: int, column: Column) -> bool:
        before = _unpack(self.sums[place - 1]) if place else EMPTY
        was = tuple(map(sub, self.through(end), before))
        if was == column:
            return False
        if self.ends[place] != end:
            self.ends.insert(place, end)
            self.sums.insert(place, _pack(before))
        change = tuple(map(sub, column, was))
        self.sums[place:] = [_pack(tuple(map(add, _unpack(sums), change))) for sums in self.sums[place:]]
        return True

    def begin(self, start: int) -> None:
        """A slide before the first, which is heard of only now."""
        if start < self.begun == self.known:
            self.begun = self.known = start

    def forget(self, until: int) -> None:
        """What was before ``until``, but for its sum."""
        if until <= self.known:
            return
        self.known = until
        useless = bisect_right(self.ends, until) - 1
        if useless > 0:
            del self.ends[:useless]
            del self.sums[:useless]


class Lookback:
    """A session's history at the end of a slide, as rules ask for it: what is asked twice is computed once."""

    __slots__ = ("_history", "_spans", "_through", "end", "first", "last_event")

    def __init__(self, history: History, end: int, last_event: int) -> None:
        self.first = history.known
        """Start of the session's first slide, as far as it is known."""
        self.end = end
        self.last_event = last_event
        self._history = history
        self._through: dict[int, Column] = {}
        self._spans: dict[tuple[int, int], Column] = {}

    def sum(self, start: int, end: int) -> Column:
        """The figures of the slides in ``[start, end)``."""
        span = self._spans.get((start, end))
        if span is None:
            before, until = self._at(max(start, self.first)), self._at(max(end, self.first))
            span = self._spans[start, end] = tuple(map(sub, until, before))
        return span

    def _at(self, time: int) -> Column:
        column = self._through.get(time)
        if column is None:
            column = self._through[time] = self._history.through(time)
        return column
