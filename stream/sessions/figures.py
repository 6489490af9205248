"""What the state of a shard holds, in figures for people: read under the settings it was counted with, not ours."""

from collections.abc import Iterable, Mapping
from typing import Any

from stream.core.framing import StateError
from stream.core.policy import Policy, WindowSpec
from stream.core.shard import Shard
from stream.kafka.machine import Placed
from stream.model.names import KINDS


def as_counted(
    stored: Mapping[str, Any], records: Iterable[tuple[int, bytes]], placed: Placed, *, vouched: bool
) -> Shard:
    """``stored``: the settings in the state. Raises StateError."""
    return Shard.restore(policy_of(stored), records, placed=placed, vouched=vouched)


def policy_of(stored: Mapping[str, Any]) -> Policy:
    """The settings a checkpoint has stored. Raises StateError for settings that this version does not know."""
    values = dict(stored)
    try:
        windows = tuple(WindowSpec(*window) for window in values.pop("windows"))
        return Policy(windows=windows, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"its settings are of another version: {error}") from error


def figures(shard: Shard) -> dict[str, Any]:
    """Times are ms."""
    view = shard.view(0)
    return {
        "format": shard.format.version,
        "not_kept": shard.format.not_kept,
        "bytes": view.state_bytes,
        "clocks": {kind.value: shard.clocks.get(kind) for kind in KINDS},
        "watermark": shard.watermark,
        "sessions": {
            "held": view.sessions_held,
            "open": view.sessions_open,
            "ended": view.sessions_held - view.sessions_open,
        },
        "panes": view.panes,
        "windows_open": view.windows_open,
        "windows_closed_held": view.windows_closed_held,
        "dedupe_ids": view.dedupe_ids,
        "checkout_keys": view.checkout_keys,
        "gaps": {kind.value: until for kind, until in shard.gaps.items()},
    }
