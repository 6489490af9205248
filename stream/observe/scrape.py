"""Asking a worker for one of its pages, with a bound on everything: bytes, and seconds from the first to the last.

Who answers may be a stranger: a worker's port may be another program's by now.
"""

import http.client
import socket
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

MOST_PAGE: Final = 64 * 1024 * 1024
"""Bytes. The most that a worker shows, 10,000 sessions with the longest ids, is a third of that."""


class Answer(NamedTuple):
    status: int
    text: str


def fetch(url: str, seconds: float, most: int = MOST_PAGE) -> Answer:
    """What is there now. Redirects and proxies are not followed.

    Raises OSError when nobody answers in ``seconds``, ValueError when the answer is none or over ``most`` bytes.
    """
    began = time.monotonic()
    connection = _connection(url, seconds)
    try:
        connection.connect()
        with _Cut(connection.sock, seconds - (time.monotonic() - began)) as cut:
            status, content = _asked(connection, url, most)
            if cut.fired:
                raise TimeoutError(f"the answer took longer than {seconds:g} s")
    except http.client.HTTPException as error:
        raise ValueError(f"no HTTP: {type(error).__name__}") from None
    finally:
        connection.close()
    if len(content) > most:
        raise ValueError(f"the page is over {most:,} bytes")
    return Answer(status, content.decode(errors="replace"))


def _connection(url: str, seconds: float) -> http.client.HTTPConnection:
    """Raises ValueError for what is no address of a page."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it should begin with http:// or https:// and a host")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=seconds)


def _asked(connection: http.client.HTTPConnection, url: str, most: int) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection.request("GET", parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl())
    with connection.getresponse() as answer:
        return answer.status, answer.read(most + 1)


class _Cut:
    """Shuts a socket down after so many seconds: its own timeout begins anew with every byte."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self.fired = False
        self._sock = sock
        self._timer = threading.Timer(max(0.0, seconds), self._cut)
        self._timer.daemon = True

    def _cut(self) -> None:
        self.fired = True
        with suppress(OSError):  # it is closed already
            self._sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
