"""An anonymized recording counts as the original does, and names nobody."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from aiokafka.partitioner import murmur2

from stream.core.decode import Rejected, decode_one
from stream.model.events import PLATFORMS, SOURCES, Action, Checkout, Comment, Item, Status, View
from stream.model.messages import Message
from stream.model.names import SESSION_WINDOWS, SESSIONS, Kind
from stream.replay import anonymize, recording
from stream.replay.anonymize import Anonymizer
from stream.replay.file_source import FileRecord
from tests.bad_records import CASES
from tests.replay.test_from_file import MESSAGES, Taken, replayed

KEY: Final = b"k" * 32
PARTITIONS: Final = 4
MOST: Final = 1_048_576
WORDS: Final = {*get_args(Action), *get_args(Status), *SOURCES, *PLATFORMS, "other", "IDR"}
"""What names nobody."""
SECRET: Final = "rahasia"


def anonymizer(key: bytes = KEY) -> Anonymizer:
    return Anonymizer(key, PARTITIONS, MOST)


def outcome(message: Message) -> str:
    found = decode_one(message.kind, FileRecord(0, message.at, message.key, message.value), MOST)
    return "none" if found is None else found.reason if isinstance(found, Rejected) else "event"


def texts(value: Any) -> Iterator[str]:
    """All that are in it, names of fields aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def test_a_recording_counts_the_same_and_holds_no_id_of_before(tmp_path: Path) -> None:
    anonymous = anonymizer()
    for name, messages in (("before", MESSAGES), ("after", map(anonymous, MESSAGES))):
        with recording.create(tmp_path / f"{name}.ndjson") as file:
            recording.write(messages, file)
    before, after = Taken(), Taken()
    first = replayed(tmp_path / "before.ndjson", PARTITIONS, before)
    second = replayed(tmp_path / "after.ndjson", PARTITIONS, after)
    assert second.outcomes == first.outcomes
    assert second.refused == first.refused
    for topic in (SESSION_WINDOWS, SESSIONS):
        assert figures(after, topic) == figures(before, topic)
    assert not ids_of(tmp_path / "before.ndjson") & ids_of(tmp_path / "after.ndjson")
    assert b'"text":"x' in (tmp_path / "after.ndjson").read_bytes()


def ids_of(file: Path) -> set[str]:
    """Keys too."""
    found: set[str] = set()
    for line in file.read_bytes().splitlines():
        entry = json.loads(line)
        value = entry.get("value")
        found |= {str(entry.get("key")), *(texts(value) if isinstance(value, dict) else ())}
    return found - {"", "None", *WORDS}


def figures(taken: Taken, topic: str) -> list[str]:
    """All but names, and what depends on them: estimates of people, and which of equals a list names."""
    dropped = {
        "session_id",
        "seller_id",
        "creator_id",
        "by_affiliate",
        "products",
        "unique_viewers",
        "unique_buyers",
        "title",
    }
    dropped |= {"seller_name", "creator_name"}
    values = [
        {name: each for name, each in value.items() if name not in dropped} for value in taken.last[topic].values()
    ]
    return sorted(json.dumps(value, sort_keys=True) for value in values)


@pytest.mark.parametrize("case", [case for case in CASES if not case.headers], ids=lambda case: case.name)
def test_what_was_refused_is_refused_for_the_same_reason(case: Any) -> None:
    message = Message(1_700_000_000_000, Kind(case.kind), case.key, case.value, 0)
    after = anonymizer()(message)
    assert outcome(after) == outcome(message)


