"""What a detail says: where it went wrong and what the value looks like, in a bounded text that quotes nothing."""

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import zipfile
import zlib
from random import Random
from typing import Any, Final

import cramjam
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.content import of_bytes
from stream.core.decode import Decoded, Rejected, decode_one
from stream.core.explain import LONGEST
from stream.model.names import Kind
from tests.core.test_decode import CHECKOUT, COMMENT, VIEW
from tests.recount import LogRecord

EVENTS: Final = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT, Kind.CHECKOUTS: CHECKOUT}
JSON: Final = json.dumps(VIEW).encode()
TEXT: Final = JSON.decode()
BODY: Final = b'"session_id": "s1", "x": '
"""Where tests put something."""


def decoded(value: bytes, kind: Kind = Kind.VIEWS, key: bytes = b"s1") -> Decoded:
    return decode_one(kind, LogRecord(str(kind), 0, 0, 1_700_000_000_000, key, value), 2**20)


def detail(value: bytes, reason: str, kind: Kind = Kind.VIEWS, key: bytes = b"s1") -> str:
    found = decoded(value, kind, key)
    assert isinstance(found, Rejected)
    assert found.reason == reason
    return found.detail


def guess(text: str) -> str:
    return text.partition("; looks like ")[2]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("event.json", JSON)
    return file.getvalue()


def put(text: bytes) -> bytes:
    """As the value of a field that is ignored."""
    return JSON.replace(b'"session_id": "s1"', BODY + text)


BYTES: Final[dict[str, tuple[bytes, str]]] = {
    "UTF-8 with a byte order mark": (b"\xef\xbb\xbf" + JSON, "invalid_json"),
    "UTF-16": (TEXT.encode("utf-16"), "not_utf8"),
    "UTF-32": (TEXT.encode("utf-32"), "not_utf8"),
    "gzip": (gzip.compress(JSON), "not_utf8"),
    "zstd": (bytes(cramjam.zstd.compress(JSON)), "not_utf8"),
    "lz4": (bytes(cramjam.lz4.compress(JSON)), "not_utf8"),
    "snappy": (bytes(cramjam.snappy.compress(JSON)), "not_utf8"),
    "bzip2": (bz2.compress(JSON), "not_utf8"),
    "xz": (lzma.compress(JSON), "not_utf8"),
    "zlib": (zlib.compress(JSON), "not_utf8"),
    "a zip file": (zipped(), "not_utf8"),
    "JSON after a schema registry's header (Confluent's magic byte)": (b"\0\0\0\0\7" + JSON, "invalid_json"),
    "Avro or Protobuf after a schema registry's header (Confluent's magic byte)": (b"\0\0\0\1\7\x04s1\x80\x96", "not_utf8"),
    "an Avro container file": (b"Obj\x01\x04\x14avro.codec", "invalid_json"),
    "Avro after the fingerprint of its schema": (b"\xc3\x01" + b"12345678" + b"\x04s1", "not_utf8"),
    "data after the header of an AWS Glue schema registry": (b"\x03\x00" + b"0123456789abcdef" + b"\x04s1", "invalid_json"),
    "Protobuf": (b"\x0a\x02e1\x10\x80\xd0\x95\xff\xbc1\x1a\x02s1", "not_utf8"),
    "MessagePack": (msgspec.msgpack.encode(VIEW), "not_utf8"),
    "CBOR": (b"\xa1\x68event_id\x62e1", "not_utf8"),
    "BSON": (struct.pack("<i", 22) + b"\x02event_id\0\x03\0\0\0e1\0\0", "invalid_json"),
    "a Python pickle": (pickle.dumps(VIEW), "not_utf8"),
    "a serialized Java object": (b"\xac\xed\x00\x05sr\x00\x05Event", "not_utf8"),
    "XML": (b"<?xml version='1.0'?><event/>", "invalid_json"),
    "XML or HTML": (b"<html><body>502 Bad Gateway</body></html>", "invalid_json"),
    "YAML": (b"---\nevent_id: e1\n", "invalid_json"),
    "a line of CSV": (b"e1,1700000000000,s1,s9,v1,shopee,enter", "invalid_json"),
    "a web form": (b"event_id=e1&session_id=s1", "invalid_json"),
    "the key=value pairs of a log": (b"event_id=e1 session_id=s1", "invalid_json"),
    "a Java object written by toString": (b"View{eventId=e1, sessionId=s1}", "invalid_json"),
    "a JavaScript object written without JSON.stringify": (b"[object Object]", "wrong_type"),
    "a Python bytes literal": (repr(JSON).encode(), "invalid_json"),
    "JSON in base64": (base64.b64encode(JSON), "invalid_json"),
    "JSON in hexadecimal": (JSON.hex().encode(), "wrong_type"),
    "percent-encoded text": (b"%7B%22event_id%22%3A1%7D", "invalid_json"),
    "JSON escaped for HTML": (TEXT.replace('"', "&quot;").encode(), "invalid_json"),
    "JSON with escaped quotes": (TEXT.replace('"', '\\"').encode(), "invalid_json"),
    "JSON with typographic quotes": ("{“event_id”: “e1”}".encode(), "invalid_json"),
    "single quotes instead of double quotes": (repr(VIEW).encode(), "invalid_json"),
    "keys without quotes": (b"{event_id: 1}", "invalid_json"),
    "a template that was not filled in": (b"${event}", "invalid_json"),
    "a length before the event": (struct.pack(">I", len(JSON)) + JSON, "not_utf8"),
    "zero bytes": (b"\0" * 40, "invalid_json"),
    "plain text": (b"connection reset", "invalid_json"),
    "binary or encrypted data": (Random(4).randbytes(100), "not_utf8"),
    "JSON in Latin-1 or Windows-1252": (JSON.replace(b"e1", b"caf\xe9"), "not_utf8"),
    "Java's modified UTF-8": (JSON.replace(b"e1", b"a\xc0\x80b"), "not_utf8"),
    "text that was cut in the middle of a character": (put('"é'.encode())[: JSON.index(b'"session_id"') + len(BODY) + 2],
                                                       "not_utf8"),
    "several events in one value": (JSON + JSON, "invalid_json"),
    "several events in one value, one per line": (JSON + b"\n" + JSON + b"\n", "invalid_json"),
    "several values separated by commas": (JSON + b"," + JSON, "invalid_json"),
    "zero bytes behind the event, a buffer sent whole": (JSON + b"\0" * 9, "invalid_json"),
    "NaN, which JSON does not have": (put(b"NaN"), "invalid_json"),
    "infinity, which JSON does not have": (put(b"-Infinity"), "invalid_json"),
    "Python's None, True or False": (put(b"None"), "invalid_json"),
    "JavaScript's undefined": (put(b"undefined"), "invalid_json"),
    "a comment, which JSON does not have": (put(b"1, // one\n"), "invalid_json"),
    "a number with a plus sign": (put(b"+1"), "invalid_json"),
    "a no-break space": (put(b"\xc2\xa01"), "invalid_json"),
    "a line break, tab or other control character in a string": (JSON.replace(b"e1", b"e\n1"), "invalid_json"),
    "an array of events: send one event per record": (b"[%b]" % JSON, "wrong_type"),
    "JSON encoded twice: an object in quotes": (json.dumps(TEXT).encode(), "wrong_type"),
    "JSON in base64, in quotes": (b'"%b"' % base64.b64encode(JSON), "wrong_type"),
    "null as text: a tombstone has no value at all": (b"null", "wrong_type"),
    "an object without any field": (b" { } ", "missing_field"),
    "an event of live.comments, sent to the wrong topic": (json.dumps(COMMENT).encode(), "missing_field"),
    "names in another spelling: field names are in snake_case": (b'{"eventId": "e1", "sessionId": "s1"}', "missing_field"),
    "a known one in another spelling": (JSON.replace(b"enter", b"Product-Click"), "unknown_action"),
}  # fmt: skip


