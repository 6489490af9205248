"""What bytes look like that are no JSON: the first thing a person wants to know of a dead letter.

Pure guesses from the first bytes and from those where the parser stopped; no guess decides a reason. Every answer is one
of the texts below, and never quotes the value. Rule: a guess looks at a bounded number of bytes, or makes one pass in C.
"""

import re
from collections.abc import Callable
from typing import Final

HEAD: Final = 64
"""First bytes that decide whether a value is text at all."""
MOST_FIELDS: Final = 64
"""Fields of Protobuf that are looked at; a value with more of them is taken for it."""
LARGEST_FIELD: Final = 1000
"""Numbers of fields are small in what people write."""
LEAST_COMMAS: Final = 3
"""In a line of CSV."""

_SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xef\xbb\xbf", "UTF-8 with a byte order mark"),
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"{\x00\x00\x00", "UTF-32"),
    (b'\x00\x00\x00{\x00\x00\x00"', "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"{\x00", "UTF-16"),
    (b"\x00{\x00", "UTF-16"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x82SNAPPY\x00", "snappy"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "a zip file"),
    (b"Obj\x01", "an Avro container file"),
    (b"\xc3\x01", "Avro after the fingerprint of its schema"),
    (b"PAR1", "a Parquet file"),
    (b"ORC", "an ORC file"),
    (b"ARROW1", "an Arrow file"),
    (b"\xac\xed\x00\x05", "a serialized Java object"),
    (b"\xe0\x01\x00\xea", "Amazon Ion"),
    (b":)\n", "Smile"),
    (b"\xd9\xd9\xf7", "CBOR"),
    (b"<?xml", "XML"),
    (b"<", "XML or HTML"),
    (b"---\n", "YAML"),
    (b"%7B", "percent-encoded text"),
    (b"{&quot;", "JSON escaped for HTML"),
    (b"{\xe2\x80\x9c", "JSON with typographic quotes"),
    (b"eyJ", "JSON in base64"),
    (b"7b22", "JSON in hexadecimal"),
    (b"[object Object]", "a JavaScript object written without JSON.stringify"),
    (b"b'", "a Python bytes literal"),
    (b'b"', "a Python bytes literal"),
    (b"{'", "single quotes instead of double quotes"),
    (b'{\\"', "JSON with escaped quotes"),
    (b"${", "a template that was not filled in"),
    (b"{{", "a template that was not filled in"),
)
"""The first that fits is told, so the longer ones come before those that they begin with."""

_AT_FAULT: Final[tuple[tuple[bytes, str], ...]] = (
    (b"NaN", "NaN, which JSON does not have"),
    (b"Infinity", "infinity, which JSON does not have"),
    (b"inf", "infinity, which JSON does not have"),
    (b"nan", "NaN, which JSON does not have"),
    (b"undefined", "JavaScript's undefined"),
    (b"None", "Python's None, True or False"),
    (b"True", "Python's None, True or False"),
    (b"False", "Python's None, True or False"),
    (b"'", "single quotes instead of double quotes"),
    (b"//", "a comment, which JSON does not have"),
    (b"/*", "a comment, which JSON does not have"),
    (b"#", "a comment, which JSON does not have"),
    (b"\xc2\xa0", "a no-break space"),
    (b"\xe2\x80\x9c", "typographic quotes"),
    (b"+", "a number with a plus sign"),
    (b"\x00", "zero bytes"),
)
"""What lies where the parser stopped."""


def of_bytes(value: bytes) -> str:
    """What the beginning of a value looks like; empty without a guess."""
    for signature, name in _SIGNATURES:
        if value.startswith(signature):
            return name
    return next((name for name, fits in _FORMS if fits(value)), "")


def of_fault(value: bytes, at: int) -> str:
    """What lies where a JSON parser stopped; empty without a guess."""
    after_minus = at + (value[at : at + 1] == b"-")
    for signature, name in _AT_FAULT:
        if value.startswith(signature, after_minus):
            return name
    byte = value[at : at + 1]
    if b"" < byte < b" ":
        return "a line break, tab or other control character in a string"
    is_key = value[max(0, at - HEAD) : at].rstrip().endswith((b"{", b","))
    return "keys without quotes" if is_key and byte.isalpha() else ""


def of_rest(value: bytes, at: int) -> str:
    """What follows a whole JSON value."""
    rest = value[at : at + HEAD]
    if rest.startswith((b"{", b"[")):
        lines = value[:at].rstrip(b" \t\r").endswith(b"\n")
        return "several events in one value, one per line" if lines else "several events in one value"
    if not rest.strip(b"\x00"):
        return "zero bytes behind the event, a buffer sent whole"
    return "several values separated by commas" if rest.startswith(b",") else ""


def of_no_utf8(value: bytes, at: int) -> str:
    """What a value looks like that is not UTF-8 from byte ``at`` on."""
    guess = of_bytes(value)
    if guess:
        return guess
    if not value[:HEAD].lstrip().startswith((b"{", b"[", b'"')):
        return "binary or encrypted data"
    if value[at : at + 1] == b"\xed" or value[at : at + 2] == b"\xc0\x80":
        return "Java's modified UTF-8"
    if _CUT_OFF.match(value, at):
        return "text that was cut in the middle of a character"
    return "JSON in Latin-1 or Windows-1252"


_CUT_OFF: Final = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}\Z")


# -- forms that no fixed signature tells


def _has_length(value: bytes) -> bool:
    """Java's writeUTF has two bytes, most others four; gRPC a flag before."""
    return any(
        len(value) > size and int.from_bytes(value[begin:size], "big") == len(value) - size
        for begin, size in ((0, 2), (0, 4), (1, 5))
    )


def _is_bson(value: bytes) -> bool:
    return int.from_bytes(value[:4], "little") == len(value) and value.endswith(b"\x00")


def _is_pickle(value: bytes) -> bool:
    return value[:1] == b"\x80" and value[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and value.endswith(b".")


def _is_protobuf(value: bytes) -> bool:
    """Fields that fill the value exactly. At least two: nearly anything short can be read as one."""
    at = number = 0
    while at < len(value) and number < MOST_FIELDS:
        tag, at = _varint(value, at)
        wire = tag & 7
        if not 0 < tag >> 3 < LARGEST_FIELD or wire not in _WIRES:
            return False
        size = _WIRES[wire]
        if size is None:
            size, at = _varint(value, at)
            size *= wire == _SIZED
        at += size
        number += 1
    return number > 1 and (at == len(value) or number == MOST_FIELDS)


_SIZED: Final = 2
_WIRES: Final = {0: None, 1: 8, _SIZED: None, 5: 4}
"""Bytes of a field by its wire type; None: a varint, which of one type is the size of what follows."""


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """The number there, and where it ends: behind the end of the value where there is none."""
    number = 0
    for place, byte in enumerate(value[at : at + 10]):
        number |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return number, at + place + 1
    return 0, len(value) + 1


def _first_line(value: bytes) -> bytes:
    return value[: 16 * HEAD].partition(b"\n")[0]


def _is_csv(value: bytes) -> bool:
    line = _first_line(value)
    return not line.startswith((b"{", b"[", b'"')) and max(line.count(by) for by in (b",", b";", b"\t")) >= LEAST_COMMAS


def _begins(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether the first bytes are so."""
    compiled = re.compile(pattern, re.DOTALL)
    return lambda value: compiled.match(value[: 16 * HEAD]) is not None


_FORMS: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    ("zero bytes", lambda value: not value[:HEAD].strip(b"\x00")),
    ("a length before the event", _has_length),
    # Confluent's header is a zero byte and the schema's id in four bytes; Apicurio's id has eight
    ("JSON after a schema registry's header (Confluent's magic byte)", _begins(rb"\x00\x00.{3}(?:.{4})?\{")),
    ("Avro or Protobuf after a schema registry's header (Confluent's magic byte)", _begins(rb"\x00\x00.{4}")),
    ("data after the header of an AWS Glue schema registry", _begins(rb"\x03[\x00\x05].{16}")),
    ("BSON", _is_bson),
    ("a Python pickle", _is_pickle),
    # maps whose first key is text
    ("MessagePack", _begins(rb"(?:[\x81-\x8f]|\xde..|\xdf....)[\xa1-\xbf\xd9]")),
    ("CBOR", _begins(rb"[\xa1-\xb7\xbf][\x61-\x77]")),
    ("zlib", _begins(rb"\x78[\x01\x9c\xda]|\x78\x5e.{0,16}[\x80-\xff]")),
    ("Protobuf", _is_protobuf),
    ("binary or encrypted data", _begins(rb".{0,%d}[\x00-\x08\x0b\x0c\x0e-\x1f]" % HEAD)),
    ("a Java object written by toString", _begins(rb"\w{0,64}[{(\[]\w{1,64}=")),
    ("a web form", _begins(rb"[\w.-]{1,64}=[^&=\s]{0,200}&")),
    ("the key=value pairs of a log", _begins(rb"[\w.-]{1,64}=")),
    ("a line of CSV", _is_csv),
    ("plain text", lambda value: value[:HEAD].lstrip()[:1].isalpha()),
)
"""The first that fits is told."""
