"""What a target is, and the bounds that it is held to."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random


@dataclass(frozen=True, slots=True)
class Bound:
    """What one input may take: something to begin with, and so much more for each of its bytes.

    Generous: what is meant to be found is quadratic, or a small input that becomes a large one.
    """

    seconds: float = 0.5
    """CPU."""
    seconds_a_byte: float = 5e-6
    memory: int = 64_000_000
    """Bytes more than before, at the highest."""
    memory_a_byte: float = 60.0

    def time_for(self, size: int) -> float:
        return self.seconds + size * self.seconds_a_byte

    def memory_for(self, size: int) -> float:
        return self.memory + size * self.memory_a_byte


@dataclass(frozen=True, slots=True)
class Target:
    """Something that reads what strangers wrote."""

    name: str
    make: Callable[[Random], bytes]
    """An input: mostly nearly right, so that it gets far."""
    run: Callable[[bytes], None]
    """Reads it. Whatever it raises is a finding."""
    bound: Bound = field(default_factory=Bound)


@cache
def scratch_file(suffix: str) -> Path:
    """One for the whole process, for targets that read files."""
    return Path(_folder().name) / f"input{suffix}"


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="liveshop-fuzz-")


class Input:
    """Bytes as a source of small decisions, for targets whose input is more than one value. Ends in zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        found = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return found

    def some(self) -> bytes:
        """Up to 255 bytes, their length first."""
        size = self.byte()
        begin, self._at = self._at, self._at + size
        return self._data[begin : self._at]

    def rest(self) -> bytes:
        begin, self._at = self._at, len(self._data)
        return self._data[begin:]
