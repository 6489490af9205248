"""What the tests of the room share: a machine that remembers what it was given, and records for it."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from stream.core.decode import Decoded
from stream.model.events import Common
from stream.model.messages import Message
from stream.model.names import KINDS, Kind
from stream.model.results import Record, Records
from stream.replay.file_source import FileRecord
from stream.replay.recording import Arrived

START: Final = 1_760_000_000_000


class Remembering:
    """A machine for a feed: moves its clocks as a shard does, and remembers what came in which order."""

    def __init__(self) -> None:
        self.clocks: dict[Kind, int | None] = dict.fromkeys(KINDS)
        self.counted: list[tuple[Kind, int]] = []
        """Topic and offset."""
        self.remembered: list[tuple[Kind, int]] = []
        self.excluded: list[Kind] = []
        self.spread = 0
        """The most event time that lay between two clocks, ms."""

    def count(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        assert len(records) == len(events)
        self.counted += [(kind, record.offset) for record in records]
        for event in events:
            if isinstance(event, Common):
                self.clocks[kind] = max(self.clocks[kind] or 0, event.event_time)
        known = [clock for clock in self.clocks.values() if clock is not None]
        self.spread = max(self.spread, max(known, default=0) - min(known, default=0))

    def remember(self, kind: Kind, records: Sequence[Record], events: Sequence[Decoded]) -> None:
        assert len(records) == len(events)
        self.remembered += [(kind, record.offset) for record in records]

    def exclude(self, kind: Kind) -> None:
        self.excluded.append(kind)

    def offsets(self, kind: Kind) -> list[int]:
        return [offset for each, offset in self.counted if each is kind]


def arriving(messages: Iterable[Message]) -> list[Arrived]:
    """As a recording has them."""
    return [message[:4] for message in messages]


def event(kind: Kind, number: int, time: int, **changes: Any) -> bytes:
    """``time`` in ms after the start."""
    own: dict[Kind, dict[str, Any]] = {
        Kind.VIEWS: {"action": "enter"},
        Kind.COMMENTS: {"text": "halo"},
        Kind.CHECKOUTS: {
            "checkout_id": f"k{number}",
            "status": "paid",
            "amount_minor": 100,
            "currency": "IDR",
            "items": [],
        },
    }
    common = {
        "event_id": f"{kind}{number}",
        "event_time": START + time,
        "session_id": "7",
        "seller_id": "s1",
        "viewer_id": f"v{number % 7}",
        "platform": "shopee",
    }
    return json.dumps(common | own[kind] | changes).encode()


def records(kind: Kind, times: Iterable[int]) -> Records:
    """One record for each time, in ms after the start; appended in that very moment."""
    made = [FileRecord(number, START + time, b"7", event(kind, number, time)) for number, time in enumerate(times)]
    return Records(made, min((record.timestamp for record in made), default=0))
