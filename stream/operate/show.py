"""What a state holds, in figures; and what it holds of one session. No viewer is in there but in sketches and hashes."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from stream.config import Change, Settings, changes
from stream.core.counts import NEVER, Counts
from stream.core.framing import StateError
from stream.core.panes import Row, windows_marked
from stream.core.policy import fingerprint
from stream.core.render import counts_of
from stream.core.session import Session
from stream.core.shard import Shard
from stream.core.totals import session_record
from stream.kafka import topicids
from stream.kafka.role import Role
from stream.kafka.shard_context import ShardContext
from stream.kafka.statereader import HangingTransactionError
from stream.kafka.topicids import Ids
from stream.operate.shards import StoredState, contexts, reading, stored
from stream.sessions.figures import as_counted
from stream.sessions.role import WORKER

HANGING: Final = "a transaction of somebody hangs at its end: what is behind cannot be known yet"


@dataclass(frozen=True, slots=True)
class StateReport:
    """One partition's state. ``problem`` says why there are no figures; None and no figures: nothing was counted yet.

    Times are ms. ``settings_differ``: a `Change` for each setting of the state that is not ours.
    """

    partition: int
    problem: str | None = None
    figures: dict[str, Any] | None = None


async def show(role: Role, settings: Settings, numbers: Collection[int]) -> list[StateReport]:
    """The states of these partitions, or of all. Raises UsageError for topics that are not as they must be."""
    found = await contexts(role, settings, numbers)
    shown = []
    async with reading(settings, [context.state for context in found]) as reader:
        ids = await topicids.fetch(role, reader, settings)
        for context in found:
            try:
                state = await stored(reader, context)
                shown.append(StateReport(context.partition, figures=_figures(state, ids) if state else None))
            except StateError as error:
                shown.append(StateReport(context.partition, f"cannot be read: {error}"))
            except HangingTransactionError:
                shown.append(StateReport(context.partition, HANGING))
    return shown


def _figures(found: StoredState, ids: Ids) -> dict[str, Any]:
    """Those of any state, and what its machines say of theirs."""
    meta, context, state = found.meta, found.context, found.state
    role, settings = context.role, context.settings
    return {
        "owner": meta.owner,
        "generation": meta.generation,
        "checkpoint": found.checkpoint,
        "written_at": state.written_at,
        "age_seconds": round(max(0.0, time.time() - state.written_at / 1000), 1),
        "checkpoints_needed": found.checkpoints,
        "positions": {str(name): meta.positions.get(name) for name in role.names},
        **role.machines.figures(context.placed(), state.records, meta.policy, vouched=state.vouched),
        "settings": meta.policy,
        "settings_hash": fingerprint(meta.policy),
        "settings_differ": differing(context, meta.policy),
        "topic_ids": {settings.topic(name): topic_id for name, topic_id in meta.topic_ids.items()},
        "topics_made_anew": [settings.topic(name) for name in topicids.made_anew(role, meta.topic_ids, ids)],
    }


def differing(context: ShardContext, theirs: Mapping[str, Any]) -> list[Change]:
    """Settings of the state that are not ours."""
    return changes(context.role.machines.changes(context.settings, theirs))


async def show_session(settings: Settings, numbers: Collection[int], session_id: str) -> list[dict[str, Any]]:
    """What these partitions, or all, hold of a session: one element, unless a producer partitions differently."""
    found = await contexts(WORKER, settings, numbers)
    held = []
    async with reading(settings, [context.state for context in found]) as reader:
        for context in found:
            try:
                state = await stored(reader, context)
                shard = state and restored(state)
            except (StateError, HangingTransactionError):
                continue  # `state show` without a session says so
            session = shard and shard.sessions.find(session_id.encode())
            if shard and session:
                held.append({"partition": context.partition, **session_of(shard, session)})
    return held


def restored(found: StoredState) -> Shard:
    """Under the settings it was counted with, whatever ours are. Raises StateError."""
    state = found.state
    return as_counted(found.meta.policy, state.records, found.context.placed(), vouched=state.vouched)


def session_of(shard: Shard, session: Session) -> dict[str, Any]:
    """Totals so far as in live.sessions, how far they were written there, and the panes still held."""
    totals = orjson.loads(totals_value(shard, session))
    rows = sorted((row for row in shard.rows.values() if row.holds(session.key)), key=lambda row: row.start)
    return {
        "status": totals["status"],
        "revision": session.revision,
        "events": session.events,
        "written_events": None if session.written_events == NEVER else session.written_events,
        "last_event": totals.get("last_event"),
        "frozen": session.frozen,
        "totals": totals,
        "panes": [
            {
                "start": row.start,
                "events": row.events(session.key),
                "counts": {
                    name: count for name, count in counts_of(row.counts(session.key) or Counts()).items() if count
                },
                "windows_written": _marks(shard, row, session.key),
            }
            for row in rows
        ],
    }


def _marks(shard: Shard, row: Row, key: bytes) -> dict[str, int]:
    """Revision by window name, of those that start with the pane."""
    kinds = windows_marked(row.marks.get(key, ()))
    return {shard.policy.windows[kind].name: row.mark(key, kind)[0] for kind in kinds}


def totals_value(shard: Shard, session: Session) -> bytes:
    """The session's totals now, as they would be in live.sessions under the revision it has."""
    return session_record(session, shard.rows.of(session), shard.policy.currency, shard.run, shard.generation)


def problems(shown: Sequence[StateReport]) -> bool:
    """Whether any of them cannot be read."""
    return any(each.problem for each in shown)
