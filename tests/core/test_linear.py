"""Every check on a value takes time linear in its size, up to the largest value there may be.

Sizes are doubled up to ``max_value``, and the time per byte of each is held against the least of those before. What is
quadratic takes twice as much per byte with each doubling, and fails long before the largest size, which could take an hour.
"""

import base64
import json
import time
from collections.abc import Callable
from typing import Final

import pytest

from stream.core.deadletters import oversize, rows
from stream.core.decode import STRUCTURED, decode_one
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.messages import Message
from stream.model.names import INPUTS, Kind
from stream.replay.recording import moved
from tests.core.test_decode import CHECKOUT, COMMENT, MAX_VALUE, VIEW
from tests.recount import LogRecord

SIZES: Final = [MAX_VALUE // 2**halvings for halvings in range(9, -1, -1)]
FACTOR: Final = 8
"""A larger size may cost so many times as much per byte: caches and a busy machine cost less than that."""
LEAST: Final = 1e-9
"""Seconds a byte that are nothing: so little is taken by one look at each byte."""
EVENTS: Final = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT, Kind.CHECKOUTS: CHECKOUT}

Made = Callable[[int], bytes]


def filled(begin: bytes, unit: bytes, end: bytes) -> Made:
    return lambda size: begin + unit * ((size - len(begin) - len(end)) // len(unit)) + end


def opened(kind: Kind = Kind.VIEWS, **fields: object) -> bytes:
    """An event without its last brace."""
    return json.dumps(EVENTS[kind] | fields).encode()[:-1]


def ignored(unit: bytes) -> Made:
    """A good event, and a field that is ignored."""
    return filled(opened() + b',"x":"', unit, b'"}')


def raw(unit: bytes, end: bytes = b"") -> Made:
    return filled(b"", unit, end)


def in_field(name: str, unit: bytes, kind: Kind = Kind.VIEWS) -> Made:
    event = {key: value for key, value in EVENTS[kind].items() if key != name}
    return filled(json.dumps(event).encode()[:-1] + b',"%b":"' % name.encode(), unit, b'"}')


def many_keys(size: int) -> bytes:
    return opened(count="x") + b"".join(b',"k%d":0' % number for number in range((size - 200) // 12)) + b"}"


def nested(size: int) -> bytes:
    """Deep, then shallow, again and again."""
    return filled(opened() + b',"x":[', b"[" * 150 + b"]" * 150 + b",", b"0]}")(size)


SHAPES: Final[dict[str, Made]] = {
    "brackets and a string that does not end": filled(b"[" * 201 + b'"', b'\\"', b""),
    "strings that do not end": filled(b"[" * 201, b'"\\', b""),
    "quotes": raw(b'"'),
    "quoted quotes": ignored(b'\\"'),
    "backslashes": raw(b"\\"),
    "pairs of backslashes": ignored(b"\\\\"),
    "an odd number of backslashes": filled(b"[" * 201 + b'"', b"\\" * 7 + b'"', b'"'),
    "brackets": raw(b"["),
    "braces": raw(b'{"":'),
    "closed brackets": raw(b"[]"),
    "brackets in a field": filled(opened() + b',"x":[', b"[],", b"0]}"),
    "brackets in a string": ignored(b"[{"),
    "objects in a field of the wrong type": filled(opened(count="x") + b',"y":[', b'{"":{}},', b"0]}"),
    "deep then shallow": nested,
    "digits": filled(opened() + b',"x":', b"7", b"}"),
    "digits of an event time": filled(b'{"event_time":', b"7", b"}"),
    "digits behind a fault": filled(opened(count="x") + b',"count":3,"y":', b"7", b"}"),
    "long numbers": filled(opened(count="x") + b',"count":3,"y":[', b"7" * 4299 + b",", b"0]}"),
    "a fraction": filled(b'{"event_time":0.', b"0", b"1}"),
    "a fraction of sevens": filled(opened(count="x") + b',"y":1.', b"7", b"}"),
    "an exponent": filled(b'{"event_time":1e', b"7", b"}"),
    "escapes": ignored(b"\\u00e9"),
    "escapes in an id": in_field("event_id", b"\\u00e9"),
    "pairs of surrogates": in_field("viewer_id", b"\\ud83d\\ude00"),
    "half surrogates": in_field("viewer_id", b"\\ud800"),
    "control characters in an id": in_field("session_id", b"\\u0001"),
    "UTF-8": ignored("é\N{FIRE}".encode()),
    "UTF-8 that is wrong at the end": filled(opened() + b',"x":"', "é".encode(), b'\xc3"}'),
    "UTF-8 cut at the end": filled(opened() + b',"x":"', "\N{FIRE}".encode(), b"\xf0\x9f"),
    "no UTF-8": raw(b"\x80"),
    "a long text": in_field("text", "é\\n".encode(), Kind.COMMENTS),
    "a key again and again": filled(opened() + b",", b'"count":"x",', b'"count":3}'),
    "a key again and again, and never right": filled(opened() + b",", b'"count":"x",', b'"count":"x"}'),
    "an escaped key again and again": filled(opened() + b",", b'"\\u0063ount":"x",', b'"count":3}'),
    "many keys": many_keys,
    "a long key": filled(opened() + b',"', b"k", b'":1}'),
    "many items": filled(opened(Kind.CHECKOUTS, items=0) + b',"items":[', json.dumps(CHECKOUT["items"][0]).encode() + b",",
                         b"{}]}"),
    "items with a key again and again": filled(
        opened(Kind.CHECKOUTS) + b',"items":[{', b'"quantity":"x",', b'"product_id":"p","quantity":1,"unit_price_minor":5}]}'
    ),
    "an unknown action": in_field("action", b" - at `$"),
    "an unknown action of accents": in_field("action", b"`"),
    "white space": filled(opened(), b" \n", b"}"),
    "white space alone": raw(b" "),
    "zero bytes": raw(b"\x00"),
    "zero bytes behind": filled(opened() + b"}", b"\x00", b""),
    "events behind one another": raw(opened() + b"}\n"),
    "Protobuf": raw(b"\x0a\x01a"),
    "lengths without end": raw(b"\xff"),
    "commas": raw(b"a,"),
    "equal signs": raw(b"a="),
    "JSON of JSON": lambda size: json.dumps(ignored(b'"')(size // 2).decode()).encode(),
    "a wide envelope": filled(b'{"payload":[', b"{},", b"0]}"),
}  # fmt: skip


def kind_of(name: str) -> Kind:
    return Kind.CHECKOUTS if "items" in name else Kind.COMMENTS if "text" in name else Kind.VIEWS


def seconds_per_byte(work: Callable[[bytes], object], value: bytes, times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.thread_time()
        work(value)
        best = min(best, time.thread_time() - began)
    return best / len(value)


def check(work: Callable[[bytes], object], made: Made) -> None:
    least = float("inf")
    for size in SIZES:
        value = made(size)
        assert len(value) <= MAX_VALUE
        bound = FACTOR * max(LEAST, least)
        taken = seconds_per_byte(work, value)
        if taken > bound:  # more often: the machine, or the collector of garbage, may have been busy
            taken = seconds_per_byte(work, value, 9)
        assert taken <= bound, f"{size} bytes"
        least = min(least, taken)


def judged(kind: Kind, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
    """The whole way of a record, from its bytes to a dead letter's."""
    shard = Shard(Policy())
    record = LogRecord(str(kind), 0, 0, VIEW["event_time"], b"s1", value, headers)
    shard.read(kind, [record])
    outputs = shard.collect()
    assert outputs is not None
    assert outputs.tally.outcomes.total() == 1
    for _, _, made in rows(outputs.dead_letters, {str(kind): name for kind, name in INPUTS.items()}, 0, 0):
        detail = dict(made)["liveshop-detail"]
        assert detail is not None
        assert len(detail) <= 300


@pytest.mark.parametrize("name", SHAPES)
def test_a_value_takes_time_linear_in_its_size(name: str) -> None:
    check(lambda value: judged(kind_of(name), value), SHAPES[name])


@pytest.mark.parametrize("name", ["quoted quotes", "brackets in a field", "deep then shallow", "UTF-8", "many keys"])
def test_a_cloud_event_too(name: str) -> None:
    headers = (("content-type", STRUCTURED),)
    check(lambda value: judged(Kind.VIEWS, b'{"data":%b}' % value, headers), lambda size: SHAPES[name](size - 20))


@pytest.mark.parametrize("name", ["brackets and a string that does not end", "quoted quotes", "digits", "UTF-8"])
def test_base64_in_a_cloud_event_too(name: str) -> None:
    headers = (("content-type", STRUCTURED),)

    def made(size: int) -> bytes:
        return b'{"data_base64":"%b"}' % base64.b64encode(SHAPES[name](size * 3 // 4 - 40))

    check(lambda value: judged(Kind.VIEWS, value, headers), made)


@pytest.mark.parametrize("content", [b" ", b"a", b"APPLICATION/", STRUCTURED])
def test_headers_too(content: bytes) -> None:
    def work(value: bytes) -> None:
        headers = (("content-type", content * (len(value) // len(content))),)
        decode_one(Kind.VIEWS, LogRecord("views", 0, 0, 0, b"s1", b"{}", headers), MAX_VALUE)

    check(work, raw(b"x"))


@pytest.mark.parametrize("key", [b" ", b"\x00", b"{", b"a", b"\xff"])
def test_keys_too(key: bytes) -> None:
    value = opened() + b"}"

    def work(key: bytes) -> None:
        decode_one(Kind.VIEWS, LogRecord("views", 0, 0, 0, key, value, ()), MAX_VALUE)

    check(work, raw(key))


def test_what_is_too_large_too() -> None:
    check(lambda value: oversize(LogRecord("views", 0, 0, 0, b"s1", value, ())), raw(b"x"))


@pytest.mark.parametrize("unit", [b'"event_time"', b'"event_time" ', b'"event_time":', b"7", b" "])
def test_what_is_played_again_too(unit: bytes) -> None:
    check(lambda value: moved(Message(0, Kind.VIEWS, b"s1", value, event_time=0), 5), raw(unit))
