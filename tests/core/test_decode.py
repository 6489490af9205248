"""Every case of bad input in docs/topics.md and docs/dead-letters.md becomes a value with a reason that names the field."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.decode import Decoded, Rejected, decode_batch
from stream.core.headers import MOST, MOST_BYTES
from stream.core.nesting import MAX_DEPTH
from stream.model.events import Checkout, Comment, View
from stream.model.names import Kind, Reason
from stream.model.results import Records
from tests.recount import LogRecord

VIEW: dict[str, Any] = {
    "event_id": "e1",
    "event_time": 1_700_000_000_000,
    "session_id": "s1",
    "seller_id": "seller",
    "viewer_id": "v1",
    "platform": "shopee",
    "action": "enter",
}
COMMENT = {name: value for name, value in VIEW.items() if name != "action"} | {"text": "halo"}
ITEM = {"product_id": "p1", "quantity": 1, "unit_price_minor": 5}
CHECKOUT = {name: value for name, value in VIEW.items() if name != "action"} | {
    "checkout_id": "k1",
    "status": "paid",
    "amount_minor": 100,
    "currency": "IDR",
    "items": [ITEM],
}
GONE = object()
MAX_VALUE = 1_048_576


def decode(
    kind: Kind, value: bytes | None, key: bytes | None = b"s1", headers: tuple[tuple[str, bytes], ...] = ()
) -> Decoded:
    [decoded] = decode_batch(kind, [LogRecord(str(kind), 0, 0, 0, key, value, headers)], MAX_VALUE)
    return decoded


def changed(kind: Kind, **fields: object) -> bytes:
    base = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT, Kind.CHECKOUTS: CHECKOUT}[kind]
    return json.dumps({name: value for name, value in (base | fields).items() if value is not GONE}).encode()


def test_good_events_decode() -> None:
    assert isinstance(decode(Kind.VIEWS, changed(Kind.VIEWS)), View)
    assert isinstance(decode(Kind.COMMENTS, changed(Kind.COMMENTS)), Comment)
    assert isinstance(decode(Kind.CHECKOUTS, changed(Kind.CHECKOUTS)), Checkout)
    assert decode(Kind.VIEWS, None) is None


@pytest.mark.parametrize(
    ("kind", "fields", "reason", "field"),
    [
        (Kind.VIEWS, {"event_time": GONE}, "missing_field", "event_time"),
        (Kind.VIEWS, {"viewer_id": None}, "wrong_type", "viewer_id"),
        (Kind.VIEWS, {"event_time": 1.0}, "wrong_type", "event_time"),
        (Kind.VIEWS, {"event_time": "1"}, "wrong_type", "event_time"),
        (Kind.VIEWS, {"event_time": True}, "wrong_type", "event_time"),
        (Kind.VIEWS, {"event_time": -1}, "bad_value", "event_time"),
        (Kind.VIEWS, {"event_time": 2**42 + 1}, "bad_value", "event_time"),
        (Kind.VIEWS, {"event_time": 10**4000}, "bad_value", "event_time"),
        (Kind.VIEWS, {"event_id": ""}, "bad_value", "event_id"),
        (Kind.VIEWS, {"event_id": "x" * 129}, "bad_value", "event_id"),
        (Kind.VIEWS, {"event_id": "a\u0085b"}, "bad_value", "event_id"),
        (Kind.VIEWS, {"viewer_id": "a\x7fb"}, "bad_value", "viewer_id"),
        (Kind.VIEWS, {"product_id": "a\nb"}, "bad_value", "product_id"),
        (Kind.VIEWS, {"seller_id": "a/b"}, "bad_value", "seller_id"),
        (Kind.VIEWS, {"creator_id": "a/b"}, "bad_value", "creator_id"),
        (Kind.VIEWS, {"affiliate_id": "a/b"}, "bad_value", "affiliate_id"),
        (Kind.VIEWS, {"action": "dance"}, "unknown_action", "action"),
        (Kind.VIEWS, {"action": 1}, "wrong_type", "action"),
        (Kind.VIEWS, {"count": 0}, "bad_value", "count"),
        (Kind.VIEWS, {"watch_ms": 86_400_001}, "bad_value", "watch_ms"),
        (Kind.VIEWS, {"concurrent_viewers": 10**9 + 1}, "bad_value", "concurrent_viewers"),
        (Kind.VIEWS, {"gift_value": -1}, "bad_value", "gift_value"),
        (Kind.VIEWS, {"gift_value": 10**13 + 1}, "bad_value", "gift_value"),
        (Kind.VIEWS, {"gift_value": 2**64}, "bad_value", "gift_value"),
        (Kind.VIEWS, {"gift_value": 1.0}, "wrong_type", "gift_value"),
        (Kind.VIEWS, {"product_name": "x" * 201}, "bad_value", "product_name"),
        (Kind.VIEWS, {"product_name": "\u00e9" * 201}, "bad_value", "product_name"),
        (Kind.VIEWS, {"product_name": 7}, "wrong_type", "product_name"),
        (Kind.VIEWS, {"action": "start", "title": "\u00e9" * 201}, "bad_value", "title"),
        (Kind.VIEWS, {"action": "start", "seller_name": "x" * 201}, "bad_value", "seller_name"),
        (Kind.VIEWS, {"action": "start", "creator_name": 7}, "wrong_type", "creator_name"),
        (Kind.VIEWS, {"basket_number": 0}, "bad_value", "basket_number"),
        (Kind.VIEWS, {"basket_number": 10**6 + 1}, "bad_value", "basket_number"),
        (Kind.VIEWS, {"basket_number": "7"}, "wrong_type", "basket_number"),
        (Kind.VIEWS, {"action": "pin"}, "missing_field", "product_id: missing, but action pin needs it"),
        (Kind.VIEWS, {"action": "unpin", "pad": "x" * 600}, "missing_field", "product_id"),
        (Kind.VIEWS, {"action": "pin", "more": "\u00e9"}, "missing_field", "product_id"),
        (Kind.VIEWS, {"action": "unpin", "product_id": None}, "wrong_type", "product_id: null"),
        (Kind.VIEWS, {"action": "pin", "product_id": ""}, "bad_value", "product_id"),
        (Kind.VIEWS, {"action": "begin"}, "unknown_action", "action"),
        (Kind.VIEWS, {"session_id": "s2"}, "key_mismatch", "key"),
        (Kind.COMMENTS, {"text": GONE}, "missing_field", "text"),
        (Kind.COMMENTS, {"text": None}, "wrong_type", "text"),
        (Kind.CHECKOUTS, {"status": "thinking"}, "unknown_status", "status"),
        (Kind.CHECKOUTS, {"amount_minor": -1}, "bad_value", "amount_minor"),
        (Kind.CHECKOUTS, {"amount_minor": 10.5}, "wrong_type", "amount_minor"),
        (Kind.CHECKOUTS, {"amount_minor": 10**13 + 1}, "bad_value", "amount_minor"),
        (Kind.CHECKOUTS, {"currency": "ZZZ"}, "bad_value", "currency"),
        (Kind.CHECKOUTS, {"items": GONE}, "missing_field", "items"),
        (Kind.CHECKOUTS, {"items": None}, "wrong_type", "items"),
        (Kind.CHECKOUTS, {"items": [ITEM] * 201}, "bad_value", "items"),
        (Kind.CHECKOUTS, {"items": [ITEM | {"quantity": 0}]}, "bad_value", "quantity"),
        (
            Kind.CHECKOUTS,
            {"items": [ITEM, ITEM | {"quantity": 2, "unit_price_minor": 10**13}]},
            "bad_value",
            "items[1]",
        ),
        (Kind.CHECKOUTS, {"items": [{"product_id": "p", "quantity": 1}]}, "missing_field", "unit_price_minor"),
        (Kind.CHECKOUTS, {"attempt": 1001}, "bad_value", "attempt"),
        (Kind.CHECKOUTS, {"is_cod": 1}, "wrong_type", "is_cod"),
        (Kind.CHECKOUTS, {"discount_minor": -1}, "bad_value", "discount_minor"),
        (Kind.CHECKOUTS, {"discount_minor": 10**13 + 1}, "bad_value", "discount_minor"),
        (Kind.CHECKOUTS, {"discount_minor": "5"}, "wrong_type", "discount_minor"),
        (Kind.CHECKOUTS, {"voucher_id": ""}, "bad_value", "voucher_id"),
        (Kind.CHECKOUTS, {"voucher_id": "a\x7f"}, "bad_value", "voucher_id"),
        (Kind.CHECKOUTS, {"items": [ITEM | {"local": 0}]}, "wrong_type", "items[0].local"),
    ],
)
def test_a_fault_is_rejected_with_its_reason_and_field(
    kind: Kind, fields: dict[str, object], reason: str, field: str
) -> None:
    decoded = decode(kind, changed(kind, **fields))
    assert isinstance(decoded, Rejected)
    assert decoded.reason == reason
    assert field in decoded.detail


def test_the_largest_values_are_read_and_nothing_is_read_into_what_is_absent() -> None:
    gift = decode(Kind.VIEWS, changed(Kind.VIEWS, action="gift", count=10**6, gift_value=10**13))
    assert isinstance(gift, View)
    assert (gift.count, gift.gift_value) == (10**6, 10**13)
    for name in ("\u00e9\U0001f525" * 100, "", "a/b\n"):
        pin = decode(
            Kind.VIEWS, changed(Kind.VIEWS, action="pin", product_id="p", product_name=name, basket_number=10**6)
        )
        assert isinstance(pin, View)
        assert (pin.product_name, pin.basket_number) == (name, 10**6)
    order = decode(Kind.CHECKOUTS, changed(Kind.CHECKOUTS, discount_minor=10**13, voucher_id="v" * 128))
    assert isinstance(order, Checkout)
    assert (order.discount_minor, order.voucher_id) == (10**13, "v" * 128)
    items = [ITEM, ITEM | {"local": None}, ITEM | {"local": False}, ITEM | {"local": True}]
    said = decode(Kind.CHECKOUTS, changed(Kind.CHECKOUTS, items=items))
    assert isinstance(said, Checkout)
    assert [item.local for item in said.items] == [None, None, False, True]
    assert (said.discount_minor, said.voucher_id) == (None, None)


def test_of_a_pin_the_last_product_counts() -> None:
    value = changed(Kind.VIEWS, action="pin", product_id="p1")
    again = value.replace(b'"product_id": "p1"', b'"product_id": "p1", "product_id": null')
    assert isinstance(decode(Kind.VIEWS, value), View)
    last = decode(Kind.VIEWS, again)
    assert isinstance(last, Rejected)
    assert last.reason == "wrong_type"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "invalid_json"),
        (b"  ", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"zz": NaN}', "invalid_json"),
        (b"\xef\xbb\xbf{}", "invalid_json"),
        (b"[]", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"\xff\xfe", "not_utf8"),
        (changed(Kind.VIEWS, ignored="?").replace(b"?", b"\xff"), "not_utf8"),
        (changed(Kind.VIEWS, ignored="?" * 600).replace(b"?", b"\xff"), "not_utf8"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "invalid_json"),
        (changed(Kind.VIEWS, pad="x" * MAX_VALUE), "too_large"),
    ],
)
def test_what_is_no_event_at_all(value: bytes, reason: str) -> None:
    decoded = decode(Kind.VIEWS, value)
    assert isinstance(decoded, Rejected)
    assert decoded.reason == reason


@pytest.mark.parametrize("key", [None, b"", b"s2", b"x" * 10_240])
def test_the_key_is_the_session_id(key: bytes | None) -> None:
    decoded = decode(Kind.VIEWS, changed(Kind.VIEWS), key)
    assert isinstance(decoded, Rejected)
    assert decoded.reason == "key_mismatch"
    assert decoded.detail.startswith("key:")


def test_unknown_sources_platforms_and_fields_are_no_fault() -> None:
    assert isinstance(decode(Kind.VIEWS, changed(Kind.VIEWS, source="moon", platform="kiosk", more=[{}])), View)
    assert isinstance(decode(Kind.VIEWS, changed(Kind.VIEWS, creator_id=None, count=None)), View)


def test_of_a_repeated_key_the_last_counts() -> None:
    decoded = decode(
        Kind.VIEWS, changed(Kind.VIEWS).replace(b'"event_id": "e1"', b'"event_id": "e0", "event_id": "e1"')
    )
    assert isinstance(decoded, View)
    assert decoded.event_id == "e1"


def test_of_a_repeated_key_the_last_counts_whatever_the_others_are() -> None:
    value = changed(Kind.VIEWS, count=3).replace(b'"count": 3', b'"count": "x", "count": 3')
    assert isinstance(decode(Kind.VIEWS, value), View)
    assert isinstance(decode(Kind.VIEWS, value, key=b"s2"), Rejected)


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ((("", b""),) * MOST, True),
        ((("", b""),) * (MOST + 1), False),
        ((("é", b"x" * (MOST_BYTES - 2)),), True),
        ((("é", b"x" * (MOST_BYTES - 1)),), False),
    ],
)
def test_headers_have_bounds(headers: tuple[tuple[str, bytes], ...], good: bool) -> None:
    event = decode(Kind.VIEWS, changed(Kind.VIEWS), headers=headers)
    assert isinstance(event, View if good else Rejected)
    if isinstance(event, Rejected):
        assert event.reason == "too_many_headers"
        assert event.detail.startswith(f"headers: {len(headers)} of ")
    assert decode(Kind.VIEWS, None, headers=headers) is None


@pytest.mark.parametrize("headers", [(("content-type", None),), (("x", None), ("x", b"")), (("", b"\xff"),)])
def test_headers_may_have_no_value(headers: tuple[tuple[str, bytes], ...]) -> None:
    assert isinstance(decode(Kind.VIEWS, changed(Kind.VIEWS), headers=headers), View)


def test_a_value_of_exactly_the_limit_is_read() -> None:
    value = changed(Kind.VIEWS, pad="")
    assert isinstance(decode(Kind.VIEWS, value[:-2] + b"x" * (MAX_VALUE - len(value)) + value[-2:]), View)


@given(st.integers(1, 2 * MAX_DEPTH), st.booleans())
def test_depth_is_limited_by_a_number_of_our_own(depth: int, padded: bool) -> None:
    deep: Any = 0
    for _ in range(depth):
        deep = [deep]
    decoded = decode(Kind.VIEWS, changed(Kind.VIEWS, deep=deep, pad="x[" * 300 if padded else ""))
    assert isinstance(decoded, Rejected) == (depth + 1 > MAX_DEPTH)


def test_cloudevents_in_binary_mode_is_the_event_itself() -> None:
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"7"), ("content-type", b"application/json"))
    assert isinstance(decode(Kind.VIEWS, changed(Kind.VIEWS), headers=headers), View)


@pytest.mark.parametrize(
    "inner",
    [
        {"data": VIEW},
        {"data_base64": base64.b64encode(json.dumps(VIEW).encode()).decode()},
    ],
)
def test_cloudevents_in_structured_mode_is_unwrapped(inner: dict[str, Any]) -> None:
    value = json.dumps({"specversion": "1.0", "id": "7", "source": "/x", "type": "view", **inner}).encode()
    headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    assert isinstance(decode(Kind.VIEWS, value, headers=headers), View)


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        ({"specversion": "1.0"}, "missing_field"),
        ({"data": VIEW | {"action": "dance"}}, "unknown_action"),
        ({"data": VIEW | {"session_id": "s2"}}, "key_mismatch"),
        ({"data_base64": base64.b64encode(b"\xff" + changed(Kind.VIEWS)).decode()}, "not_utf8"),
        ([], "wrong_type"),
    ],
)
def test_faults_inside_an_envelope(envelope: object, reason: str) -> None:
    decoded = decode(
        Kind.VIEWS, json.dumps(envelope).encode(), headers=(("Content-Type", b"application/cloudevents+json"),)
    )
    assert isinstance(decoded, Rejected)
    assert decoded.reason == reason


@given(st.binary(max_size=200))
def test_no_bytes_raise(value: bytes) -> None:
    for kind in Kind:
        assert isinstance(decode(kind, value), Rejected | View | Comment | Checkout)


@given(
    st.dictionaries(
        st.sampled_from(sorted(CHECKOUT)), st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    )
)
def test_no_field_raises_and_no_detail_quotes_a_value(fields: dict[str, object]) -> None:
    decoded = decode(Kind.CHECKOUTS, changed(Kind.CHECKOUTS, **fields))
    if isinstance(decoded, Rejected):
        for value in fields.values():
            if isinstance(value, str) and len(value) > 12:
                assert value not in decoded.detail


def test_records_that_their_producers_stamped_are_rejected_unless_trusted() -> None:
    value = json.dumps(VIEW).encode()
    values = [value, None, b"{", b" " * (MAX_VALUE + 1)]
    log = [LogRecord("views", 0, at, 0, b"s1", each) for at, each in enumerate(values)]
    records = Records(log, 0, create_time=True)
    found = decode_batch(Kind.VIEWS, records, MAX_VALUE)
    assert [event and getattr(event, "reason", None) for event in found] == [
        Reason.PRODUCER_TIME,
        None,
        Reason.PRODUCER_TIME,
        Reason.TOO_LARGE,
    ]
    assert (found.clean, found.newest_ms) == (False, -1)
    trusted = decode_batch(Kind.VIEWS, records, MAX_VALUE, trust_producer_time=True)
    stamped = decode_batch(Kind.VIEWS, Records(log, 0), MAX_VALUE)
    assert list(trusted) == list(stamped) == list(decode_batch(Kind.VIEWS, log, MAX_VALUE))
    assert not isinstance(trusted[0], Rejected)


def test_of_a_batch_that_its_producer_stamped_every_value_is_refused_an_empty_one_too() -> None:
    values = (b"", b"{}", None, b"x" * 11)
    records = Records(
        [LogRecord("views", 0, at, 0, b"s1", value) for at, value in enumerate(values)], 0, create_time=True
    )
    events = decode_batch(Kind.VIEWS, records, 10)
    empty, small, tombstone, large = (events[at] for at in range(4))
    assert tombstone is None
    assert isinstance(empty, Rejected)
    assert empty == small
    assert isinstance(large, Rejected)
    assert large.reason is Reason.TOO_LARGE
