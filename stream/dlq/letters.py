"""A dead letter as it lies in the topic: what its headers say, and as much of its event as can be read. Pure.

The form is that of core/deadletters.py. Headers are not trusted: what is no dead letter is None, never an exception.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from stream.core.deadletters import (
    DETAIL,
    DROPPED,
    LEAST_LETTER,
    ORIGIN,
    OURS,
    REASON,
    RECORDS,
    SIZE,
    fitting,
    redrives,
)
from stream.core.decode import payload
from stream.core.headers import Header
from stream.core.nesting import refuse_deep
from stream.model.events import LEAST_MS, MOST_MS
from stream.model.results import RefusedBatch

_ORIGIN: Final = re.compile(r"([^/]{1,249})/([0-9]{1,9})/([0-9]{1,19})(?:-([0-9]{1,19}))?/(-?[0-9]{1,19})", re.ASCII)
KEY_CUT: Final = fitting(LEAST_LETTER) // 4
"""A key of so many bytes may have been cut: the least that any dead letter keeps of one."""


class _Head(msgspec.Struct):
    """What is asked of an event that nobody has checked."""

    event_time: Any = None
    session_id: Any = None


_head: Final = msgspec.json.Decoder(_Head).decode


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the record lay that was refused. A batch has a first and a last offset."""

    topic: str
    partition: int
    first: int
    last: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. It is a `Record` as well, with the key, value and headers that the original had."""

    partition: int
    offset: int
    """Of the letter itself."""
    written: int
    """When, in ms."""
    reason: str
    detail: str
    origin: Origin
    redrives: int
    """How often the record has been sent again."""
    size: int | None
    """Bytes of the whole value, where only its beginning is here."""
    records: int | None
    """How many the letter stands for, where it is that of a batch."""
    dropped: int
    """Original headers that are not here."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    """The original ones."""
    own: Mapping[str, str]
    """Those of liveshop."""

    @property
    def timestamp(self) -> int:
        """That of the original."""
        return self.origin.timestamp

    @property
    def place(self) -> str:
        """As `liveshop dlq show` takes it."""
        return f"{self.partition}:{self.offset}"

    @property
    def is_cut(self) -> bool:
        """The original is not here as a whole."""
        return self.size is not None or len(self.key or b"") >= KEY_CUT

    def head(self) -> tuple[Any, Any]:
        """Event time and session id as the event says them, of whatever type; None each where it does not."""
        try:
            refuse_deep(self.value or b"")
            data = payload(self)
            found = _head(data) if data else _Head()
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None, None
        return found.event_time, found.session_id

    def time(self) -> int:
        """The event time, in ms; where it cannot be read, or lies ahead of the broker's, the broker's timestamp.

        So nothing has a later time than the letter was written, and who looks for times from some moment on finds them
        behind the first letter that was written then.
        """
        stamp = max(0, min(self.origin.timestamp, self.written, MOST_MS))
        event_time, _ = self.head()
        return event_time if type(event_time) is int and LEAST_MS <= event_time <= stamp else stamp

    def is_of(self, session_id: str) -> bool:
        """By its key, or by what the event says: one of them may be what is wrong."""
        return self.key == session_id.encode() or self.head()[1] == session_id


def letter_of(record: Any, partition: int) -> Letter | None:
    """None for what is no dead letter of liveshop."""
    if isinstance(record, RefusedBatch):
        return None
    own = {name: (value or b"").decode(errors="replace") for name, value in record.headers if name in OURS}
    found = _ORIGIN.fullmatch(own.get(ORIGIN, ""))
    if found is None or not own.get(REASON):
        return None
    topic, number, first, last, timestamp = found.groups()
    return Letter(
        partition=partition,
        offset=record.offset,
        written=record.timestamp,
        reason=own[REASON],
        detail=own.get(DETAIL, ""),
        origin=Origin(topic, int(number), int(first), int(last or first), int(timestamp)),
        redrives=redrives(record.headers),
        size=_number(own.get(SIZE)),
        records=_number(own.get(RECORDS)),
        dropped=_number(own.get(DROPPED)) or 0,
        key=record.key,
        value=record.value,
        headers=[(name, value) for name, value in record.headers if name not in OURS],
        own=own,
    )


def _number(text: str | None) -> int | None:
    return int(text[:18]) if text and text.isascii() and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: all of those named. Empty: any."""

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    """As the broker calls them."""
    from_ms: int | None = None
    to_ms: int | None = None
    """Not included."""
    session: str | None = None

    def has(self, letter: Letter) -> bool:
        """The value is looked into only where nothing else has said no."""
        if self.reasons and letter.reason not in self.reasons:
            return False
        if self.topics and letter.origin.topic not in self.topics:
            return False
        if self.session is not None and not letter.is_of(self.session):
            return False
        if self.from_ms is None and self.to_ms is None:
            return True
        time = letter.time()
        return (self.from_ms is None or time >= self.from_ms) and (self.to_ms is None or time < self.to_ms)