def whole(kind: Kind) -> dict[str, Any]:
    """An event in which every field that there is says something of somebody."""
    struct = {Kind.VIEWS: View, Kind.COMMENTS: Comment, Kind.CHECKOUTS: Checkout}[kind]
    known: dict[str, Any] = {
        "event_time": 1_700_000_000_000,
        "platform": SECRET,
        "source": SECRET,
        "action": "start",
        "status": "paid",
        "count": 3,
        "gift_value": 5,
        "watch_ms": 7,
        "concurrent_viewers": 11,
        "basket_number": 2,
        "attempt": 1,
        "amount_minor": 100,
        "discount_minor": 1,
        "currency": "IDR",
        "is_cod": False,
        "items": [{"product_id": SECRET, "quantity": 2, "unit_price_minor": 50, "local": True, "name": SECRET}],
    }
    return {name: known.get(name, f"{SECRET}-{name}") for name in struct.__struct_fields__} | {
        "note": {SECRET: [SECRET]}
    }


@pytest.mark.parametrize("kind", Kind)
def test_nothing_that_any_field_says_of_anybody_is_left(kind: Kind) -> None:
    event = whole(kind)
    message = Message(1_700_000_000_000, kind, event["session_id"].encode(), json.dumps(event).encode(), 0)
    assert outcome(message) == "event"
    after = anonymizer()(message)
    assert outcome(after) == "event"
    assert SECRET not in recording.line(after).decode()
    broken = [
        {**event, "event_time": SECRET},
        {**event, "viewer_id": 7_777_777},
        {**event, "items": [SECRET], "action": SECRET},
    ]
    for each in [*broken, {**event, "session_id": [SECRET]}, {**event, "platform": {SECRET: 1}}]:
        bad = message._replace(value=json.dumps(each).encode())
        written = recording.line(anonymizer()(bad)).decode()
        assert outcome(anonymizer()(bad)) == outcome(bad)
        assert SECRET not in written
        assert "7777777" not in written


def test_every_field_of_events_is_known_to_be_an_id_a_text_or_a_number() -> None:
    """A new field of events that is a text must be one of them, else it would stand in the file as x."""
    fields = {name for struct in (View, Comment, Checkout, Item) for name in struct.__struct_fields__}
    assert anonymize.DROPPED | {anonymize.TEXT} <= fields
    plain = {name for name in fields if not name.endswith("_id")} - anonymize.DROPPED - {anonymize.TEXT}
    assert plain == {
        *("event_time", "platform", "source", "action", "count", "gift_value", "watch_ms", "concurrent_viewers"),
        *("basket_number", "status", "amount_minor", "currency", "items", "attempt", "is_cod", "discount_minor"),
        *("quantity", "unit_price_minor", "local"),
    }


def test_an_id_is_the_same_everywhere_in_a_file_and_another_in_the_next() -> None:
    one, other = anonymizer(), anonymizer(b"o" * 32)
    view = Message(0, Kind.VIEWS, b"s1", json.dumps({**whole(Kind.VIEWS), "session_id": "s1"}).encode(), 0)
    checkout = Message(0, Kind.CHECKOUTS, b"s1", json.dumps({**whole(Kind.CHECKOUTS), "session_id": "s1"}).encode(), 0)
    first, second = json.loads(one(view).value or b""), json.loads(one(checkout).value or b"")
    assert first["viewer_id"] == second["viewer_id"]
    assert first["seller_id"] == second["seller_id"]
    assert one(view).key == one(checkout).key == first["session_id"].encode()
    assert first["viewer_id"] != json.loads(other(view).value or b"")["viewer_id"]


@pytest.mark.parametrize("key", [b"s1", "sesi-é".encode(), b"\xff\xfe", b"7301"])
def test_a_session_stays_in_its_partition(key: bytes) -> None:
    for secret in range(20):
        after = anonymizer(bytes([secret]) * 32)(Message(0, Kind.VIEWS, key, None, 0))
        assert after.key
        assert after.key != key
        assert (murmur2(after.key) & 0x7FFFFFFF) % PARTITIONS == (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
        assert after.value is None


@pytest.mark.parametrize("key", [None, b""])
def test_a_key_that_is_not_there_is_not_there(key: bytes | None) -> None:
    assert anonymizer()(Message(0, Kind.VIEWS, key, None, 0)).key == key
