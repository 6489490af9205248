"""Reading three topics in step while catching up, so that none runs far ahead in event time."""

from collections.abc import Collection, Mapping
from typing import Final

from stream.model.names import Kind

SLACK_MS: Final = 10_000
"""Event time a topic may be ahead of the one furthest behind."""


def out_of_reach(
    times: Mapping[Kind, int | None], clocks: Mapping[Kind, int | None], state_retention_ms: int
) -> set[Kind]:
    """Topics that hold nobody back: what comes next of them is refused as ``pane_gone`` whatever the others do.

    ``times`` is how far each is in what it has to read, ``clocks`` in what was counted. A topic that is far behind only
    because others have not been read yet, as in a rebuild, is within reach: the newest clock is not beyond it yet.
    """
    known = [clock for clock in clocks.values() if clock is not None]
    if not known:
        return set()
    line = max(known) - state_retention_ms
    return {kind for kind, time in times.items() if time is not None and time < line}


def paused(clocks: Mapping[Kind, int | None], behind: Collection[Kind], slack_ms: int = SLACK_MS) -> set[Kind]:
    """Topics to pause. ``behind`` are those with records to read; one that is caught up pauses nobody.

    The topic furthest behind is read, and all within ``slack_ms`` of event time of it. One without a clock comes first:
    nobody knows how far behind it is.
    """
    if any(clocks.get(kind) is None for kind in behind):
        return {kind for kind in behind if clocks.get(kind) is not None}
    known = {kind: clock for kind in behind if (clock := clocks.get(kind)) is not None}
    if not known:
        return set()
    slowest = min(known.values())
    return {kind for kind, clock in known.items() if clock > slowest + slack_ms}
