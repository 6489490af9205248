"""Promotions: an input without a clock. What a replay has counted of an ended session replaces what was counted live.

Its records are held until their manifest is there (core/waiting.py). Then it is decided at each checkpoint whether the
session can be replaced now, has to wait, or is refused:

- all that the replay has counted was counted here too: the inputs are read up to its ends;
- the session has ended, and its windows are final by every clock: no pane of it is held any more;
- it has not changed since, of which the replay would know nothing, and no other promotion came first.

What came to be of it is told in live.promotion-outcomes. A rebuild counts everything anew: what had been applied before is
then applied without asking (`WaitingRecords.accepted`), for what it was compared with is gone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from stream.core.cooperative import Steps
from stream.core.counts import BREAKDOWNS
from stream.core.figures import NAMES
from stream.core.formats import Format
from stream.core.ledger import Past
from stream.core.packing import pack
from stream.core.panes import Rows
from stream.core.policy import Policy
from stream.core.session import PAST_SINCE, Session
from stream.core.sessions import Sessions
from stream.core.totals import note_written, session_record
from stream.core.waiting import Needs, Refusal, Waiting, WaitingRecords
from stream.core.windows import LONG_AGO, Windows
from stream.model import promotions
from stream.model.names import KINDS, LIVE_RUN, Closed
from stream.model.promotions import Manifest, Totals, TotalsChange, Verdict, WindowChange, number_of
from stream.model.results import Record, Tally

APPLIED: Final = "applied"
ALREADY: Final = "already"
REFUSED: Final = "refused"
OUTCOMES: Final = (APPLIED, ALREADY, REFUSED)
MOST_WRITTEN: Final = 4 * 1024 * 1024
"""Bytes of windows after which no more promotions are applied in a checkpoint. Those of one session are never parted."""
_raw_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class Now(NamedTuple):
    """Where the shard stands at a checkpoint. Times in ms."""

    positions: Mapping[Any, int]
    final: int
    """No pane that starts here or earlier is needed by any window."""
    passed: int
    """By the watermark, or by the wall clock when all inputs are silent."""
    watermark: int | None
    newest: int | None
    """The newest clock."""


class Promotions:
    """Of one shard, whose sessions and windows it replaces."""

    def __init__(self, policy: Policy, rows: Rows, sessions: Sessions, windows: Windows) -> None:
        self._policy = policy
        self._rows = rows
        self._sessions = sessions
        self._windows = windows
        self.waiting = WaitingRecords(self._tell_refusal)
        self.windows: list[tuple[bytes, bytes | None]] = []
        self.sessions: list[tuple[bytes, bytes | None]] = []
        """Key and value of what was promoted since the last checkpoint; None: there is no such result any more."""
        self.written_bytes = 0
        self.tally = Tally()
        """Numbers since the last checkpoint; the shard's own."""
        self.told: list[tuple[bytes, bytes]] = []
        """Key and value of what came to be of promotions since the last checkpoint."""
        self._kept_in: Format | None = None
        """Of the state, when that cannot hold what promotions need."""
        self._positions: Mapping[Any, int] = {}

    @property
    def changed(self) -> bool:
        """Something is to be written."""
        return bool(self.told)

    def keep_format(self, form: Format) -> None:
        self._kept_in = form if form.version < PAST_SINCE else None
        self._sessions.ledger.stored = self._kept_in is None

    def read(self, records: Sequence[Record]) -> None:
        """The next records of live.promotions."""
        for record in records:
            if self._kept_in is not None:
                self.refuse(record, f"the state is kept in format {self._kept_in.version}: see --state-format")
                continue
            self.waiting.take(record.offset, record.timestamp, record.key, record.value)

    def refuse(self, record: Record, why: str) -> None:
        self._tell_refusal(Refusal(record.offset, record.key or b"", "", why))

    def begin_anew(self, tally: Tally) -> None:
        """A checkpoint has taken what there was."""
        self.windows, self.sessions, self.told = [], [], []
        self.written_bytes = 0
        self.tally = tally

    # -- deciding

    def apply(self, now: Now) -> Steps[None]:
        """Replaces the sessions whose turn it is."""
        self._positions = now.positions
        self.waiting.expire(now.newest)
        for key in list(self.waiting.ready):
            while (line := self.waiting.ready.get(key)) and self.written_bytes < MOST_WRITTEN:
                if not self._decide(line[0], now):
                    break
                yield
            yield

    def _decide(self, waiting: Waiting, now: Now) -> bool:
        """False when it has to wait."""
        manifest = waiting.manifest
        assert manifest is not None  # noqa: S101 - it is whole
        if any(now.positions.get(kind, 0) < manifest.ends.get(kind, 0) for kind in KINDS):
            return False
        if not self._is_over(waiting, now):
            return False
        windows, total = self._sorted(waiting)
        past = self._sessions.past(waiting.key)
        detail = "" if waiting.promotion in self.waiting.accepted else self._fault(manifest, past, windows)
        if past is not None and past.promoted == number_of(manifest.promotion):
            self._tell(waiting, ALREADY, revision=past.revision)
        elif detail:
            self._tell(waiting, REFUSED, detail)
        else:
            past = past or Past()
            self._promote_windows(windows, past.windows + 1)
            revision = self._promote_totals(waiting, total.after, past, now)
            self._tell(waiting, APPLIED, revision=revision)
        self.waiting.drop(waiting)
        return True

    def _sorted(self, waiting: Waiting) -> tuple[list[WindowChange], TotalsChange]:
        changes = list(self.waiting.changes(waiting))
        windows = [change for change in changes if isinstance(change, WindowChange)]
        [total] = (change for change in changes if isinstance(change, TotalsChange))
        return windows, total

    def _is_over(self, waiting: Waiting, now: Now) -> bool:
        """Nothing of the session is in a pane, or can come to one of its windows; it has ended, here and in the replay."""
        needs = waiting.needs = waiting.needs or self._needs(waiting)
        if needs.final > now.final or needs.ended > now.passed:
            return False
        if any(row.holds(waiting.key) for row in self._rows.values()):
            return False
        session = self._sessions.find(waiting.key)
        # what is not packed can only replace what is not held any more
        return session is None or (session.ended and needs.is_whole)

    def _needs(self, waiting: Waiting) -> Needs:
        windows, total = self._sorted(waiting)
        last = max((window.start for window in windows), default=LONG_AGO)
        is_whole = bool(total.after.packed) or _is_nothing(total.after)
        return Needs(last, _end_due(waiting.key, total.after, self._policy), is_whole)

    def _fault(self, manifest: Manifest, past: Past | None, windows: Sequence[WindowChange]) -> str:
        """Why it is refused; empty when it is not."""
        if manifest.generation != self._windows.generation:
            return f"compared with generation {manifest.generation}, and this is {self._windows.generation}"
        if past is None:
            last = max((window.end for window in windows), default=0)
            is_known = last >= self._sessions.ledger.floor
            return "" if is_known else "nobody knows any more when the session last changed"
        if past.promoted != (number_of(manifest.compared) if manifest.compared else 0):
            return "another promotion of this session came first"
        beyond = [kind for kind, seen in zip(KINDS, past.seen, strict=True) if seen > manifest.ends.get(kind, 0)]
        return f"the session has changed since, by {', '.join(beyond)}" if beyond else ""

    # -- replacing

    def _promote_windows(self, windows: Sequence[WindowChange], revision: int) -> None:
        """``revision``: above all that were written of windows of the session."""
        for window in windows:
            key = f"{window.session_id}/{window.window}/{window.start}".encode()
            value = None if _is_null(window.after) else self._as_live(window.after, revision, reason=Closed.REPLAY)
            self.windows.append((key, value))
            self.written_bytes += len(key) + len(value or b"")
            self.tally.windows[window.window, Closed.REPLAY] += 1

    def _promote_totals(self, waiting: Waiting, totals: Totals, past: Past, now: Now) -> int:
        """Gives the revision of the totals."""
        self.tally.session_records += 1
        promoted, key = number_of(waiting.promotion), waiting.key
        past = past._replace(promoted=promoted, windows=past.windows + 1)
        if not totals.packed and not _is_nothing(totals):
            past = past._replace(revision=past.revision + 1)
            self._sessions.note_past(key, past, now.passed)
            self.sessions.append((key, self._as_live(totals.value, past.revision)))
            return past.revision
        session = self._sessions.replace(key, totals.packed or None, totals.named, past, now.watermark)
        if not totals.packed:
            session.revision += 1
            self.sessions.append((key, None))
            return session.revision
        counts = self._rows.of(session)
        note_written(session, now.watermark)
        generation = self._windows.generation
        value = session_record(session, counts, self._policy.currency, LIVE_RUN, generation)
        self.sessions.append((key, value))
        return session.revision

    def _as_live(self, value: msgspec.Raw, revision: int, **more: str) -> bytes:
        """A result of the replay, byte for byte but for what says whose it is."""
        fields: dict[str, Any] = dict(_raw_fields(value))
        fields |= {"run": LIVE_RUN, "generation": self._windows.generation, "revision": revision, **more}
        return _encode(fields)

    # -- telling

    def _tell_refusal(self, refusal: Refusal) -> None:
        session_id = refusal.key.decode(errors="replace")
        offset, promotion, detail = refusal.offset, refusal.promotion, refusal.detail
        self._say(
            refusal.key, session_id=session_id, offset=offset, promotion=promotion, outcome=REFUSED, detail=detail
        )

    def _tell(self, waiting: Waiting, outcome: str, detail: str = "", revision: int = 0) -> None:
        session_id, offset, promotion = waiting.key.decode(), waiting.offset, waiting.promotion
        of = {"session_id": session_id, "promotion": promotion, "outcome": outcome, "detail": detail}
        self._say(waiting.key, offset=offset, revision=revision, **of)

    def _say(self, key: bytes, **what: Any) -> None:
        positions = {str(kind): self._positions[kind] for kind in KINDS if kind in self._positions}
        self.tally.promotions[what["outcome"]] += 1
        verdict = Verdict(generation=self._windows.generation, positions=positions, **what)
        self.told.append((key, promotions.written(verdict)))


def packed_totals(sessions: Sessions, rows: Rows, key: bytes, value: bytes | None) -> Totals:
    """What a promotion says of the totals of a session, now. ``value``: as they were written last, None for not at all.

    Without the counts behind them where the session is not held.
    """
    if value is None:
        return Totals()
    session = sessions.find(key)
    if session is None:
        return Totals(value=msgspec.Raw(value))
    named = [sorted(session.named.get(name, ())) for name in BREAKDOWNS]
    return Totals(value=msgspec.Raw(value), packed=pack(rows.of(session)), named=named, figures=NAMES)


def _is_null(value: msgspec.Raw) -> bool:
    return bytes(value) == b"null"


def _is_nothing(totals: Totals) -> bool:
    return _is_null(totals.value)


def _end_due(key: bytes, totals: Totals, policy: Policy) -> int:
    """When a session with these totals has ended."""
    if not totals.packed:
        return LONG_AGO
    session = Session(key)
    session.restore_base(totals.packed)
    return session.end_due(policy)
