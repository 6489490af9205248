"""The recorded data of ../shared/data as messages of a recording: real chats as comments, a real shop day as traffic."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from stream.model.messages import Message
from stream.model.names import Kind
from stream.replay import recording
from tests.live import DATA
from tests.test_real_input import Row, events

CHATS: Final = (DATA / "live_chat_arrivals_2.csv", DATA / "live_chat_arrivals_3.csv")
SHOP: Final = DATA / "taobao_userbehavior.csv"


def _ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def chat(file: Path, session: str) -> Iterator[Message]:
    """Each message of a chat as a comment, arriving when its producer sent it."""
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            event = {
                "event_id": f"c{number}",
                "event_time": _ms(row["event_time"]),
                "session_id": session,
                "seller_id": "s1",
                "viewer_id": row["viewer_id"],
                "platform": "other",
                "text": "x" * min(500, int(row["text_length"])),
            }
            yield _message(Kind.COMMENTS, event, _ms(row["ingest_time"]))


def shop(session: str | None = None) -> Iterator[Message]:
    """The shop's traffic, a session for each category, or all of it as one session: see tests/test_real_input.py."""
    with SHOP.open() as lines:
        for number, line in enumerate(lines):
            user, item, category, behaviour, seconds = line.split(",")
            row = Row(number, user, int(item), session or category, behaviour, int(seconds))
            for kind, key, value, _ in events(row):
                yield Message(row.seconds * 1000, Kind(kind), key, value, row.seconds * 1000)


def _message(kind: Kind, event: dict[str, Any], at: int) -> Message:
    return Message(at, kind, event["session_id"].encode(), json.dumps(event).encode(), event["event_time"])


def record(messages: Iterator[Message], file: Path) -> Path:
    """The file, written."""
    with recording.create(file) as out:
        recording.write(messages, out)
    return file
