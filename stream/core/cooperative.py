"""Work cut into steps: a generator that yields between them and returns the result.

Whoever drives it may look at the clock after each step, and let others go first. A step is at most a few ms.
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]

PIECE: Final = 32
"""Panes or sessions handled in one step: at up to 20 us each."""


def pieces(items: Iterable[T], size: int = PIECE) -> Iterator[list[T]]:
    """To be handled a piece at a step, where each item is too little to stop after."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece


def drained(steps: Steps[T]) -> T:
    """All steps in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
