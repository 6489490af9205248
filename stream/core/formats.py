"""The format of a state: which version can read it, and which figures it holds.

A state is continued in the format in which it was found, so that the release that wrote it can go on with it again. Figures
which that format does not have are counted and shown, but not stored: after a restart they begin at nothing. `upgraded`
states are written in the newest format, and there is no way back.

What is stored only ever grows at the end of each array, in the order of `figures.FIGURES`. So an earlier format is the
newest one cut off, and there is one writer, and one place that cuts: here.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from stream.core.alerts.figures import FIELDS
from stream.core.figures import ADDED, BREAKDOWNS, FIGURES, LATE_SUMS, MOMENTS, MONIES, NAMES, REST, UNNAMED_FIGURES
from stream.core.framing import VERSION, WRITABLE
from stream.core.rates import DERIVED, RATES
from stream.core.state_format import Packed

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[Any]).decode
_REST_AT: Final = Packed.__struct_fields__.index("rest")
_LATE_AT: Final = Packed.__struct_fields__.index("late")


class Lengths(NamedTuple):
    """How much of each array that is stored belongs to the first figures."""

    fields: int
    rest: int
    sums: int
    moments: int
    monies: int
    column: int
    breakdowns: int


@cache
def lengths_of(number: int) -> Lengths:
    """Of the first so many figures."""
    kept = {figure.name for figure in FIGURES[:number]}
    shown = {figure.shown_as for figure in FIGURES[:number]}

    def count(names: Sequence[str], among: set[str] = kept) -> int:
        return sum(name in among for name in names)

    added = count([figure.name for figure in ADDED])
    return Lengths(
        fields=_LATE_AT + 1 + added,
        rest=count(REST),
        sums=count(LATE_SUMS),
        moments=count(MOMENTS),
        monies=count(MONIES),
        column=count(FIELDS, shown),
        breakdowns=count(BREAKDOWNS),
    )


class Format(NamedTuple):
    """How a state is written."""

    version: int
    """In the header of each record (core/framing.py)."""
    figures: int
    """How many it holds, from the first of `figures.FIGURES` on."""

    @property
    def is_newest(self) -> bool:
        return self == NEWEST

    @property
    def names(self) -> list[str]:
        """Of the figures it holds."""
        return NAMES[: self.figures]

    def holds(self, figure: str) -> bool:
        return NAMES.index(figure) < self.figures

    @property
    def not_kept(self) -> list[str]:
        """Figures that are shown and not stored."""
        return [figure.name for figure in FIGURES[self.figures :] if figure.shown]

    @property
    def unsure(self) -> set[str]:
        """Fields of results that need figures which are not stored: a restored state knows less of them than was written."""
        names = {figure.shown_as for figure in FIGURES[self.figures :]}
        names |= {row.name for row in DERIVED if names & {*row.plus, *row.minus}}
        return names | {rate.name for rate in RATES if names & {rate.over, rate.under}}

    def __str__(self) -> str:
        return f"{self.version}, without {', '.join(self.not_kept)}" if self.not_kept else str(self.version)

    # -- what is cut off

    def counts(self, packed: bytes) -> bytes:
        """Packed counts (`Packed`)."""
        if self.figures == NEWEST.figures:
            return packed
        lengths, counts = lengths_of(self.figures), _decode(packed)
        counts[_REST_AT] = counts[_REST_AT][: lengths.rest]
        late = counts[_LATE_AT] if len(counts) > _LATE_AT else None
        if late is not None:
            late[:3] = late[0][: lengths.sums], late[1][: lengths.moments], late[2][: lengths.monies]
        return _encode(counts[: lengths.fields])

    def named(self, ids: list[list[str]]) -> list[list[str]]:
        """The ids that a session's breakdowns name, in the order of `figures.BREAKDOWNS`."""
        return ids[: lengths_of(self.figures).breakdowns]

    @property
    def column(self) -> int:
        """How many figures of a slide the history of alerts holds."""
        return lengths_of(self.figures).column


NEWEST: Final = Format(VERSION, len(FIGURES))


def found(version: int, names: Sequence[str]) -> Format:
    """Of a state that says ``version`` and names its figures, to go on with it. One that is no longer written becomes
    the newest.
    """
    return Format(version, len(names or UNNAMED_FIGURES)) if version in WRITABLE else NEWEST
