"""What a session did, slide by slide, on time, as rules ask for it: the sum of any span of slides.

Only as much is kept as rules may ask for, packed one column after the other in one run of bytes: some 30 bytes a slide,
a slide without events one. Thousands of sessions are held, and each goes into the state anew with every slide.
"""

from array import array
from collections.abc import Sequence
from typing import Final

import msgspec

from stream.core.alerts.figures import EMPTY, Column, added
from stream.core.alerts.rules import LONGEST

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[tuple[int, ...]]).decode
NOTHING: Final = _encode(())
BYTE: Final = 255
_WIDE: Final = "H"
"""Of sizes in memory: two bytes are enough for 7,000 figures."""
_NOTHING_SIZE: Final = array(_WIDE, (len(NOTHING),))
Stored = tuple[int, int, int, bytes, bytes | list[int]]
"""As the state has it. Sizes are one byte each, as earlier versions read them, while each column is that small."""


class History:
    """Of one session. Times in ms; a slide goes by its end."""

    __slots__ = ("_columns", "_sizes", "begun", "known", "slide")

    def __init__(
        self, begun: int, slide: int, known: int | None = None, columns: bytes = b"", sizes: Sequence[int] = ()
    ) -> None:
        self.begun = begun
        """Start of the session's first slide."""
        self.slide = slide
        self.known = begun if known is None else known
        """Nothing is known any more of what was before: the columns begin here."""
        self._columns = columns
        self._sizes = array(_WIDE, list(sizes))
        """Bytes of each column: the longest has 9 a figure and 3 more."""

    def __len__(self) -> int:
        return len(self._sizes)

    def stored(self, most: int = len(EMPTY)) -> Stored:
        """For the state: what makes it again. Of each slide ``most`` figures, as many as an earlier version knew."""
        columns, sizes = self._columns, self._sizes.tolist()
        if most < len(EMPTY):
            packed = [_encode(column[:most]) for column in self.columns(0)]
            columns, sizes = b"".join(packed), list(map(len, packed))
        return self.begun, self.slide, self.known, columns, sizes if max(sizes, default=0) > BYTE else bytes(sizes)

    def is_whole(self) -> bool:
        """Whether a restored one can be read; false for one that was put together from something else."""
        try:
            return self.slide > 0 and sum(self._sizes) == len(self._columns) and bool(self.columns(0)) == bool(self)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return False

    @property
    def end(self) -> int:
        """Of the newest slide that is known."""
        return self.known + len(self._sizes) * self.slide

    def columns(self, place: int) -> list[Column]:
        """From this place on."""
        packed = self._columns[sum(self._sizes[:place]) :]
        return _decode(b"\xdd" + max(0, len(self._sizes) - place).to_bytes(4, "big") + packed)

    def note(self, end: int, column: Column) -> bool:
        """What a slide holds, again when that has changed; False when it is what it was, or too long ago."""
        if end <= self.known:
            return False
        if end - self.end > LONGEST:
            self.forget(end - self.slide)  # no rule looks back across such a gap
        place = (end - self.known) // self.slide - 1
        between = place - len(self._sizes)
        if between < 0:
            return self._amend(place, _encode(column))
        packed = NOTHING * between + _encode(column)
        self._columns += packed
        self._sizes += _NOTHING_SIZE * between
        self._sizes.append(len(packed) - between)
        return True

    def _amend(self, place: int, packed: bytes) -> bool:
        start = sum(self._sizes[:place])
        end = start + self._sizes[place]
        if self._columns[start:end] == packed:
            return False
        self._columns = self._columns[:start] + packed + self._columns[end:]
        self._sizes[place] = len(packed)
        return True

    def begin(self, start: int) -> None:
        """A slide before the first, which is heard of only now. One that no rule could look back to is left alone."""
        if self.begun - LONGEST <= start < self.begun == self.known:
            before = (self.begun - start) // self.slide
            self._columns = NOTHING * before + self._columns
            self._sizes = _NOTHING_SIZE * before + self._sizes
            self.begun = self.known = start

    def restart(self, start: int) -> None:
        """A new broadcast begins with this slide. What is known from there on is of it."""
        if start < self.end:
            self.forget(start)
        else:
            self.known, self._columns, self._sizes = start, b"", array(_WIDE)
        self.begun = start

    def forget(self, until: int) -> None:
        """What was before ``until``."""
        if until <= self.known:
            return
        gone = (until - self.known) // self.slide
        self._columns = self._columns[sum(self._sizes[:gone]) :]
        self._sizes = self._sizes[gone:]
        self.known = until


class Lookback:
    """A session's history at the end of a slide, as rules ask for it: what is asked twice is computed once."""

    __slots__ = ("_columns", "_from", "_history", "_spans", "end", "first", "last_event")

    def __init__(self, history: History, end: int, last_event: int) -> None:
        self.first = history.known
        """Start of the session's first slide, as far as it is known."""
        self.end = end
        self.last_event = last_event
        self._history = history
        self._from = len(history)
        self._columns: list[Column] = []
        """From that place on; most rules look back no further than their windows."""
        self._spans: dict[tuple[int, int], Column] = {}

    def sum(self, start: int, end: int) -> Column:
        """The figures of the slides in ``[start, end)``."""
        span = self._spans.get((start, end))
        if span is None:
            slide = self._history.slide
            span = self._sum(max(0, (start - self.first) // slide), max(0, (end - self.first) // slide))
            self._spans[start, end] = span
        return span

    def _sum(self, first: int, last: int) -> Column:
        if first < self._from:
            self._columns, self._from = self._history.columns(first), first
        columns = [column for column in self._columns[first - self._from : last - self._from] if column]
        if len(columns) == 1 and len(columns[0]) == len(EMPTY):
            return columns[0]
        return added(columns) if columns else EMPTY
