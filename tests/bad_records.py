"""Every kind of bad record that the domain knows, each with its reason, and good ones of every form to put around them."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.live import Outgoing

NOW: Final = int(time.time() * 1000)
"""When this is imported: a run of all tests may come to use it half an hour later."""
T: Final = NOW - 1_200_000
"""Event time of the good ones: their windows are over, so silence closes them."""
MAX_VALUE: Final = 1_048_576
KEPT: Final = 64 * 1024
SESSION: Final = "7301"
KEY: Final = SESSION.encode()
VIEWER: Final = "viewer-0d1ff3"
SECRET: Final = "rahasia sekali"

Fields = dict[str, Any]


def view(number: int, **changes: Any) -> Fields:
    common = {
        "event_id": f"e{number}",
        "event_time": T + number,
        "session_id": SESSION,
        "seller_id": "s1",
        "viewer_id": VIEWER,
        "platform": "tiktok_shop",
        "action": "enter",
    }
    return common | changes


def comment(number: int, **changes: Any) -> Fields:
    event = view(number, text=SECRET)
    del event["action"]
    return event | changes


def checkout(number: int, **changes: Any) -> Fields:
    event = view(
        number,
        checkout_id=f"k{number}",
        status="paid",
        amount_minor=5_350_000,
        currency="IDR",
        items=[{"product_id": "p1", "quantity": 1, "unit_price_minor": 5_350_000}],
    )
    del event["action"]
    return event | changes


def item(**changes: Any) -> Fields:
    return {"items": [{"product_id": "p1", "quantity": 1, "unit_price_minor": 1} | changes]}


def text(event: Fields) -> bytes:
    return json.dumps(event).encode()


def without(event: Fields, name: str) -> Fields:
    return {each: value for each, value in event.items() if name != each}


def raw(event: Fields, name: str, value: str) -> bytes:
    """The event with one field that Python's JSON would not write so."""
    return text(event | {name: "@@"}).replace(b'"@@"', value.encode())


def padded(event: Fields, size: int) -> bytes:
    """A good event of exactly so many bytes."""
    empty = text(event | {"note": ""})
    return text(event | {"note": "x" * (size - len(empty))})


STRUCTURED: Final = (("content-type", b"application/cloudevents+json"),)


@dataclass(frozen=True)
class Case:
    name: str
    value: bytes | None
    reason: str
    field: str
    """What the detail must name."""
    kind: str = "views"
    key: bytes | None = KEY
    headers: Sequence[tuple[str, bytes]] = ()


def _broken() -> Iterator[Case]:
    """Not JSON, or not as it must be."""
    good = view(1)
    yield Case("empty value", b"", "invalid_json", "value")
    yield Case("cut off", text(good)[:60], "invalid_json", "value")
    yield Case("prose", b"<event/>", "invalid_json", "value")
    yield Case("NaN", raw(good, "watch_ms", "NaN"), "invalid_json", "value")
    yield Case("infinity", raw(good, "event_time", "-Infinity"), "invalid_json", "value")
    yield Case("two documents", text(good) * 2, "invalid_json", "value")
    yield Case("deep lists", b"[" * 200_000 + b"]" * 200_000, "invalid_json", "value")
    yield Case("deep in a field", raw(good, "note", '{"a":' * 50_000 + "1" + "}" * 50_000), "invalid_json", "value")
    yield Case("a list", text([good]), "wrong_type", "value")  # type: ignore[arg-type]
    yield Case("a number", b"17", "wrong_type", "value")
    yield Case("latin-1", text(good).replace(b"e1", b"caf\xe9"), "not_utf8", "value")
    yield Case("latin-1, ignored field", raw(good, "note", '"@"').replace(b"@", b"\xff\xfe"), "not_utf8", "value")


