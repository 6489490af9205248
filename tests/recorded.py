"""The recorded data of ../shared/data as messages: real chats as comments, a real shop day as a broadcast's traffic."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from stream.model.messages import Message
from stream.model.names import Kind
from tests.live import DATA
from tests.test_real_input import FILE as SHOP
from tests.test_real_input import outgoing

CHATS: Final = {name: DATA / f"live_chat_arrivals_{name}.csv" for name in ("2", "3")}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _ms(text: str) -> int:
    return round((datetime.fromisoformat(text) - _EPOCH).total_seconds() * 1000)


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
            value = json.dumps(event).encode()
            yield Message(_ms(row["ingest_time"]), Kind.COMMENTS, session.encode(), value, _ms(row["event_time"]))


@cache
def _shop() -> list[Message]:
    """As tests/test_real_input.py maps it: a session for each category."""
    found = []
    for kind, key, value, _ in outgoing():
        time = json.loads(value or b"")["event_time"]
        found.append(Message(time, Kind(kind), key, value, time))
    return found


def shop(session: Callable[[str], str]) -> Iterator[Message]:
    """The shop's traffic; ``session`` says whose broadcast a category belongs to."""
    for message in _shop():
        category = (message.key or b"").decode()
        ours = session(category)
        old, new = f'"session_id": "{category}"'.encode(), f'"session_id": "{ours}"'.encode()
        yield message._replace(key=ours.encode(), value=(message.value or b"").replace(old, new, 1))


__all__ = ["CHATS", "SHOP", "chat", "shop"]
