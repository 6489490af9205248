"""The head of an HTTP request: bytes in, a Request or a Refusal out. Pure, so that any bytes can be tried on it.

Rule 1: no bytes raise. What is not understood is refused with a status of 4xx.
Rule 2: the work is linear in the length of the head, and the head has at most ``MOST_HEAD`` bytes.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

MOST_HEAD: Final = 16_384
"""Bytes of the request line and all headers together."""
READABLE: Final = ("GET", "HEAD")
"""The methods that pages answer to."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2: a method, or the name of a header."""
_VERSION: Final = re.compile(r"HTTP/1\.[0-9]")
_ENDS: Final = (b"\n\r\n", b"\n\n")
_LONGEST_END: Final = 3


class Request(NamedTuple):
    """``path`` is without the query. ``accept``: all Accept headers, joined; empty without any."""

    method: str
    path: str
    accept: str


class Refusal(NamedTuple):
    """``why`` is for people: one line, and nothing of what the client sent."""

    status: HTTPStatus
    why: str


TOO_LARGE: Final = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"request line and headers are over {MOST_HEAD} bytes"
)
TOO_SLOW: Final = Refusal(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
METHOD: Final = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
_BODY: Final = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a request here has no body")


def head_end(data: bytes | bytearray, searched: int = 0) -> int | None:
    """Where the empty line that ends the head is over, or None while it has not come.

    ``searched``: so many bytes were looked through before, in vain.
    """
    begin = max(0, searched - _LONGEST_END + 1)
    ends = [at + len(end) for end in _ENDS if (at := data.find(end, begin)) >= 0]
    return min(ends, default=None)


def parse(head: bytes) -> Request | Refusal:
    """What the client wants. ``head`` ends with its empty line."""
    if len(head) > MOST_HEAD:
        return TOO_LARGE
    first, *lines = [line.removesuffix("\r") for line in head.decode("latin-1").split("\n")]
    words = first.split(" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not _VERSION.fullmatch(words[2]):  # noqa: PLR2004 - RFC 9112, 3
        return _bad("the request line is not METHOD TARGET HTTP/1.1")
    headers = _headers(lines)
    path = _path(words[1])
    if headers is None:
        return _bad("a header is not NAME: VALUE")
    if path is None:
        return _bad("the target is neither a path nor an http:// address")
    if words[0] not in READABLE:
        return METHOD
    if _has_body(headers):
        return _BODY
    return Request(words[0], path, ",".join(value for name, value in headers if name == "accept"))


def _bad(why: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, why)


def _headers(lines: Iterable[str]) -> list[tuple[str, str]] | None:
    """Names in lower case, and values; None when a line is no header (a folded one is none: RFC 9112, 5.2)."""
    found = []
    for line in lines:
        if not line:
            break
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _is_text(value):
            return None
        found.append((name.lower(), value.strip(" \t")))
    return found


def _is_text(value: str) -> bool:
    return not any((char < " " and char != "\t") or char == "\x7f" for char in value)


def _path(target: str) -> str | None:
    if target.lower().startswith("http://"):
        target = "/" + target[len("http://") :].partition("/")[2]
    if not target.startswith("/") or not _is_text(target) or "\t" in target:
        return None
    return target.partition("?")[0]


def _has_body(headers: Iterable[tuple[str, str]]) -> bool:
    return any(name == "transfer-encoding" or (name == "content-length" and value != "0") for name, value in headers)
