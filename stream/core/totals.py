"""Which changed sessions have their totals written next, and how the record of one looks."""

import heapq
from collections.abc import Mapping
from typing import Final

from stream.core.counts import NEVER, Counts
from stream.core.policy import Policy
from stream.core.render import host_names_of, session_value
from stream.core.session import Session
from stream.core.windows import FAR_AHEAD, LONG_AGO

FEW: Final = 8
"""Events up to which a session may be a made-up one."""
SHARE_OF_FEW: Final = 4
"""Each so many-th of the totals is of a session of few events, when others wait as well."""


class TotalsQueue:
    """Keys of sessions that wait for their totals to be written; ``held`` are the shard's, by key.

    Those of few events stand in a line of their own, so that a flood of made-up ones holds up nobody else.
    """

    def __init__(self, policy: Policy, held: Mapping[bytes, Session]) -> None:
        self._policy = policy
        self._held = held
        self._lines: tuple[list[tuple[int, int, bytes]], ...] = ([], [])
        """Of few events and of more: (when, turn, key), heaps."""
        self._turn = 0
        self._taken = 0

    def wait(self, session: Session, at_once: bool = False) -> None:
        """A changed session: at its end it is due at once, else ``totals_every`` after the last time.

        One that stands in line twice has lost its first place.
        """
        line, is_new = session.events > FEW, session.written_at == NEVER
        has_place = session.turn and line <= session.in_line and (is_new or not at_once)
        if not has_place and not session.frozen and session.changed:
            due = NEVER if at_once or is_new else session.written_at + self._policy.totals_every_ms
            self._turn += 1
            session.turn, session.in_line = self._turn, line
            heapq.heappush(self._lines[line], (due, self._turn, session.key))

    def take(self, watermark: int | None, everything: bool) -> Session | None:
        """The one that waits longest and is due. Every fourth is one of few events."""
        limit = FAR_AHEAD if everything else LONG_AGO if watermark is None else watermark
        self._taken += 1
        first = 0 if self._taken % SHARE_OF_FEW == 0 else 1
        return self._take_from(self._lines[first], limit) or self._take_from(self._lines[1 - first], limit)

    def _take_from(self, line: list[tuple[int, int, bytes]], limit: int) -> Session | None:
        while line and line[0][0] <= limit:
            _, turn, key = heapq.heappop(line)
            session = self._held.get(key)
            if session is None or session.turn != turn:
                continue
            session.turn = 0
            if session.changed:
                return session
        return None


def note_written(session: Session, watermark: int | None) -> None:
    """It takes note of the record of its totals."""
    session.revision += 1
    session.written_events, session.written_ended = session.events, session.ended
    session.written_at = NEVER if watermark is None else watermark


def session_record(session: Session, totals: Counts, currency: str, run: str, generation: int) -> bytes:
    """The totals as a record, under the revision that the session has. It knows what its host calls it from then on."""
    session.host_names = host_names_of(totals)
    head = {
        "run": run,
        "generation": generation,
        "revision": session.revision,
        "status": "ended" if session.ended else "open",
    }
    return session_value(session.session_id, totals, currency, head)