def _fields() -> Iterator[Case]:
    """Fields that are missing, or have the wrong type or value."""
    for name in ("event_id", "event_time", "session_id", "seller_id", "viewer_id", "platform", "action"):
        yield Case(f"no {name}", text(without(view(2), name)), "missing_field", name)
    yield Case("no text", text(without(comment(2), "text")), "missing_field", "text", "comments")
    for name in ("checkout_id", "status", "amount_minor", "currency", "items"):
        yield Case(f"no {name}", text(without(checkout(2), name)), "missing_field", name, "checkouts")
    yield Case("item without price", text(checkout(2, items=[{"product_id": "p", "quantity": 1}])), "missing_field",
               "unit_price_minor", "checkouts")  # fmt: skip
    yield Case("null seller", text(view(3, seller_id=None)), "wrong_type", "seller_id")
    yield Case("number as id", text(view(3, event_id=7301)), "wrong_type", "event_id")
    yield Case("time as text", text(view(3, event_time=str(T))), "wrong_type", "event_time")
    yield Case("time as float", text(view(3, event_time=float(T))), "wrong_type", "event_time")
    yield Case("true as number", text(view(3, watch_ms=True)), "wrong_type", "watch_ms")
    yield Case("text as flag", text(checkout(3, is_cod="yes")), "wrong_type", "is_cod", "checkouts")
    yield Case("fractional amount", text(checkout(3, amount_minor=53500.5)), "wrong_type", "amount_minor", "checkouts")
    yield Case("amount 1.0", raw(checkout(3), "amount_minor", "1.0"), "wrong_type", "amount_minor", "checkouts")
    yield Case("negative amount", text(checkout(3, amount_minor=-1)), "bad_value", "amount_minor", "checkouts")
    yield Case("too much money", text(checkout(3, amount_minor=10**13 + 1)), "bad_value", "amount_minor", "checkouts")
    yield Case("a huge integer", raw(view(3), "event_time", "9" * 40), "bad_value", "event_time")
    yield Case("an endless integer", raw(view(3), "event_time", "9" * 5000), "bad_value", "event_time")
    yield Case("2^63", raw(checkout(3), "amount_minor", str(2**63)), "bad_value", "amount_minor", "checkouts")
    yield Case("unknown currency", text(checkout(3, currency="RUP")), "bad_value", "currency", "checkouts")
    yield Case("quantity 0", text(checkout(3) | item(quantity=0)), "bad_value", "items", "checkouts")
    yield Case("price times quantity", text(checkout(3) | item(quantity=2, unit_price_minor=10**13)), "bad_value",
               "items", "checkouts")  # fmt: skip
    yield Case("201 items", text(checkout(3, items=item()["items"] * 201)), "bad_value", "items", "checkouts")
    yield Case("count 0", text(view(3, action="like", count=0)), "bad_value", "count")
    yield Case("empty id", text(view(3, viewer_id="")), "bad_value", "viewer_id")
    yield Case("long id", text(view(3, viewer_id="x" * 129)), "bad_value", "viewer_id")
    yield Case("control character", text(view(3, product_id="p\u0007")), "bad_value", "product_id")
    yield Case("slash in seller", text(view(3, seller_id="a/b")), "bad_value", "seller_id")
    yield Case("time in seconds", text(view(3, event_time=T // 1000)), "bad_value", "event_time")
    yield Case("time in microseconds", text(view(3, event_time=T * 1000)), "bad_value", "event_time")
    yield Case("time in nanoseconds", text(checkout(3, event_time=T * 10**6)), "bad_value", "event_time", "checkouts")
    yield Case("time 0", text(comment(3, event_time=0)), "bad_value", "event_time", "comments")
    yield Case("time before 1970", text(view(3, event_time=-1)), "bad_value", "event_time")
    yield Case("unknown action", text(view(3, action="dance")), "unknown_action", "action")
    yield Case("unknown status", text(checkout(3, status="lost")), "unknown_status", "status", "checkouts")


def _records() -> Iterator[Case]:
    """Of the record rather than of its JSON."""
    good = text(view(4))
    yield Case("no key", good, "key_mismatch", "key", key=None)
    yield Case("empty key", good, "key_mismatch", "key", key=b"")
    yield Case("another's key", good, "key_mismatch", "key", key=b"7302")
    yield Case("10 KB key", good, "key_mismatch", "key", key=b"k" * 10_240)
    yield Case("100 KB key", good, "key_mismatch", "key", key=b"k" * 102_400)
    yield Case("10 KB session", text(view(4, session_id="s" * 10_240)), "bad_value", "session_id", key=b"s" * 10_240)
    yield Case("from the future", text(view(4, event_time=NOW + 7_200_000)), "future", "event_time")
    yield Case("one byte too large", padded(view(4), MAX_VALUE + 1), "too_large", "value")
    yield Case("25 MB that compress well", b"0" * 25_000_000, "too_large", "value")
    yield Case("4 MB that do not", Random(4).randbytes(3_900_000), "too_large", "value")
    yield Case("1 MB that do not", Random(5).randbytes(MAX_VALUE), "not_utf8", "value")
    yield Case("envelope without data", b'{"specversion":"1.0"}', "missing_field", "data", headers=STRUCTURED)
    yield Case("bad event in an envelope", text({"data": view(4, action="dance")}), "unknown_action", "action",
               headers=STRUCTURED)  # fmt: skip
    yield Case("binary mode", text(view(4, action="dance")), "unknown_action", "action",
               headers=(("ce_specversion", b"1.0"), ("ce_type", b"view")))  # fmt: skip
    yield Case("80 KB of headers", text(view(4)), "too_many_headers", "headers",
               headers=(("trace", b"t" * 60_000), ("more", b"m" * 20_000), ("small", b"1")))  # fmt: skip
    yield Case("1,001 headers", text(view(4)), "too_many_headers", "headers", headers=(("", b""),) * 1001)


CASES: Final = (*_broken(), *_fields(), *_records())

GOOD_ONES: Final[tuple[Callable[[int], Outgoing], ...]] = (
    lambda number: Outgoing("views", KEY, text(view(number))),
    lambda number: Outgoing("views", KEY, text(view(number)), (("ce_specversion", b"1.0"),)),
    lambda number: Outgoing("views", KEY, text({"specversion": "1.0", "data": view(number)}), STRUCTURED),
    lambda number: Outgoing(
        "views", KEY, text({"data_base64": base64.b64encode(text(view(number))).decode()}), STRUCTURED
    ),
    lambda number: Outgoing("comments", KEY, text(comment(number))),
    lambda number: Outgoing("checkouts", KEY, text(checkout(number))),
    lambda number: Outgoing("views", KEY, padded(view(number), MAX_VALUE)),
    lambda number: Outgoing("views", KEY, text(view(number, unknown={"deep": [[[]]]}, creator_id=None, source="moon"))),
    lambda number: Outgoing("views", KEY, raw(view(number), "action", '"leave","action":"enter"')),
)


def everything() -> list[Outgoing]:
    """The cases with good events around each of them, a tombstone, and one that is late at the end."""
    records = []
    for number, case in enumerate(CASES):
        records.append(GOOD_ONES[number % len(GOOD_ONES)](10_000 + number))
        records.append(Outgoing(case.kind, case.key, case.value, case.headers))
    records.append(Outgoing("views", KEY, None))
    records.append(Outgoing("views", KEY, text(view(1, event_id="late", event_time=T - 311_000))))
    records.append(GOOD_ONES[0](20_000))
    return records
