"""The parts of a shard as one checkpoint, and made of one again; whether this version can go on with it.

Each part knows its own items, buckets and numbers of the state, collects what changed of them, and restores them.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import msgspec

from stream import __version__
from stream.core.alerts.alerting import Alerting
from stream.core.cooperative import Steps
from stream.core.figures import BY_NAME, FIGURES, UNNAMED_FIGURES
from stream.core.formats import Format
from stream.core.framing import ChangedSettingsError, LaterStateError, StateError
from stream.core.ids import TimedHashes
from stream.core.judge import Judge
from stream.core.known import Known
from stream.core.ledger import Ledger
from stream.core.panes import Rows
from stream.core.policy import Policy, refused_changes
from stream.core.promotions import Promotions
from stream.core.sessions import Sessions
from stream.core.state_format import Meta
from stream.core.state_keys import ALERTS, BUCKETS, IDS, ITEMS, KNOWN, PANE, PROMOTION, RESTING, SESSION
from stream.core.statelog import Restored, StateLog
from stream.core.watermark import Watermark
from stream.core.windows import Windows
from stream.model.names import KINDS, Kind

_encode: Final = msgspec.msgpack.Encoder().encode
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, struct.error, zlib.error)
"""What reading raises for bytes that are none of ours. Anything else is a fault of ours, or too little memory: nobody must
be told then that the state is broken, for rebuilding it throws away what is whole."""
DAMAGED: Final = (*UNREADABLE, LookupError, TypeError)
"""The same of bytes that no checksum vouches for: they may have been cut, and say that they are what they are not."""


@contextmanager
def reading(*, vouched: bool) -> Iterator[None]:
    """Raises StateError for what cannot be unpacked. An error of another kind is none of the state's.

    ``vouched``: checksums say that the bytes are those that were written.
    """
    expected = UNREADABLE if vouched else DAMAGED
    try:
        yield
    except expected as error:
        raise StateError(f"the state cannot be read: {type(error).__name__}: {error}") from error


def read_meta(content: Restored) -> Meta:
    """What it says of the shard as a whole. Raises StateError."""
    meta = content.head(Meta)
    strangers = sorted({*meta.positions, *meta.clocks, *meta.gaps} - set(KINDS))
    if strangers:
        raise StateError(f"it is of topics that this version does not read: {strangers}")
    _check_figures(meta)
    return meta


def _check_figures(meta: Meta) -> None:
    """What is packed is told apart by its order alone, so that has to be ours. An earlier version had fewer."""
    named = meta.figures or list(UNNAMED_FIGURES)
    unknown = ", ".join(name for name in named if name not in BY_NAME)
    if unknown:
        raise LaterStateError(
            f"it holds figures that liveshop {__version__} does not know: {unknown}; liveshop {meta.version} wrote it"
        )
    for name, figure in zip(named, FIGURES, strict=False):
        if name != figure.name:
            raise StateError(
                f"it holds its figures in another order than liveshop {__version__}: {name} for {figure.name}"
            )


def fitting_meta(content: Restored, policy: Policy) -> Meta:
    """The same for a state that can be continued. Raises ChangedSettingsError for one counted under other settings."""
    meta = read_meta(content)
    strangers = {key[:1] for key in content.items} - ITEMS | {key[:1] for key in content.buckets} - BUCKETS
    if strangers:
        raise StateError(f"it holds what this version does not know: sorts {sorted(strangers)}")
    current: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(policy.deciding()))
    changes = refused_changes(meta.policy, current)
    if changes:
        raise ChangedSettingsError(changes)
    return meta


@dataclass(frozen=True, slots=True)
class Parts:
    """Those of a shard that keep something in its state."""

    rows: Rows
    sessions: Sessions
    judge: Judge
    event_time: Watermark
    windows: Windows
    alerting: Alerting
    promotions: Promotions

    def keep_format(self, form: Format) -> None:
        """Items are written so from now on."""
        self.rows.format = self.sessions.format = self.alerting.format = form
        self.promotions.keep_format(form)

    def checkpoint(self, log: StateLog, whole: Mapping[str, Any]) -> Steps[list[tuple[bytes, bytes]]]:
        """The records of the next one. ``whole``: what the shard says of itself, of `Meta`."""
        puts: dict[bytes, bytes] = {}
        yield from self.rows.collect(self.judge.changed, self.windows.touched, puts)
        yield from self.sessions.collect(log, puts)
        yield from self.alerting.collect(log, puts)
        self.promotions.waiting.collect(log, puts)
        for each, now in self._by_time():
            yield from each.retire(log, now)
        yield
        meta = Meta(
            **whole,
            **self.judge.meta(),
            **self.alerting.meta(),
            watermark=self.event_time.now,
            horizon=self.windows.horizon,
            gone_floor=self.sessions.gone.floor,
            unseen=self.sessions.unseen if self.sessions.ledger.stored else None,
            ledger_floor=self.sessions.ledger.floor,
            version=__version__,
            figures=self.rows.format.names,
        )
        return (yield from log.checkpoint(_encode(meta), puts, self._additions(log), self._values))

    def _by_time(self) -> Sequence[tuple[TimedHashes | Known | Ledger, int | None]]:
        """What is held by a time of its own, in buckets of the state; and the clock by which it goes."""
        clocks = self.judge.clocks
        return [
            (self.judge.checkout_keys, clocks[Kind.CHECKOUTS]),
            (self.sessions.gone, self.event_time.now),
            (self.sessions.ledger, self.event_time.now),
            *((known, clocks[kind]) for kind, known in self.judge.known.items()),
        ]

    def _additions(self, log: StateLog) -> Iterator[tuple[bytes, bytes]]:
        yield from self.rows.additions()
        for each, _ in self._by_time():
            yield from each.additions(log)

    def _values(self, keys: list[bytes]) -> list[bytes]:
        """Of items that are alive."""
        sessions = self.sessions.value
        by_sort = {
            PANE: self.rows.value,
            SESSION: sessions,
            RESTING: sessions,
            ALERTS: self.alerting.value,
            PROMOTION: self.promotions.waiting.value,
        }
        return [by_sort[key[:1]](key) for key in keys]

    def restore(self, content: Restored, meta: Meta) -> None:
        """Numbers first, then what is held, then what follows from all of that. Raises what `reading` expects."""
        self.event_time.now = meta.watermark
        self.windows.horizon = list(meta.horizon)
        self.sessions.gone.floor = meta.gone_floor
        self._restore_past(meta)
        self.judge.restore(meta)
        self.sessions.restore(content.items, self.windows.recall)
        by_time = {each.sort: each for each, _ in self._by_time()}
        for bucket, chunks in content.buckets.items():
            if bucket.startswith(IDS):
                self.rows.restore_ids(bucket, chunks)
            else:
                by_time[bucket[:2] if bucket[:1] == KNOWN else bucket[:1]].restore(bucket, chunks)
        self.sessions.restore_pages(content.items, meta.watermark)
        self.judge.restore_known(meta, self.sessions.each)
        closed_through, complete = self.windows.closed_through(), self.event_time.complete
        self.alerting.restore(content.items, meta, self.rows, closed_through, complete)
        self.promotions.waiting.restore(content.items)

    def _restore_past(self, meta: Meta) -> None:
        """Where each session has changed; a state that does not say it counts as changed to its end."""
        views, comments, checkouts = (meta.positions.get(kind, 0) for kind in KINDS)
        sessions = self.sessions
        sessions.at = views, comments, checkouts
        sessions.unseen = sessions.at if meta.unseen is None else meta.unseen
        sessions.ledger.floor = meta.ledger_floor
        if meta.unseen is None and meta.watermark is not None:
            sessions.ledger.floor = meta.watermark

    def vet(self, log: StateLog) -> None:
        """Looks at all that is still packed. Raises StateError, which names the checkpoint that wrote it."""
        for key, what, is_whole in chain(self.rows.vetted(), self.sessions.vetted(), self.alerting.vetted()):
            if not is_whole:
                raise StateError(f"{log.written_in(key)}: {what} cannot be unpacked")
