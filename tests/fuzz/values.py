"""Values, keys and headers of records: native code makes of them what Python does, and a fault is a value."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Final

from stream.core.decode import Rejected, decode_all, decode_batch
from stream.core.switch import NATIVE
from stream.model.events import Checkout, Comment, View
from stream.model.names import KINDS, Kind
from tests.fuzz.damage import damaged, repeated
from tests.fuzz.target import Bound, Input
from tests.recount import LogRecord

MAX_VALUE: Final = 1_048_576
TIME: Final = 1_700_000_000_000
STAMPS: Final = (0, 10**12, 10**12 + 1, TIME - 1, TIME, TIME + 1, 2**42 + 2, -1, 2**63 - 1)
HEADERS: Final[Sequence[tuple[tuple[str, Any], ...]]] = (
    *((), (), (), ()),
    (("content-type", b"application/cloudevents+json"),),
    (("Content-Type", b"APPLICATION/CLOUDEVENTS+JSON; charset=utf-8"), ("ce_id", b"1")),
    (("content-type", None),),
    (("content-type", b"\xff\xfe"), ("x", b"")),
    tuple(("ce_" + str(number), b"x") for number in range(50)),
)
COMMON: Final = {
    "event_id": "e1", "event_time": TIME, "session_id": "s1", "seller_id": "s9", "viewer_id": "v1", "platform": "shopee",
    "creator_id": "c1", "affiliate_id": None, "source": "for_you",
}  # fmt: skip
EVENTS: Final[dict[Kind, dict[str, Any]]] = {
    Kind.VIEWS: COMMON | {"action": "enter", "product_id": "p7", "count": 5, "watch_ms": 60_000, "concurrent_viewers": 3,
    "gift_value": 10**13, "product_name": 'Kaos \N{FIRE} "XL"', "basket_number": 7,
    "title": "Obral \N{FIRE}", "seller_name": "Toko", "creator_name": "Kak Dewi"},
    Kind.COMMENTS: COMMON | {"text": "halo kak \N{FIRE}", "comment_id": "m1", "language": "id"},
    Kind.CHECKOUTS: COMMON
    | {
        "checkout_id": "k1", "status": "paid", "is_cod": False, "attempt": 1, "amount_minor": 10**13, "currency": "IDR",
        "order_id": "o1", "items": [{"product_id": "p1", "quantity": 2, "unit_price_minor": 100, "local": True}],
        "discount_minor": 7, "voucher_id": "w1",
    },
}  # fmt: skip
WORDS: Final = rb"""
\" \\ \u0000 \ud800 \udc00 \u00e9 \x " [ ] { } , : [[ {"a": "a": null true false NaN -0 1e400 1e-400 1700000000 -1 0.5 1E3
1700000000000000 "event_time": "session_id":"s1" "data": "data_base64":"e30=" "items":[] "event_id":null Obj"""
TOKENS: Final = (
    *WORDS.split(),
    *(b" ", b"\n", b"\x00", b"\x7f", b"\xff", b"\xef\xbb\xbf", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x94\xa5"),
    *(b"\xe2\x80", b"0" * 20, b"9" * 20, b"9" * 400, b"\x00\x00\x00\x00\x01", b"\x1f\x8b", b"\xff\xfe"),
)
ODD: Final[tuple[Any, ...]] = (
    *(None, True, "", "a/b", "x" * 300, "\ud800", "\x85", 0.5, [], {}, [[]]),
    *(-1, 0, 2**31, 2**42, 2**53, 2**63, 2**64, 10**30),
)


def make(random: Random) -> bytes:
    kind = random.choice(KINDS)
    fields = list(EVENTS[kind].items())
    random.shuffle(fields)
    for _ in range(random.choice((0, 0, 1, 2))):
        fields.insert(random.randrange(len(fields) + 1), (random.choice(fields)[0], random.choice(ODD)))
    value = b"{%b}" % b",".join(_field(random, *field) for field in fields)
    if random.random() < 0.05:
        value = b'{"specversion":"1.0","data":%b}' % value
    if random.random() < 0.9:
        value = damaged(random, value, TOKENS)
    if random.random() < 0.02:
        value = repeated(random, value, TOKENS)
    key = random.choice((b"s1", b"s1", b"s1", b"s2", b"", b"x" * 200, b"\xff", b"v1"))
    head = bytes([KINDS.index(kind), random.randrange(len(STAMPS)), random.randrange(len(HEADERS)), len(key)])
    return head + key + value


def _field(random: Random, name: str, value: Any) -> bytes:
    ascii_only = random.random() < 0.5
    return f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=ascii_only)}".encode(errors="surrogatepass")


def record(data: bytes) -> tuple[Kind, LogRecord]:
    given = Input(data)
    kind = KINDS[given.byte() % len(KINDS)]
    stamp = STAMPS[given.byte() % len(STAMPS)]
    headers = HEADERS[given.byte() % len(HEADERS)]
    return kind, LogRecord(str(kind), 0, 0, stamp, given.some(), given.rest(), headers)


def run(data: bytes) -> None:
    kind, one = record(data)
    expected = decode_all(kind, [one], MAX_VALUE)
    found = decode_batch(kind, [one], MAX_VALUE)
    assert list(found) == list(expected), f"native {list(found)} instead of {list(expected)}"
    assert (found.clean, found.newest_ms) == (expected.clean, expected.newest_ms)
    event = expected[0]
    assert isinstance(event, View | Comment | Checkout | Rejected)
    if isinstance(event, Rejected):
        assert len(event.detail) < 500
    if NATIVE:
        _run_native(kind, one)


def _run_native(kind: Kind, one: LogRecord) -> None:
    """The same where the record lies in the bytes of its batch."""
    from tests.fuzz.batches import built, run_of

    if one.timestamp < 0:
        return
    run = run_of(built([(one.timestamp, one.key, one.value, list(one.headers))]))
    expected, found = (
        decode_all(kind, list(run), MAX_VALUE),
        decode_batch(kind, run, MAX_VALUE, trust_producer_time=True),
    )
    assert list(found) == list(expected), f"in a batch {list(found)} instead of {list(expected)}"
    assert (found.clean, found.newest_ms) == (expected.clean, expected.newest_ms)


BOUND: Final = Bound(memory_a_byte=40.0)
