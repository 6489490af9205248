"""One dead letter, as `liveshop dlq show` prints it. What a terminal would obey is an escape, as everywhere."""

import base64
from typing import Any, Final

import msgspec

from stream.cli.output import print_table, say, text
from stream.cli.timestamps import in_zone
from stream.config import Settings
from stream.core.nesting import refuse_deep
from stream.dlq.letters import Letter
from stream.model.names import DEAD_LETTERS

SHOWN_BYTES: Final = 64 * 1024
"""Of a value, on a terminal; with --json all of it."""
HEX_BYTES: Final = 512
"""Of a value that is no text."""
ROW_BYTES: Final = 16


def print_letter(settings: Settings, letter: Letter, judged: str) -> None:
    """``judged``: the verdict of today."""
    origin = letter.origin
    offsets = origin.first if origin.first == origin.last else f"{origin.first} to {origin.last}"
    rows: list[tuple[str, object]] = [
        ("dead letter", f"{settings.topic(DEAD_LETTERS)}, partition {letter.partition}, offset {letter.offset}"),
        ("written", in_zone(letter.written)),
        ("reason", letter.reason),
        ("detail", letter.detail),
        ("original", f"{origin.topic}, partition {origin.partition}, offset {offsets}, {in_zone(origin.timestamp)}"),
        ("time", in_zone(letter.time())),
        ("sent again", letter.redrives),
        ("as of now", judged),
        ("key", _readable(letter.key)),
        *((f"header {name}", _readable(value)) for name, value in letter.headers),
        ("value", _about_value(letter)),
    ]
    if letter.dropped:
        rows.insert(-1, ("more headers", f"{letter.dropped}, which were too many or too large to be kept"))
    print_table(("", ""), [(name, text("-" if each is None else each)) for name, each in rows])
    if letter.value:
        say()
        say("\n".join(_lines(letter.value[:SHOWN_BYTES])))


def _readable(content: bytes | None) -> str | None:
    """Text where it is text."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.hex(" ")


def _about_value(letter: Letter) -> str:
    if letter.value is None:
        return "none (a tombstone)"
    there = len(letter.value)
    about = f"{there} bytes" if letter.size is None else f"the first {there} of {letter.size} bytes"
    return about if there <= SHOWN_BYTES else f"{about}, of which {SHOWN_BYTES} are shown"


def _lines(value: bytes) -> list[str]:
    """JSON indented, other text as it is, and the rest in hexadecimal."""
    try:
        content = value.decode()
    except UnicodeDecodeError:
        return [_hex_row(value, start) for start in range(0, min(len(value), HEX_BYTES), ROW_BYTES)]
    try:
        refuse_deep(value)
        return msgspec.json.format(value, indent=2).decode().split("\n")  # numbers and repeated keys as they were sent
    except (msgspec.DecodeError, RecursionError):
        return content.split("\n")


def _hex_row(value: bytes, start: int) -> str:
    row = value[start : start + ROW_BYTES]
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)  # noqa: PLR2004  # printable ASCII
    return f"{start:08x}  {row.hex(' '):{3 * ROW_BYTES}} {shown}"


def as_dict(letter: Letter, judged: str) -> dict[str, Any]:
    """The same as JSON values, byte for byte."""
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "written": letter.written,
        "time": letter.time(),
        "as_of_now": judged,
        "headers_of_liveshop": dict(letter.own),
        "headers": [{"name": name, "value": _text(value), "base64": _base64(value)} for name, value in letter.headers],
        "key": {"text": _text(letter.key), "base64": _base64(letter.key)},
        "value": {"text": _text(letter.value), "base64": _base64(letter.value)},
    }


def _text(content: bytes | None) -> str | None:
    """None where it is no text."""
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def _base64(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()
