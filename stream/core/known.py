"""Which sessions a topic knows, and which it admits: the bound on everything that is held by session.

Ids of sessions come from strangers, who can make up millions. So a topic admits only so many new ones a pane, and knows
only so many. It decides by its own records and its own clock alone: what is refused is a function of one log, whatever
the interleaving, the batches and the restarts. Each topic decides for itself; what one refuses another may know.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import numpy as np

from stream.core.cooperative import Steps
from stream.core.figures import NEVER
from stream.core.hashtable import HashTable
from stream.core.policy import HOUR, Policy
from stream.core.state_keys import KNOWN, from_key, in_key

if TYPE_CHECKING:
    from stream.core.statelog import StateLog

ENTRY: Final = 16
"""Bytes of an entry in the state: a hash, and the start of a pane."""
PIECE: Final = 4_096
"""Numbers that are taken out of packed entries at a time: an even one."""
SLACK: Final = 256
"""Entries of an hour that may be out of date in the state before its bucket is written anew."""
_NEVER: Final = -(2**62)
"""Before any pane."""


class Known:
    """The sessions that one topic knows, as 64-bit hashes of their keys: 32 bytes each at most.

    One is known until the topic's clock has come to the end of the latest pane that counted an event of it + ``known_ms``
    of the policy. Times are in ms; ``clock`` is always the topic's own.
    """

    def __init__(self, policy: Policy, sort: bytes = KNOWN) -> None:
        """``sort`` of its buckets in the state."""
        self.sort = sort
        self._pane_ms = policy.pane_ms
        self._bound_ms = policy.bound_ms
        self._lasts = policy.pane_ms + policy.known_ms
        """From the start of its latest pane until a session is not known any more."""
        self._max_new, self._max = policy.max_new_sessions, policy.max_sessions
        self.admitted: dict[int, int] = {}
        """Sessions admitted, by the start of the pane; of panes that may still admit some."""
        self._latest = HashTable()
        """Start of the latest pane, also of some that are not known any more."""
        self._number = 0
        """Of those known when `_expire` was called last."""
        self._ages: dict[int, int] = {}
        """How many of those have their latest pane here."""
        self._starts: list[int] = []
        """The keys of ``_ages``, a heap."""
        self._fresh: dict[int, int] = {}
        """Noted since the last checkpoint."""
        self._written: dict[int, int] = {}
        """Entries in the state, by hour of their pane."""

    def number(self, clock: int) -> int:
        """How many are known."""
        self._expire(clock)
        return self._number

    def refusal(self, hashed: int, start: int, clock: int) -> str | None:
        """Why an event of a session in the pane that begins at ``start`` is refused; None when it is not."""
        if self._latest.get(hashed, _NEVER) + self._lasts > clock:
            return None
        self._expire(clock)
        if self.admitted.get(start, 0) >= self._max_new:
            return f"session_id: not known, and its topic has admitted max_new_sessions ({self._max_new}) in its pane"
        if self._number >= self._max:
            return f"session_id: not known, and its topic knows max_sessions ({self._max})"
        return None

    def note(self, hashed: int, start: int, clock: int) -> None:
        """An event of a session that is not refused is counted in the pane that begins at ``start``."""
        before = self._latest.get(hashed, _NEVER)
        if before + self._lasts > clock:
            if before >= start:
                return
            self._ages[before] -= 1
        else:
            self._expire(clock)
            self._admit(start, clock)
        self._latest.put(hashed, start)
        if start in self._ages:
            self._ages[start] += 1
        else:
            self._begin(start)
        self._fresh[hashed] = start

    def adopt(self, hashed: int, start: int, clock: int) -> None:
        """One that is held by a state which does not say who is known."""
        if start + self._lasts > clock > self._latest.get(hashed, _NEVER) + self._lasts:
            self._number += 1
            self._put(hashed, start)
            self._fresh[hashed] = start

    def _admit(self, start: int, clock: int) -> None:
        self._number += 1
        if start not in self.admitted:
            over = [pane for pane in self.admitted if pane + self._pane_ms + self._bound_ms <= clock]
            for pane in over:  # whatever comes for it is late
                del self.admitted[pane]
        self.admitted[start] = self.admitted.get(start, 0) + 1

    def _put(self, hashed: int, start: int) -> None:
        self._latest.put(hashed, start)
        if start in self._ages:
            self._ages[start] += 1
        else:
            self._begin(start)

    def _begin(self, start: int) -> None:
        """The first one whose latest pane is this."""
        self._ages[start] = 1
        heappush(self._starts, start)

    def _expire(self, clock: int) -> None:
        """Those of a pane at a time; their hashes are swept away once they are half of all."""
        starts = self._starts
        while starts and starts[0] + self._lasts <= clock:
            self._number -= self._ages.pop(heappop(starts))
        if len(self._latest) > 2 * self._number + SLACK:
            self._latest.forget_below(clock - self._lasts + 1)

    # -- the state

    def retire(self, log: "StateLog", clock: int | None) -> Steps[None]:
        """Drops the hours of which nobody is known any more."""
        now = NEVER if clock is None else clock
        over = [hour for hour in self._written if (hour + 1) * HOUR + self._lasts <= now]
        for hour in over:
            del self._written[hour]
            log.drop_bucket(self.sort + in_key(hour))
        yield from ()

    def additions(self, log: "StateLog") -> Iterator[tuple[bytes, bytes]]:
        """What was noted since the last call, as (bucket of an hour, packed entries).

        Sessions on air move from pane to pane: an hour is written anew before most of it is out of date.
        """
        hashes = np.fromiter(self._fresh.keys(), np.uint64, len(self._fresh))
        starts = np.fromiter(self._fresh.values(), np.int64, len(self._fresh))
        self._fresh = {}
        hours = starts // HOUR
        for hour in sorted(set(hours.tolist())):  # `np.unique` imports numpy.ma: 10 ms, in the midst of a checkpoint
            chosen = hours == hour
            entries = np.stack((hashes[chosen], starts[chosen].view(np.uint64)), axis=1).tobytes()
            is_whole = self._written.get(hour, 0) + len(entries) // ENTRY > 2 * self._alive(hour) + SLACK
            if is_whole:
                entries = self._latest.pairs(hour * HOUR, (hour + 1) * HOUR)
            self._written[hour] = len(entries) // ENTRY + (0 if is_whole else self._written.get(hour, 0))
            bucket = self.sort + in_key(hour)
            if is_whole:
                log.drop_bucket(bucket)
            yield bucket, entries

    def _alive(self, hour: int) -> int:
        """Those with their latest pane in that hour."""
        first = -(-hour * HOUR // self._pane_ms) * self._pane_ms
        return sum(self._ages.get(start, 0) for start in range(first, (hour + 1) * HOUR, self._pane_ms))

    def restore(self, bucket: bytes, chunks: Iterable[bytes]) -> None:
        """The chunks of one hour: of each session the latest pane counts."""
        hour = from_key(bucket[len(self.sort) :])
        pairs = np.frombuffer(b"".join(chunks), np.uint64)
        self._written[hour] = len(pairs) * 8 // ENTRY
        for at in range(0, len(pairs), PIECE):  # all of them as Python's numbers are five times as large
            piece = pairs[at : at + PIECE]
            for hashed, start in zip(piece[::2].tolist(), piece[1::2].view(np.int64).tolist(), strict=True):
                self._recall(hashed, start)

    def _recall(self, hashed: int, start: int) -> None:
        before = self._latest.get(hashed, _NEVER)
        if start > before:
            if before != _NEVER:
                self._ages[before] -= 1
                self._number -= 1
            self._number += 1
            self._put(hashed, start)
