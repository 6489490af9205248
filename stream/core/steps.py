"""Work cut into steps: a generator that yields between them and returns the result.

Whoever drives it may look at the clock after each step, and let others go first. A step is at most a few ms.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]


def drained(steps: Steps[T]) -> T:
    """All steps in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
