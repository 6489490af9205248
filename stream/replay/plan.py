"""The plan of a replay: everything that decides what it counts, frozen in a file before anything is read. Pure.

A plan is made once and run as it stands: bounds are offsets, and the settings, the alert rules, the cluster and its topics
are those of the moment it was made. Its hash covers all of it, so that a plan that was edited is refused.
"""

import hashlib
import re
from typing import Any, Final

import msgspec

from stream.core.policy import fingerprint
from stream.errors import UsageError
from stream.model.names import ALERTS, DEAD_LETTERS, SESSION_WINDOWS, SESSIONS, STATE

FORMAT: Final = 1
"""Of the plan's file. A reader refuses a later one."""
_LIVE: Final = "live."
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class PartitionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One partition number. Offsets are by name of the input (``views``, ``comments``, ``checkouts``)."""

    partition: int
    begins: dict[str, int]
    """The first offset that is read: that of the lead-in."""
    ends: dict[str, int]
    """Nothing at or beyond it is ever read."""
    expected: dict[str, int]
    """About where reading will end, by the time of appending: clocks say it exactly only when they are read."""
    expected_bytes: int = 0
    """About what lies between, as the broker keeps it (compressed)."""
    lost: dict[str, int] = {}
    """Offsets at the beginning that retention has deleted, at most: what may be missing."""

    @property
    def records(self) -> int:
        """About how many are read; markers of transactions are counted."""
        return sum(max(0, self.expected[name] - begin) for name, begin in self.begins.items())


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Times are ms since 1970, UTC. Only windows ``from_ms`` <= start, end <= ``to_ms`` are written."""

    format: int = FORMAT
    id: str
    """The ``run`` of all that it writes, and part of its topics' names."""
    from_ms: int
    to_ms: int
    lead_ms: int
    """What is read was appended from so long before ``from_ms`` on, or earlier."""
    sessions: list[str] = []
    """Only these are written; all, when there are neither sessions nor sellers."""
    sellers: list[str] = []
    policy: dict[str, Any]
    """The settings that decide results, as a checkpoint keeps them: also ``--windows``, and what ``--count-late`` makes of
    the lateness."""
    live_policy: str
    """Fingerprint of the settings of the live workers, when it was made."""
    rules: str
    """The text of the file of alert rules."""
    count_late: bool = False
    letters: list[str] = []
    """Reasons of dead letters that are counted as if they had come in time."""
    cluster: str
    """Kafka's id of the cluster."""
    topic_prefix: str
    topic_ids: dict[str, str]
    """Kafka's ids of the inputs, by their names in the code."""
    partitions: int
    """Of every input."""
    parts: list[PartitionPlan]
    planned_ms: int
    version: str
    """Of liveshop."""
    hash: str = ""
    """Over all other fields."""

    @property
    def records(self) -> int:
        """About how many are read."""
        return sum(part.records for part in self.parts)

    def has_window(self, start: int, end: int) -> bool:
        """Whether it is wholly inside."""
        return self.from_ms <= start and end <= self.to_ms

    @property
    def fingerprint(self) -> str:
        """Of the settings that it counts with."""
        return fingerprint(self.policy)

    def topic(self, live: str) -> str:
        """Its own topic in the place of a live one: ``live.sessions`` is ``replay.<id>.sessions``. Without the prefix of
        the installation.
        """
        return topic_of(self.id, live)


def topic_of(plan_id: str, live: str) -> str:
    """See `Plan.topic`."""
    return f"replay.{plan_id}.{live.removeprefix(_LIVE)}"


WRITTEN: Final = (SESSION_WINDOWS, SESSIONS, ALERTS, DEAD_LETTERS, STATE)
"""The live topics in whose place a replay has its own."""


def check_id(text: str) -> str:
    """Raises UsageError for what cannot be part of a topic's name."""
    if not _ID.fullmatch(text):
        raise UsageError(f"{text!r:.60} is no id of a replay: at most 40 of a-z, 0-9 and -, such as friday-evening")
    return text


def sealed(plan: Plan) -> Plan:
    """The plan with its hash."""
    return msgspec.structs.replace(plan, hash=_hash(plan))


def written(plan: Plan) -> bytes:
    """As a file."""
    return msgspec.json.format(msgspec.json.encode(plan, order="sorted"), indent=2) + b"\n"


def read(data: bytes, name: str) -> Plan:
    """What `written` has made. ``name``: of the file, for messages.

    Raises UsageError for what is no plan, one that was edited, and one of a later version.
    """
    try:
        head = msgspec.json.decode(data, type=dict[str, Any])
        if isinstance(head.get("format"), int) and head["format"] > FORMAT:
            raise UsageError(f"{name}: a later version has made this plan: {head.get('version')}")
        plan = msgspec.json.decode(data, type=Plan)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{name}: this is no plan of a replay: {error}") from None
    if plan.hash != _hash(plan):
        raise UsageError(f"{name}: the plan was edited after it was made: make another one")
    check_id(plan.id)
    return plan


def _hash(plan: Plan) -> str:
    """16 hex digits of the SHA-256 of its sorted JSON."""
    bare = msgspec.json.encode(msgspec.structs.replace(plan, hash=""), order="sorted")
    return hashlib.sha256(bare).hexdigest()[:16]
