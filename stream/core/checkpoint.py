"""The shard as checkpoints: which items and buckets one has to hold, and a shard made of them again."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stream import __version__
from stream.core.alerts.session_state import pack_session_state, unpack_session_state
from stream.core.cooperative import Steps, pieces
from stream.core.figures import BY_NAME, FIGURES, NAMES, UNNAMED_FIGURES
from stream.core.framing import LaterStateError, StateError, StateRefusedError
from stream.core.ids import FREEZE_AT
from stream.core.packing import head_of
from stream.core.panes import Row
from stream.core.policy import DAY, HOUR, Policy, refused_changes
from stream.core.session import Session
from stream.core.state_format import Meta
from stream.core.state_keys import (
    ALERTS,
    BUCKETS,
    CHECKOUT_KEYS,
    GONE,
    IDS,
    ITEMS,
    KNOWN,
    PANE,
    RESTING,
    SESSION,
    alerts_key,
    ids_bucket,
    known_bucket,
    number,
    page_key,
    pane_key,
    pane_value,
    read_pane,
    session_key,
    to_number,
)
from stream.core.statelog import Restored
from stream.core.vetting import vet
from stream.core.windows import LONG_AGO
from stream.model.alerts import read_alert
from stream.model.names import KINDS, Kind

if TYPE_CHECKING:
    from stream.core.panes import Pane
    from stream.core.shard_state import ShardState

_encode: Final = msgspec.msgpack.Encoder().encode
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, struct.error, zlib.error)
"""What reading raises for bytes that are none of ours. Anything else is a fault of ours, or too little memory: nobody must
be told then that the state is broken, for rebuilding it throws away what is whole."""
DAMAGED: Final = (*UNREADABLE, LookupError, TypeError)
"""The same of bytes that no checksum vouches for: they may have been cut, and say that they are what they are not."""


def checkpoint(
    shard: "ShardState", panes: Iterable["Pane"], marks: Iterable[tuple[int, bytes]], sessions: dict[bytes, "Session"]
) -> Steps[list[tuple[bytes, bytes]]]:
    """The records of the next checkpoint: ``panes``, ``marks`` (by start and session's key) and ``sessions`` changed."""
    puts: dict[bytes, bytes] = {}
    changed = ((pane.start, pane.session.key) for pane in panes)
    for piece in pieces(chain(changed, marks)):
        for start, session in piece:
            row = shard.rows.get(start)
            if row is not None and (value := pane_value(row, session)):
                puts[pane_key(start, session)] = value
        yield
    for each in sessions.values():
        puts[session_key(each)] = each.packed()
        each.stale = False
        yield
    yield from _put_pages(shard, puts)
    yield from _put_alerts(shard, puts)
    _drop_buckets(shard)
    yield
    for hashes, now in ((shard.checkout_keys, shard.clocks[Kind.CHECKOUTS]), (shard.sessions.gone, shard.watermark)):
        if now is not None and len(hashes.recent) >= FREEZE_AT:
            hashes.sweep(now)
            yield
    return (yield from shard.log.checkpoint(_meta(shard), puts, _additions(shard), lambda keys: _values(shard, keys)))


def _put_pages(shard: "ShardState", puts: dict[bytes, bytes]) -> Steps[None]:
    pages = shard.sessions.pages
    for page in pages.gone:
        shard.log.drop(page_key(page))
    for piece in pieces(pages.stale):
        puts.update((page_key(page), pages.value(page)) for page in piece)
        yield
    pages.gone, pages.stale = [], {}


def _put_alerts(shard: "ShardState", puts: dict[bytes, bytes]) -> Steps[None]:
    alerting = shard.alerting
    for key in alerting.gone:
        shard.log.drop(alerts_key(key))
    for piece in pieces(alerting.stale.items()):
        puts.update((alerts_key(key), pack_session_state(watched)) for key, watched in piece)
        yield


def _meta(shard: "ShardState") -> bytes:
    mute = shard.alerting.emitter.mute
    silent = None
    if mute is not None:
        silent = {str(kind): end for kind, end in mute.ends.items()}, [told.value() for told in mute.told.values()]
    return _encode(
        Meta(
            shard.owner,
            shard.policy.deciding(),
            shard.generation,
            {str(kind): offset for kind, offset in shard.positions.items()},
            {str(kind): clock for kind, clock in shard.clocks.items()},
            shard.watermark,
            shard.windows.horizon,
            shard.drop_line,
            {str(kind): until for kind, until in shard.gaps.items()},
            shard.alerting.through,
            silent,
            shard.checkout_keys.floor,
            shard.sessions.gone.floor,
            {str(kind): known.admitted for kind, known in shard.judge.known.items()},
            transactional_id=shard.transactional_id,
            partitions=shard.partitions,
            moved_to=shard.moved_to,
            topic_ids=shard.topic_ids,
            version=__version__,
            figures=NAMES,
        )
    )


def _additions(shard: "ShardState") -> Iterator[tuple[bytes, bytes]]:
    for start, row in shard.rows.items():
        for kind in KINDS:
            ids = row.ids_of(kind)
            if ids.fresh:
                yield ids_bucket(kind, start), ids.take_fresh()
    for hour, chunk in shard.checkout_keys.take_fresh(HOUR):
        yield CHECKOUT_KEYS + number(hour), chunk
    for day, chunk in shard.sessions.gone.take_fresh(DAY):
        yield GONE + number(day), chunk
    for kind, known in shard.judge.known.items():
        for hour, chunk, is_whole in known.take_fresh():
            if is_whole:
                shard.log.drop_bucket(known_bucket(kind, hour))
            yield known_bucket(kind, hour), chunk


def _drop_buckets(shard: "ShardState") -> None:
    """Hours of checkout keys and of known sessions, and days of let-go sessions, in which nothing is held any more."""
    for sort, length, hashes, now in (
        (CHECKOUT_KEYS, HOUR, shard.checkout_keys, shard.clocks[Kind.CHECKOUTS]),
        (GONE, DAY, shard.sessions.gone, shard.watermark),
    ):
        for bucket in shard.log.buckets():
            if bucket.startswith(sort) and hashes.is_over((to_number(bucket[1:9]) + 1) * length, now):
                shard.log.drop_bucket(bucket)
    for kind, known in shard.judge.known.items():
        for hour in known.forget_hours(shard.judge.clock(kind)):
            shard.log.drop_bucket(known_bucket(kind, hour))


def _values(shard: "ShardState", keys: list[bytes]) -> list[bytes]:
    """Of keys that are alive."""
    held, pages, watched = shard.sessions.held, shard.sessions.pages, shard.alerting.session_states
    values = []
    for key in keys:
        sort = key[:1]
        if sort == PANE:
            values.append(pane_value(shard.rows[to_number(key[1:9])], key[9:]))
        elif sort == SESSION:
            values.append(held[key[1:]].packed())
        elif sort == RESTING:
            values.append(pages.value(to_number(key[1:])))
        else:
            values.append(pack_session_state(watched[key[1:]]))
    return values


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


def restore_into(shard: "ShardState", content: Restored, *, vouched: bool = False) -> None:
    """Fills a new shard. Raises StateError for what cannot be unpacked. An error of another kind is none of the state's.

    Unless checksums have ``vouched`` for it, that goes for what is only unpacked when it is needed, too.
    """
    expected = UNREADABLE if vouched else DAMAGED
    try:
        _restore(shard, content)
        if not vouched:
            vet(shard)
    except expected as error:
        raise StateError(f"the state cannot be read: {type(error).__name__}: {error}") from error


def _restore(shard: "ShardState", content: Restored) -> None:
    meta = read_meta(content)
    strangers = {key[:1] for key in content.items} - ITEMS | {key[:1] for key in content.buckets} - BUCKETS
    if strangers:
        raise StateError(f"it holds what this version does not know: sorts {sorted(strangers)}")
    _check_policy(shard.policy, meta.policy)
    shard.owner, shard.partitions, shard.moved_to = meta.owner, meta.partitions, meta.moved_to
    shard.topic_ids = dict(meta.topic_ids)
    shard.windows.generation = meta.generation
    shard.positions = {Kind(name): offset for name, offset in meta.positions.items()}
    shard.clocks.update({kind: meta.clocks.get(kind) for kind in KINDS})
    shard.watermark = meta.watermark
    shard.windows.horizon = list(meta.horizon)
    shard.drop_line = meta.drop_line
    shard.gaps = {Kind(name): until for name, until in meta.gaps.items()}
    shard.checkout_keys.floor, shard.sessions.gone.floor = meta.checkout_floor, meta.gone_floor
    _restore_sessions(shard, content)
    _restore_buckets(shard, content)
    _restore_pages(shard, content)
    _restore_known(shard, meta)
    _restore_alerts(shard, meta, content)


def _restore_alerts(shard: "ShardState", meta: Meta, content: Restored) -> None:
    """Where none were looked for before, that begins now: what is held of earlier slides is history at once."""
    alerting = shard.alerting
    alerting.session_states.update(
        (key[1:], unpack_session_state(key[1:], value)) for key, value in content.items.items() if key[:1] == ALERTS
    )
    if meta.silent is not None:
        ends, told = meta.silent
        alerting.be_silent({Kind(name): end for name, end in ends.items()}, map(read_alert, told))
    alerting.complete = shard.complete()
    if meta.alerted_through is not None:
        alerting.through = meta.alerted_through
    if alerting.through == LONG_AGO:
        alerting.begin(shard.rows, shard.windows.closed_through())


def _check_policy(policy: Policy, stored: dict[str, Any]) -> None:
    current = msgspec.msgpack.decode(_encode(policy.deciding()))
    changes = refused_changes(stored, current)
    if changes:
        raise StateRefusedError(changes)


def _restore_sessions(shard: "ShardState", content: Restored) -> None:
    sessions = {key[1:]: Session.unpacked(key[1:], value) for key, value in content.items.items() if key[:1] == SESSION}
    rows: dict[bytes, Row] = {}
    for key, value in content.items.items():
        if key[:1] == PANE:
            session, row = sessions.get(key[9:]), rows.get(key[1:9])
            if session is None:
                raise StateError("a pane without its session")
            if row is None:
                start = to_number(key[1:9])
                row = rows[key[1:9]] = shard.rows.made(start)
            _restore_pane(shard, row, session, value)
    for session in sessions.values():
        shard.sessions.adopt(session)


def _restore_pages(shard: "ShardState", content: Restored) -> None:
    pages = {to_number(key[1:]): value for key, value in content.items.items() if key[:1] == RESTING}
    shard.sessions.restore_pages(pages, shard.watermark)


def _restore_pane(shard: "ShardState", row: Row, session: "Session", value: bytes) -> None:
    """It stays packed until it is counted into again."""
    marks, pane = read_pane(value)
    if pane:
        row.packed[session.key] = pane
        session.recall(head_of(pane))
    if marks:
        row.marks[session.key] = marks
        shard.windows.recall(row.start, session.key, marks)


def _restore_buckets(shard: "ShardState", content: Restored) -> None:
    for bucket, chunks in content.buckets.items():
        if bucket.startswith(IDS):
            start = to_number(bucket[2:10])
            shard.rows.made(start).ids[bucket[1]].restore(chunks)
        elif bucket.startswith(CHECKOUT_KEYS):
            shard.checkout_keys.restore(chunks)
        elif bucket.startswith(KNOWN):
            shard.judge.known[KINDS[bucket[1]]].restore(to_number(bucket[2:10]), chunks)
        else:
            shard.sessions.gone.restore(chunks)


def _restore_known(shard: "ShardState", meta: Meta) -> None:
    """A state of a version that did not say who is known: every topic knows every session that is held."""
    policy = shard.policy
    for kind, known in shard.judge.known.items():
        if meta.admitted is not None:
            known.admitted.update(meta.admitted.get(kind, {}))
        elif shard.clocks[kind] is not None:
            clock = shard.judge.clock(kind)
            for session in shard.sessions.each():
                known.adopt(session.seed, session.last_any // policy.pane_ms * policy.pane_ms, clock)
