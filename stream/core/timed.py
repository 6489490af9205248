"""What became of the records of a piece, in order, with their event times, as alignment asks for them."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final, TypeVar

T_co = TypeVar("T_co", covariant=True)
NEVER: Final = -1
"""Before any event time."""


class Timed(Sequence[T_co]):
    """One for each record."""

    __slots__ = ()
    newest_ms: int
    """How far they move their topic's clock at most: the largest event time, each as far as its broker's timestamp."""

    @abstractmethod
    def first_above(self, begin: int, limit: int) -> int:
        """The first place from ``begin`` on whose event time is above the limit; their number when there is none."""

    @abstractmethod
    def time_of(self, place: int) -> int | None:
        """The event time; None for what has none."""


class Timeless(list[Any], Timed[Any]):
    """Of topics that are counted as they come: none of them has an event time."""

    __slots__ = ("newest_ms",)

    def __init__(self, contents: Sequence[Any] = ()) -> None:
        super().__init__(contents)
        self.newest_ms = NEVER

    def first_above(self, begin: int, limit: int) -> int:  # noqa: ARG002 - none is
        return len(self)

    def time_of(self, place: int) -> int | None:  # noqa: ARG002 - none has one
        return None