@pytest.mark.parametrize("looks", BYTES)
def test_what_bytes_look_like(looks: str) -> None:
    value, reason = BYTES[looks]
    text = detail(value, reason)
    assert guess(text) == looks
    assert text.isascii()


@pytest.mark.parametrize(
    ("value", "looks"),
    [
        (TEXT.encode("utf-16-le"), "UTF-16"),
        (TEXT.encode("utf-16-be"), "UTF-16"),
        (TEXT.encode("utf-32-le"), "UTF-32"),
        (TEXT.encode("utf-32-be"), "UTF-32"),
        (struct.pack(">H", len(JSON)) + JSON, "a length before the event"),
        (b"\0" + struct.pack(">I", len(JSON)) + JSON, "a length before the event"),
        (b"\0" * 7 + b"\1\1" + JSON, "JSON after a schema registry's header (Confluent's magic byte)"),
        (b"\xdf\0\0\0\1\xa2e1\x01", "MessagePack"),
        (b"\n" + repr(VIEW).encode(), "single quotes instead of double quotes"),
    ],
)
def test_other_forms_of_the_same(value: bytes, looks: str) -> None:
    found = decoded(value)
    assert isinstance(found, Rejected)
    assert guess(found.detail) == looks


@pytest.mark.parametrize(
    ("envelope", "looks"),
    [
        ({"before": None, "after": VIEW, "source": {}, "op": "c", "ts_ms": 1},
         "a Debezium envelope: the event lies in after"),
        ({"schema": {}, "payload": VIEW}, "Kafka Connect's envelope with a schema: the event lies in payload"),
        ({"database": "d", "table": "t", "type": "insert", "data": VIEW},
         "an envelope of Maxwell or Canal: the event lies in data"),
        ({"specversion": "1.0", "type": "view", "source": "/x", "data": VIEW},
         "a CloudEvent without content-type application/cloudevents+json"),
        ({"Type": "Notification", "Message": TEXT, "TopicArn": "x"}, "an envelope of Amazon SNS: the event lies in Message"),
        ({"data": VIEW}, "an envelope: the event may lie in data"),
        ({"payload": TEXT}, "an envelope: the event may lie in payload"),
        ({"payload": 7}, ""),
        ({"event_id": "e1", "data": VIEW}, ""),
    ],
)  # fmt: skip
def test_an_envelope_is_named_and_where_the_event_lies(envelope: dict[str, Any], looks: str) -> None:
    found = decoded(json.dumps(envelope).encode())
    assert isinstance(found, Rejected)
    assert guess(found.detail) == looks


