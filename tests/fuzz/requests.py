"""What strangers send to the HTTP port: to the parser, and now and then to a server over a socket. Never a status of 5xx."""

import socket
from functools import cache
from random import Random
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import LogCapture

from stream.observe.exposition import Form, choose
from stream.observe.http import HttpServer
from stream.observe.request import MOST_HEAD, Refusal, Request, head_end, parse
from tests.fuzz.damage import damaged, repeated
from tests.fuzz.target import Bound

OVER_A_SOCKET: Final = 0x3F
"""One in so many inputs is sent."""
REQUEST: Final = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nUser-Agent: Prometheus/3.5.0\r\nAccept: application/openmetrics-text;"
    b"version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\nAccept-Encoding: gzip\r\n\r\n"
)
TOKENS: Final = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\x00",
        b"\xff",
        b"HTTP/1.1",
        b"HTTP/2.0",
        b"GET",
        b"POST",
        b"HEAD",
        b"/readyz",
    ),
    *(
        b"/healthz",
        b"/",
        b"?",
        b"#",
        b"%",
        b"http://",
        b"//",
        b"*",
        b"Accept:",
        b"Content-Length: 5",
        b"Content-Length: 0",
    ),
    *(
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b";",
        b",",
        b"=",
        b"q=",
        b"version=",
        b"q=0.0001",
        b"text/plain",
    ),
)


def make(random: Random) -> bytes:
    sent = bytes([random.randrange(256)])
    if random.random() < 0.05:
        return sent + repeated(random, REQUEST, TOKENS, 100_000)
    return sent + damaged(random, REQUEST, TOKENS)


def run(data: bytes) -> None:
    head = data[1:]
    for searched in (0, len(head) // 2):
        end = head_end(head, searched)
        assert end is None or head[:end].endswith((b"\n\n", b"\n\r\n"))
    found = parse(head)
    if isinstance(found, Request):
        assert len(head) <= MOST_HEAD
        assert choose(found.accept) in Form
    else:
        assert isinstance(found, Refusal)
        assert 400 <= found.status < 500
    if data and data[0] & OVER_A_SOCKET == 0:
        send(head)


class Well:
    """Vitals with nothing wrong."""

    def stalled(self) -> str | None:
        return None

    def readiness(self) -> tuple[list[str], list[str]]:
        return [], []


@cache
def server() -> tuple[HttpServer, LogCapture]:
    log = LogCapture()
    structlog.configure(processors=[log])
    return HttpServer("127.0.0.1", 0, CollectorRegistry(), Well()), log


def send(head: bytes) -> None:
    """It is answered or cut off, in time, and not a line is logged."""
    target, log = server()
    answer = b""
    with socket.create_connection((target.host, target.port), timeout=10) as client:
        try:
            client.sendall(head)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65_536), b""))
        except TimeoutError:
            raise
        except OSError:  # it hangs up on those who send far too much
            answer = b""
    assert not answer or answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), answer[:200]
    assert log.entries == []


BOUND: Final = Bound()
