"""Recorded traffic as a file: one JSON object a line, gzipped when the name ends in ``.gz``.

::

    {"topic": "live.views", "key": "7301", "at": 1760000000123, "value": {"event_id": "…", …}}
    {"topic": "live.comments", "key": "7301", "at": 1760000000130, "raw": "PGV2ZW50Pg=="}

- ``topic``  live.views, live.comments or live.checkouts (a topic prefix is not part of it)
- ``key``    text or null
- ``raw_key``  instead of ``key``: base64 of bytes that are no text
- ``at``     when the record arrived, integer ms since 1970, UTC; decides the pace, and is the broker's clock to a backtest
- ``value``  the event, kept byte for byte; null is a tombstone
- ``raw``    instead of ``value``: base64 of bytes that are no JSON

Other fields are ignored, empty lines too.
"""

import base64
import errno
import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, BinaryIO, Final, cast

import msgspec

from stream.errors import UsageError
from stream.model.messages import Message
from stream.model.names import INPUTS, Kind

_KINDS: Final = {topic: kind for kind, topic in INPUTS.items()}
_EVENT_TIME: Final = re.compile(rb'"event_time"\s*:\s*(\d{1,18})(?!\d)')

LONGEST: Final = 8_000_000
"""Bytes of a line: 4 MB, more than any message may have, as base64. A small file may hold larger ones, gzipped."""
_BLANKS: Final = b" \t\r"
"""Around a value they would not be read as part of it."""
_LATEST: Final = 2**53
"""Ms. Far beyond what anybody records, and no sum of it overflows."""


class _Line(msgspec.Struct, frozen=True):
    topic: str
    at: Annotated[int, msgspec.Meta(ge=0, le=_LATEST)]
    key: str | None = None
    value: msgspec.Raw = msgspec.Raw()
    raw: bytes | None = None
    raw_key: bytes | None = None


_decode: Final = msgspec.json.Decoder(_Line).decode


def _open(file: Path) -> BinaryIO:
    try:
        return cast("BinaryIO", gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb"))
    except OSError as error:
        raise UsageError(f"{file}: cannot be opened: {error.strerror}") from None


Arrived = tuple[int, Kind, bytes | None, bytes | None]
"""When it arrived, topic, key and value of a message. A plain tuple: a backtest reads 200,000 of them a second."""


def read(file: Path) -> Iterator[Message | str]:
    """The messages of a recording in order; instead of a line that is none, a text that says why (without its content).

    Raises UsageError when the file cannot be read.
    """
    for each in arrived(file):
        yield each if isinstance(each, str) else Message(*each, event_time=each[0])


def arrived(file: Path) -> Iterator[Arrived | str]:
    """The same, with less made of it."""
    with _open(file) as opened:
        try:
            for number, line in enumerate(_lines(opened), 1):
                try:
                    entry = _decode(line)
                except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                    if len(line) > LONGEST:
                        yield f"line {number}: longer than {LONGEST:,} bytes"
                    elif line.strip():
                        what = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
                        yield f"line {number}: {what}"
                else:
                    yield _arrived(entry, number)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{file}: cannot be read to its end: {error}") from None


def _lines(opened: BinaryIO) -> Iterator[bytes]:
    """Of one that is too long its beginning, which is no JSON, and is so long that one sees it."""
    while line := opened.readline(LONGEST + 1):
        yield line
        while len(line) > LONGEST and not line.endswith(b"\n"):
            line = opened.readline(LONGEST + 1)


def _arrived(entry: _Line, number: int) -> Arrived | str:
    kind = _KINDS.get(entry.topic)
    if kind is None:
        return f"line {number}: topic: none of {', '.join(_KINDS)}"
    value = entry.raw
    if value is None:
        value = bytes(entry.value)
        if not value:
            return f"line {number}: neither value nor raw"
        if value == b"null":
            value = None
    key = entry.raw_key if entry.key is None else entry.key.encode()
    return entry.at, kind, key, value


def write(messages: Iterable[Message], file: BinaryIO) -> None:
    """Append messages as lines."""
    file.writelines(line(message) for message in messages)


@contextmanager
def create(file: Path) -> Iterator[BinaryIO]:
    """A file to ``write`` to, gzipped by its name; what it held is replaced.

    Raises UsageError when it cannot be made, or when it is a symbolic link to a file: where many users may write, anybody
    could have made that.
    """
    try:
        opened = open(file, "wb", opener=_unlinked)  # noqa: SIM115 - Path.open has no opener; see below
    except OSError as error:
        raise UsageError(f"{file}: cannot be opened: {error.strerror}") from None
    with opened as plain:
        if file.suffix != ".gz":
            yield plain
        else:
            with gzip.GzipFile(filename="", fileobj=plain, mode="wb") as packed:
                yield cast("BinaryIO", packed)


def _unlinked(path: str, flags: int) -> int:
    """Opens no file through a link, but what ``/dev/stdout`` leads to."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    opened = os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC))
    if stat.S_ISREG(os.fstat(opened).st_mode) and not path.startswith("/dev/"):
        os.close(opened)
        raise OSError(errno.ELOOP, "it is a symbolic link; name the file itself")
    return opened


def line(message: Message, more: Mapping[str, str | int] = MappingProxyType({})) -> bytes:
    """With its end. ``more``: fields that readers ignore."""
    value, own = message.value, b"".join(b"%b:%b," % (_text(name), _text(each)) for name, each in more.items())
    head = b'{"topic":"%b",%b,"at":%d,%b' % (INPUTS[message.kind].encode(), _key(message.key), message.at, own)
    if value is None:
        return head + b'"value":null}\n'
    if message.fault is None or _is_json(value):
        return head + b'"value":%b}\n' % value
    return head + b'"raw":"%b"}\n' % base64.b64encode(value)


def _text(value: str | int) -> bytes:
    """As JSON. Half of a surrogate pair, which readers refuse, stands as a question mark."""
    return json.dumps(value.encode(errors="replace").decode() if isinstance(value, str) else value).encode()


def _key(key: bytes | None) -> bytes:
    if key is None:
        return b'"key":null'
    try:
        return b'"key":%b' % _text(key.decode())
    except UnicodeDecodeError:
        return b'"raw_key":"%b"' % base64.b64encode(key)


def _is_json(value: bytes) -> bool:
    """And would be read as it is: a text ``null`` is no tombstone, and a line ends where it breaks."""
    try:
        value.decode()
        msgspec.json.decode(value, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return b"\n" not in value and value == value.strip(_BLANKS) != b"null"


def moved(message: Message, by_ms: int) -> Message:
    """The same event, ``by_ms`` later; every other byte stays. Values without a plain event_time stay as they are."""
    found = _EVENT_TIME.search(message.value or b"")
    if found is None or message.value is None:
        return message
    begin, end = found.span(1)
    value = message.value[:begin] + b"%d" % (int(found[1]) + by_ms) + message.value[end:]
    return message._replace(value=value)
