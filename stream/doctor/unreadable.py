"""Records of an input that cannot be read, since their checksum is wrong: a shard that comes to them waits there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stream.doctor.finding import Check, Finding, Severity

MEND: Final = "mend the broker's log: another copy of the partition may have them whole"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """``skip``: the command that goes on behind them, where the shard stands at them."""

    subject: str
    first: int
    last: int
    why: str
    skip: str | None = None


def judge_unreadable(check: Check, found: Sequence[Unreadable]) -> list[Finding]:
    """An error each, with what to do."""
    return [_finding(check, each) for each in found]


def _finding(check: Check, each: Unreadable) -> Finding:
    offsets = f"offsets {each.first} to {each.last} cannot be read ({each.why})"
    if each.skip is None:
        what = f"{offsets}: a shard that comes to them waits"
        todo = f"{MEND}; when the shard stands there, its log, /readyz and this check name the command that goes on"
    else:
        what = f"{offsets}: the shard waits there"
        todo = f"{MEND}, or: {each.skip}"
    return Finding(check, Severity.ERROR, each.subject, what, todo)
