"""What goes wrong on the way: delays, and every kind of bad input that the domain knows, made from a good message."""

import math
from collections.abc import Callable
from random import Random
from typing import Final

from stream.model.messages import Message
from stream.model.names import Kind, Outcome, Reason

DELAYS: Final = 1 << 14
"""Size of the table of delays."""
_ORDINARY_MS: Final = 280
_LATE: Final = ((0.004, -2_600, 0), (0.012, 2_000, 15_000), (0.0025, 15_000, 166_000), (0.0003, 330_000, 720_000))
"""Share, and from..to in ms: clocks ahead, phones in tunnels, buffers after a reconnect, and the truly late."""


def delays(rng: Random) -> list[int]:
    """Milliseconds between an event and its arrival, to draw from uniformly. Most are well under 2 s."""
    made = [min(1_990, int(-math.log(1.0 - rng.random()) * _ORDINARY_MS)) for _ in range(DELAYS)]
    at = 0
    for share, low, high in _LATE:
        for _ in range(round(share * DELAYS)):
            made[at] = rng.randint(low, high)
            at += 1
    rng.shuffle(made)
    return made


def _changed(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda value: value.replace(old, new, 1)


def _number_after(value: bytes, name: bytes) -> tuple[int, int]:
    begin = value.index(name) + len(name)
    end = begin
    while value[end : end + 1].isdigit():
        end += 1
    return begin, end


def _around(name: bytes, before: bytes, after: bytes) -> Callable[[bytes], bytes]:
    """Put text before and after the number of a field."""

    def change(value: bytes) -> bytes:
        begin, end = _number_after(value, name)
        return value[:begin] + before + value[begin:end] + after + value[end:]

    return change


_TIME: Final = b'"event_time":'
_AMOUNT: Final = b'"amount_minor":'
_ID: Final = b'"event_id":"'
_FUTURE_MS: Final = 600_000

_Change = tuple[Reason, Callable[[bytes], bytes]]
_ANY: Final[tuple[_Change, ...]] = (
    (Reason.INVALID_JSON, lambda value: value[: len(value) * 2 // 3]),
    (Reason.INVALID_JSON, lambda _: b""),
    (Reason.INVALID_JSON, lambda value: b"<event>" + value),
    (Reason.NOT_UTF8, _changed(b"{", b'{"note":"caf\xe9",')),
    (Reason.MISSING_FIELD, _changed(b'"viewer_id":', b'"viewer":')),
    (Reason.WRONG_TYPE, _around(_TIME, b'"', b'"')),
    (Reason.WRONG_TYPE, _around(_TIME, b"", b".5")),
    (Reason.WRONG_TYPE, _changed(b'"platform":"', b'"platform":null,"was":"')),
    (Reason.BAD_VALUE, _changed(_ID, _ID + b"x" * 130)),
    (Reason.BAD_VALUE, _changed(_ID, _ID + b"\\u0007")),
    (Reason.BAD_VALUE, _changed(b'"seller_id":"', b'"seller_id":"toko/')),
    (Reason.BAD_VALUE, _around(_TIME, b"-", b"")),
)
_BY_KIND: Final[dict[Kind, tuple[_Change, ...]]] = {
    Kind.VIEWS: ((Reason.UNKNOWN_ACTION, _changed(b'"action":"', b'"action":"super_')),),
    Kind.COMMENTS: ((Reason.MISSING_FIELD, _changed(b'"text":', b'"txt":')),),
    Kind.CHECKOUTS: (
        (Reason.UNKNOWN_STATUS, _changed(b'"status":"', b'"status":"half_')),
        (Reason.BAD_VALUE, _around(_AMOUNT, b"-", b"")),
        (Reason.WRONG_TYPE, _around(_AMOUNT, b"", b".5")),
        (Reason.BAD_VALUE, _changed(b'"currency":"IDR"', b'"currency":"RUP"')),
    ),
}
_TOO_LARGE: Final = 2**20 + 1
_TOO_LARGE_SHARE: Final = 0.01


def spoil(message: Message, rng: Random) -> Message:
    """The same message with one fault."""
    value = message.value or b""
    other = rng.random()
    if other < _TOO_LARGE_SHARE:
        padded = value[:-1] + b',"padding":"' + b"0" * (_TOO_LARGE - len(value)) + b'"}'
        return message._replace(value=padded, fault=Reason.TOO_LARGE)
    if other < 0.25:  # noqa: PLR2004 - a quarter of the faults are of the record, not of its JSON
        return rng.choice(_RECORD_FAULTS)(message)
    reason, change = rng.choice(_ANY + _BY_KIND[message.kind])
    return message._replace(value=change(value), fault=reason)


def _in_future(message: Message) -> Message:
    begin, end = _number_after(message.value or b"", _TIME)
    moved = message.at + _FUTURE_MS
    value = (message.value or b"")[:begin] + b"%d" % moved + (message.value or b"")[end:]
    return message._replace(value=value, event_time=moved, fault=Reason.FUTURE)


_RECORD_FAULTS: Final[tuple[Callable[[Message], Message], ...]] = (
    lambda message: message._replace(value=None, fault=Outcome.TOMBSTONE),
    lambda message: message._replace(key=b"", fault=Reason.KEY_MISMATCH),
    lambda message: message._replace(key=None, fault=Reason.KEY_MISMATCH),
    lambda message: message._replace(key=b"0" + (message.key or b""), fault=Reason.KEY_MISMATCH),
    _in_future,
)
