"""What a check has found. The fields are those of ``liveshop doctor --json``: changed only by adding."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Check(StrEnum):
    """In the order in which they are made and shown."""

    BROKERS = "brokers"
    CLOCK = "clock"
    TOPICS = "topics"
    REPLICATION = "replication"
    SETTINGS = "settings"
    TRANSACTIONS = "transactions"
    GROUP = "group"
    POSITIONS = "positions"
    LAG = "lag"
    KEYS = "keys"
    EVENTS = "events"
    CONFIGURATION = "configuration"


class Severity(StrEnum):
    """Only ``error`` makes the command fail."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_ORDER: Final = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Finding:
    """``todo`` is empty where there is nothing to do. No text quotes a key or a value of a record."""

    check: Check
    severity: Severity
    subject: str
    what: str
    todo: str = ""


def worst(findings: Iterable[Finding]) -> Severity:
    """``ok`` for none."""
    return max((finding.severity for finding in findings), key=_ORDER.index, default=Severity.OK)


def listed(numbers: Iterable[int]) -> str:
    """``0-3, 7``: partition numbers for people."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
