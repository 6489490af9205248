"""Recorded messages without anybody's name: ids are hashed with a key that nobody keeps, texts and names are dropped.

Counts stay what they are: the same id has the same hash everywhere in the file, a session stays in the partition that its
key has, numbers and times stay, and what was refused is refused for the same reason. Only fields that liveshop knows are
written. Estimates of unique viewers may differ within their error, and lists may order equals otherwise. Pure.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, get_args

import msgspec
from aiokafka.partitioner import murmur2

from stream.core.decode import Decoded, Rejected, decode_one
from stream.model.events import PLATFORMS, SOURCES, Action, Checkout, Comment, Common, Item, Status, View
from stream.model.messages import Message
from stream.model.money import EXPONENTS
from stream.model.names import Kind, Reason
from stream.replay.file_source import FileRecord

_KNOWN: Final[Mapping[Kind, frozenset[str]]] = {
    kind: frozenset(struct.__struct_fields__)
    for kind, struct in ((Kind.VIEWS, View), (Kind.COMMENTS, Comment), (Kind.CHECKOUTS, Checkout))
}
_OF_ITEMS: Final = frozenset(Item.__struct_fields__)
SESSION: Final = "session_id"
TEXT: Final = "text"
"""Of a comment. Its length stays."""
DROPPED: Final = frozenset(
    {"title", "seller_name", "creator_name", "product_name", "language", "payment_method", "failure_code"}
)
"""Texts that count nowhere."""
LISTS: Final = {"platform": PLATFORMS, "source": SOURCES}
"""What is on none of them is counted as other."""
_WORDS: Final = frozenset({*PLATFORMS, *SOURCES, *EXPONENTS, *get_args(Action), *get_args(Status)})
"""Texts that name nobody."""
_STAND_INS: Final[Mapping[Reason, bytes]] = {
    Reason.NOT_UTF8: b"\xff",
    Reason.WRONG_TYPE: b"[]",
    Reason.MISSING_FIELD: b"{}",
    Reason.BAD_VALUE: b'{"event_id":""}',
}
"""For values of which too little is left to be refused for the same reason."""
HEX: Final = 16
"""Digits of a hashed id."""
_LONGEST: Final = 128
"""Of an id."""
_WHOLE: Final = 2**53
CACHED: Final = 100_000
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder().encode


class Anonymizer:
    """For one file. ``key``: 32 random bytes; ``partitions``: of the topics; ``max_value``: bytes of a value, at most."""

    def __init__(self, key: bytes, partitions: int, max_value: int) -> None:
        self._key = key
        self._partitions = partitions
        self._max_value = max_value
        self._session: Callable[[str], str] = lru_cache(CACHED)(self._placed)

    def __call__(self, message: Message) -> Message:
        """The same message of nobody. Its ``fault`` says that its value is to be looked at before it is written."""
        key = None if message.key is None else self._named(SESSION, _text(message.key)).encode()
        return message._replace(key=key, value=self._value(message, key), fault="anonymous")

    def _value(self, message: Message, key: bytes | None) -> bytes | None:
        before = self._judged(message)
        if before is None:
            return None
        if isinstance(before, Common):
            return _encode(self._event(msgspec.structs.asdict(before)))
        value = self._refused(message)
        after = self._judged(message._replace(key=key, value=value))
        return value if isinstance(after, Rejected) and after.reason is before.reason else self._stand_in(before.reason)

    def _judged(self, message: Message) -> Decoded:
        return decode_one(message.kind, FileRecord(0, message.at, message.key, message.value), self._max_value)

    # -- what was counted

    def _event(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Of a struct. What is None was not there."""
        known = {name: each for name, each in fields.items() if each is not None and name not in DROPPED}
        return {name: self._field(name, each) for name, each in known.items()}

    def _field(self, name: str, value: Any) -> Any:
        if name in LISTS:
            return value if value in LISTS[name] else "other"
        if name == "items":
            return [self._event(msgspec.structs.asdict(item)) for item in value]
        return self._plain(name, value)

    def _plain(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name.endswith("_id"):
            return self._named(name, value)
        if isinstance(value, str):
            return value if value in _WORDS and name != TEXT else "x" * len(value)
        return value

    # -- what was refused

    def _refused(self, message: Message) -> bytes:
        """With the types that it had, so that it is refused again."""
        if len(message.value or b"") > self._max_value:
            return self._stand_in(Reason.TOO_LARGE)
        try:
            fields = _decode(message.value or b"")
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return b""
        return _encode(self._any(fields, _KNOWN[message.kind]))

    def _any(self, fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
        return {name: self._typed(name, each) for name, each in fields.items() if name in known}

    def _typed(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._any(each, _OF_ITEMS) if isinstance(each, dict) else self._typed("", each) for each in value]
        if isinstance(value, dict):
            return {}
        if isinstance(value, int) and not isinstance(value, bool) and (name.endswith("_id") or not name):
            return int(self._hash(name, str(value)), 16) % _WHOLE
        return self._plain(name, value)

    def _stand_in(self, reason: Reason) -> bytes:
        return b'"%b"' % (b"x" * self._max_value) if reason is Reason.TOO_LARGE else _STAND_INS.get(reason, b"{")

    # -- ids

    def _named(self, name: str, text: str) -> str:
        """A hash that breaks the same rules of ids."""
        if not text:
            return text
        found = self._session(text) if name == SESSION else self._hash(name, text)
        found += "/" if "/" in text else ""
        found += "\x00" if any(ord(character) < ord(" ") for character in text) else ""
        return found.ljust(len(text), "x") if len(text) > _LONGEST else found

    def _hash(self, name: str, text: str) -> str:
        data = f"{name}\x00{text}".encode(errors="surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=HEX // 2).hexdigest()

    def _placed(self, session: str) -> str:
        """The first of its hashes that Kafka places where the session is."""
        place = _place(session.encode(errors="surrogateescape"), self._partitions)
        number = 0
        while True:
            found = self._hash(SESSION, f"{number}\x00{session}")
            if _place(found.encode(), self._partitions) == place:
                return found
            number += 1


def _place(key: bytes, partitions: int) -> int:
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def _text(key: bytes) -> str:
    """A key as the text that a session id would be; bytes that are none stay apart from all texts."""
    return key.decode(errors="surrogateescape")
