"""What is remembered of sessions that were let go: up to where they had changed, and how often they were written.

A replay may be promoted days after a session is over. Whether it counted all that was counted live, and which revision
comes next, has to be known then. 48 bytes a session, packed by the day in which it was let go; a day is dropped whole.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from stream.core.cooperative import Steps
from stream.core.policy import DAY
from stream.core.state_keys import LEDGER, from_key, in_key

if TYPE_CHECKING:
    from stream.core.statelog import StateLog

HOLD_MS: Final = 7 * DAY
"""Of watermark after the day in which a session was let go."""
MOST: Final = 1_000_000
"""Sessions remembered; of more, whole days are forgotten, the oldest first."""
NOWHERE: Final = (0, 0, 0)
_ENTRY: Final = struct.Struct(">QQIIqqq")
_LONG_AGO: Final = -(2**62)
_LARGEST: Final = 2**32 - 1

Seen = tuple[int, int, int]
"""Positions of views, comments and checkouts."""


class Past(NamedTuple):
    """Of one session. ``promoted``: number of the promotion applied last, 0 for none."""

    promoted: int = 0
    revision: int = 0
    """Of its totals."""
    windows: int = 0
    """The highest revision of its windows."""
    seen: Seen = NOWHERE
    """All that it has counted lies before these positions."""

    def merged(self, other: "Past") -> "Past":
        """What both say. A promotion raises the revision, so the higher one knows of it."""
        newer = self if self.revision >= other.revision else other
        promoted = newer.promoted or self.promoted or other.promoted
        seen = tuple(map(max, self.seen, other.seen))
        return Past(promoted, newer.revision, max(self.windows, other.windows), seen)  # type: ignore[arg-type]


class Ledger:
    """By the hash of the session's key. Times are of the watermark, in ms."""

    sort = LEDGER
    """Of its buckets in the state."""

    def __init__(self) -> None:
        self.floor = _LONG_AGO
        """Nothing is known of sessions that were let go before."""
        self.stored = True
        """Whether the format of the state has it; else nothing is remembered."""
        self._days: dict[int, bytearray] = {}
        self._fresh: dict[int, bytearray] = {}
        """Noted since the last checkpoint."""

    def __len__(self) -> int:
        return sum(map(len, self._days.values())) // _ENTRY.size

    def note(self, hashed: int, past: Past, now: int) -> None:
        """A session is let go."""
        if not self.stored:
            self.floor = max(self.floor, now)
            return
        entry = _ENTRY.pack(
            hashed, past.promoted, min(past.revision, _LARGEST), min(past.windows, _LARGEST), *past.seen
        )
        for into in (self._days, self._fresh):
            into.setdefault(now // DAY, bytearray()).extend(entry)

    def find(self, hashed: int) -> Past | None:
        """What is known of a session, however often it was let go. It looks through all: 5 ms for 500,000."""
        sought, found = hashed.to_bytes(8, "big"), None
        for entries in self._days.values():
            place = entries.find(sought)
            while place >= 0:
                if place % _ENTRY.size == 0:
                    _, promoted, revision, windows, *seen = _ENTRY.unpack_from(entries, place)
                    past = Past(promoted, revision, windows, (seen[0], seen[1], seen[2]))
                    found = past if found is None else found.merged(past)
                place = entries.find(sought, place + 1)
        return found

    # -- the state

    def retire(self, log: "StateLog", now: int | None) -> Steps[None]:
        """Drops days that are over, and the oldest while there are too many."""
        for day in sorted(self._days):
            is_over = now is not None and (day + 1) * DAY + HOLD_MS <= now
            if not is_over and len(self) <= MOST:
                return
            del self._days[day]
            self._fresh.pop(day, None)
            self.floor = max(self.floor, (day + 1) * DAY)
            log.drop_bucket(LEDGER + in_key(day))
            yield

    def additions(self, _log: "StateLog") -> Iterator[tuple[bytes, bytes]]:
        """What is new."""
        fresh, self._fresh = self._fresh, {}
        for day, entries in fresh.items():
            yield LEDGER + in_key(day), bytes(entries)

    def restore(self, bucket: bytes, chunks: Iterable[bytes]) -> None:
        """Raises ValueError for what is cut off."""
        entries = b"".join(chunks)
        if len(entries) % _ENTRY.size:
            raise ValueError("the ledger of sessions that were let go is cut off")
        self._days[from_key(bucket[1:])] = bytearray(entries)
