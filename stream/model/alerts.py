"""Alert rules as operators write them, checked; and alerts as live.alerts tells them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

import msgspec
import orjson
import xxhash

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1
"""What JSON writers agree on."""


class Severity(StrEnum):
    """What a person is to do about an alert: get up, look at it today, know it."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


class Status(StrEnum):
    """Of a firing each is written once."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert of a rules file. The texts are checked where the file is read and where the rule is compiled."""

    alert: str
    """Its name: ``[a-z][a-z0-9_]*``."""
    window_ms: int
    baseline_ms: int = 0
    """The span before the window that it is compared with; 0: none."""
    when: str
    """CEL."""
    for_ms: int = 0
    """How long ``when`` must hold before the alert fires."""
    keep_firing_for_ms: int = 0
    """How long it keeps firing while ``when`` does not hold."""
    severity: Severity
    summary: str
    """May hold ``{name}`` and ``{name:.1%}``: the figures, by their names in an alert's values."""
    runbook: str = ""
    """Where it stands what to do; empty: nowhere."""
    min: Mapping[str, float] = field(default_factory=dict)
    """Least values by figure: below one of them the rule does not hold, and ``when`` is not asked."""
    sellers: frozenset[str] = frozenset()
    """Whose sessions it is for. Here and below: empty stands for all."""
    sessions: frozenset[str] = frozenset()
    platforms: frozenset[str] = frozenset()

    def concerns(self, session_id: str, seller_id: str, platform: str) -> bool:
        return (
            (not self.sellers or seller_id in self.sellers)
            and (not self.sessions or session_id in self.sessions)
            and (not self.platforms or platform in self.platforms)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A record of live.alerts. Times are ends of slides, in ms."""

    alert: str
    session_id: str
    seller_id: str
    status: Status
    severity: Severity
    since: int
    """When ``when`` first held."""
    at: int
    """When it was decided."""
    run: str
    summary: str
    runbook: str
    values: dict[str, int | float]
    id: str
    minor_digits: dict[str, int] = field(default_factory=dict)
    """Of the currency of money among the values: 81900000 with 2 is Rp 819.000. Empty where there is none."""
    idle: bool = False
    """Decided while a topic was left out of the watermark or the shard was silent."""

    def key(self) -> bytes:
        return f"{self.alert}/{self.session_id}".encode()

    def value(self) -> bytes:
        fields = asdict(self)
        for name in ("idle", "minor_digits"):
            if not fields[name]:
                del fields[name]
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def read_alert(value: bytes) -> Alert:
    """What `Alert.value` wrote. Raises ValueError for anything else, without its content but for the names of fields."""
    try:
        alert = msgspec.json.decode(value, type=Alert)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    numbers = (alert.since, alert.at, *alert.values.values(), *alert.minor_digits.values())
    if not all(_LEAST <= number <= _MOST for number in numbers):
        raise ValueError("a number has more than 64 bits")
    return alert


def alert_id(alert: str, session_id: str, since: int) -> str:
    """The same for a firing and the resolving of it, and whenever the same log is read again."""
    return xxhash.xxh3_64_hexdigest(f"{alert}/{session_id}/{since}".encode())
