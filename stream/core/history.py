"""What a session did, slide by slide, on time: as running sums, so that any span is the difference of two of them.

A slide without events has no entry. Only as much is kept as rules may ask for, packed: some 50 bytes a slide.
"""

from array import array
from bisect import bisect_left, bisect_right
from operator import add, sub
from typing import Final

import msgspec

from stream.core.figures import EMPTY, Column
from stream.model.money import MAX_SUM

AT_ONCE: Final = 8
"""Slides that are forgotten at a time."""

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
    """Of one session. Times are ends of slides, in ms. The columns lie in one run of bytes: thousands are held."""

    __slots__ = ("_cuts", "_ends", "_sums", "begun", "known")

    def __init__(self, begun: int) -> None:
        self.begun = begun
        """Start of the session's first slide."""
        self.known = begun
        """Nothing is known any more of what was before."""
        self._ends: array[int] = array("q")
        self._sums = b""
        """What came before each of these ends, from the beginning on, one packed column after the other."""
        self._cuts: array[int] = array("I")
        """Where each of them ends."""

    def __len__(self) -> int:
        return len(self._ends)

    def stored(self) -> tuple[int, int, bytes, bytes, bytes]:
        """For the state; `recalled` makes it a history again."""
        return self.begun, self.known, self._ends.tobytes(), self._cuts.tobytes(), self._sums

    @classmethod
    def recalled(cls, begun: int, known: int, ends: bytes, cuts: bytes, sums: bytes) -> "History":
        history = cls(begun)
        history.known = known
        history._ends.frombytes(ends)
        history._cuts.frombytes(cuts)
        history._sums = sums
        return history

    def _packed(self, place: int) -> bytes:
        return self._sums[self._cuts[place - 1] if place else 0 : self._cuts[place]]

    def through(self, time: int) -> Column:
        """Everything before ``time``, which must not lie before `known`."""
        place = bisect_right(self._ends, time)
        return _unpack(self._packed(place - 1)) if place else EMPTY

    def note(self, end: int, column: Column) -> bool:
        """What a slide holds, again when that has changed; False when it is what it was, or too long ago."""
        if end <= self.known:
            return False
        if self._ends and end <= self._ends[-1]:
            return self._amend(end, column)
        self._append(end, _pack(tuple(map(add, self.through(end), column))))
        return True

    def _append(self, end: int, packed: bytes) -> None:
        self._ends.append(end)
        self._sums += packed
        self._cuts.append(len(self._sums))

    def _amend(self, end: int, column: Column) -> bool:
        before = self.through(end - 1)
        was = tuple(map(sub, self.through(end), before))
        if was == column:
            return False
        change = tuple(map(sub, column, was))
        place = bisect_left(self._ends, end)
        later = [(each, self.through(each)) for each in self._ends[place:]]
        if later[0][0] != end:
            later.insert(0, (end, before))
        self._keep(0, place)
        for each, sums in later:
            self._append(each, _pack(tuple(map(add, sums, change))))
        return True

    def begin(self, start: int) -> None:
        """A slide before the first, which is heard of only now."""
        if start < self.begun == self.known:
            self.begun = self.known = start

    def forget(self, until: int) -> None:
        """What was before ``until``, but for its sum; several at a time."""
        if until <= self.known:
            return
        self.known = until
        useless = bisect_right(self._ends, until) - 1
        if useless >= AT_ONCE:
            self._keep(useless, len(self._ends))

    def _keep(self, first: int, last: int) -> None:
        begin = self._cuts[first - 1] if first else 0
        self._sums = self._sums[begin : self._cuts[last - 1] if last else 0]
        self._ends = self._ends[first:last]
        self._cuts = array("I", [cut - begin for cut in self._cuts[first:last]])


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
