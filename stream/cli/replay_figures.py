"""The values of a comparison as people read them: money in its own units, times with their zone, numbers in groups."""

import re
from typing import Final

from stream.cli.timestamps import in_zone
from stream.model.money import EXPONENTS
from stream.replay.compare import Change, Leaf, Verdict

VERDICTS: Final = {
    Verdict.EQUAL: "equal",
    Verdict.CHANGED: "changed",
    Verdict.ONLY_LIVE: "only live",
    Verdict.ONLY_REPLAY: "only replay",
    Verdict.LIVE_EXPIRED: "live expired",
    Verdict.PARTIAL: "partial",
}
_MONEY: Final = re.compile(r"_minor\.([A-Z]{3})\Z")
_TIMES: Final = frozenset({"start", "end", "started_at", "ended_at", "first_event", "last_event"})
_COUNTS: Final = "counts."
ABSENT: Final = "-"
NONE_WIDER: Final = 40
"""Characters of a text that is a value, such as a title."""


def label(name: str) -> str:
    """``counts.orders_paid`` is orders_paid, ``gmv_minor.IDR`` is gmv IDR: its amounts are not shown in minor units."""
    return _MONEY.sub(r" \1", name.removeprefix(_COUNTS))


def figure(name: str, value: Leaf) -> str:
    """A value of that path."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return in_zone(value) or ABSENT if name in _TIMES else _number(name, value)
    if isinstance(value, str):
        return value if len(value) <= NONE_WIDER else f"{value[: NONE_WIDER - 1]}…"
    return ABSENT if value is None else f"{value:,}"


def difference(change: Change) -> str:
    """With its sign: what the replay has more; `ABSENT` where there are no two numbers."""
    return gain(change.name, change.difference)


def gain(name: str, more: float | None) -> str:
    """``more`` of a figure of that path."""
    if more is None:
        return ABSENT
    if name in _TIMES:
        return f"{more / 1000:+,.3f} s"
    return f"{'+' if more > 0 else ''}{_number(name, more)}"


def _number(name: str, value: float) -> str:
    found = _MONEY.search(name)
    digits = EXPONENTS.get(found[1], 0) if found else 0
    if not isinstance(value, int) or not digits:
        return f"{value:,}"
    whole, minor = divmod(abs(value), 10**digits)
    return f"{'-' if value < 0 else ''}{whole:,}.{minor:0{digits}}"