@pytest.mark.parametrize(
    ("key", "looks"),
    [
        (b'"s1"', "the session_id as JSON, in quotes"),
        (b"s1\n", "the session_id with white space or zero bytes around it"),
        (b"\0\0\0\0\1s1", "the session_id after a prefix or a serializer's header"),
        (b'{"session_id": "s1", "x": 1}', "a JSON object: the key must be the plain session_id"),
        (b"S1", "the session_id in another case"),
        (b"v1", "the viewer_id"),
        (b"e1", "the event_id"),
        (b"zz", ""),
        (b"\xff", ""),
    ],
)
def test_what_a_key_looks_like(key: bytes, looks: str) -> None:
    assert guess(detail(JSON, "key_mismatch", key=key)) == looks


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (b"", "value: empty, 0 bytes; a tombstone has no value at all"),
        (b" \n", "value: empty, 2 bytes; a tombstone has no value at all"),
        (JSON[:-1] + b",}", f"value: not JSON at byte {len(JSON)} of {len(JSON) + 1}: trailing comma in object"),
        (JSON[:50], "value: not JSON: ends too early, at byte 50"),
        (JSON + b" x", f"value: not JSON at byte {len(JSON) + 1} of {len(JSON) + 2}: trailing characters"),
        (put(b"01"), f"value: not JSON at byte {put(b'01').index(b'01') + 1} of {len(put(b'01'))}: invalid number"),
        (put(b"tru"), f"value: not JSON at byte {put(b'tru').index(b'tru') + 1} of {len(put(b'tru'))}: invalid character"),
        (JSON.replace(b", ", b" ", 1), f"value: not JSON at byte 18 of {len(JSON) - 1}: expected ',' or '}}'"),
        (b"[" * 600, "value: nested too deeply, at most 200 levels"),
        (JSON.replace(b"e1", b"e1\xff"),
         f"value: not UTF-8 at byte 16 of {len(JSON) + 1}; looks like JSON in Latin-1 or Windows-1252"),
    ],
)  # fmt: skip
def test_the_detail_says_where_reading_failed(value: bytes, where: str) -> None:
    found = decoded(value)
    assert isinstance(found, Rejected)
    assert found.detail == where


garbage = st.binary(max_size=60) | st.sampled_from([made for made, _ in BYTES.values()]).flatmap(
    lambda made: st.tuples(st.integers(0, len(made)), st.binary(max_size=3)).map(
        lambda cut: made[: cut[0]] + cut[1] + made[cut[0] + 1 :]
    )
)


@given(st.sampled_from(list(Kind)), garbage, st.binary(max_size=20) | st.just(b"s1"))
@example(Kind.VIEWS, b"\x00", b"")
@example(Kind.VIEWS, b"\xdf", b"")
def test_any_bytes_have_a_short_detail_in_ascii(kind: Kind, value: bytes, key: bytes) -> None:
    found = decoded(value, kind, key)
    of_bytes(value)
    if isinstance(found, Rejected):
        assert found.detail.isascii()
        assert 0 < len(found.detail) <= LONGEST


@given(st.sampled_from(list(Kind)), st.sampled_from(NAMES := sorted({*VIEW, *COMMENT, *CHECKOUT})), st.integers(0, 8))
def test_no_detail_quotes_a_value(kind: Kind, name: str, form: int) -> None:
    """A word that no detail has, wherever it stands."""
    secret = "rahasiasekali"
    values: list[object] = [secret, [secret], {secret: secret}, {"after": secret, "op": secret, "ts_ms": 1}]
    base: dict[str, Any] = EVENTS[kind] | {name: values[form % 4]}
    value = json.dumps(base if form < 4 else {"data": base} if form < 6 else {secret: base}).encode()
    for bad in (value, value[:-1], value + value, value.replace(secret.encode(), secret.encode() + b"\xff")):
        found = decoded(bad, kind, secret.encode())
        if isinstance(found, Rejected):
            assert secret not in found.detail


def test_what_only_begins_or_ends_like_a_pickle_is_none() -> None:
    assert of_bytes(b"\x80\x04.") == "a Python pickle"
    for value in (b"\x80\x04x", b"\x80\x09.", b"\x80\x80\x80", b"\x81\x04."):
        assert of_bytes(value) != "a Python pickle"


def test_one_field_is_not_enough_for_protobuf_nor_are_two_that_do_not_fill_the_value() -> None:
    found = of_bytes(b"\x08\x01\x10\x02")
    assert "rotobuf" in found
    for value in (b"\x08\x01", b"\x08\x01\x12\x09a", b"\x0a\x01a"):
        assert of_bytes(value) != found
