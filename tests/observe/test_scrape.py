"""Asking for a page: whoever answers, it ends in time and takes no more than its bound."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from stream.observe import scrape
from tests.support import eventually

HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that answers its first client by ``talk``."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            client, _ = server.accept()
            with client, suppress(OSError):
                client.recv(65_536)
                talk(client)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/metrics?x=1"
        eventually(lambda: not thread.is_alive(), what="the server has done with its client")


def say(content: bytes) -> Callable[[socket.socket], None]:
    return lambda client: client.sendall(content)


def test_a_page_with_or_without_a_length() -> None:
    with answering(say(HEAD + b"Content-Length: 3\r\n\r\nabcd")) as url:
        assert scrape.fetch(url, 5.0) == (200, "abc")
    with answering(say(b"HTTP/1.0 503 Not Ready\r\n\r\nno\xff")) as url:
        assert scrape.fetch(url, 5.0) == (503, "no�")


@pytest.mark.parametrize("head", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 99999999\r\n"])
def test_more_than_the_bound_is_not_read(head: bytes) -> None:
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if b"chunked" in head else b"x" * 65_536

    def talk(client: socket.socket) -> None:
        client.sendall(HEAD + head + b"\r\n")
        for _ in range(10_000):
            client.sendall(chunk)
        pytest.fail("it took 650 MB")

    with answering(talk) as url, pytest.raises(ValueError, match="over 100,000 bytes"):
        scrape.fetch(url, 5.0, most=100_000)


@pytest.mark.parametrize("begin", [b"", HEAD, HEAD + b"A: ", HEAD + b"\r\n", HEAD + b"Content-Length: 1000\r\n\r\n"])
def test_one_who_answers_byte_by_byte_is_cut_off(begin: bytes) -> None:
    def drip(client: socket.socket) -> None:
        client.sendall(begin)
        for _ in range(1500):
            client.sendall(b"x")
            time.sleep(0.02)  # well within the timeout of a read
        pytest.fail("it waited for half a minute")

    began = time.monotonic()
    with answering(drip) as url, pytest.raises((OSError, ValueError)):
        scrape.fetch(url, 0.3)
    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x16", HEAD + b"A: 1\r\n" * 200]
)
def test_what_is_no_http_is_an_error(answer: bytes) -> None:
    with answering(say(answer)) as url, pytest.raises((OSError, ValueError)):
        scrape.fetch(url, 5.0)


@pytest.mark.parametrize(
    "url", ["", "metrics", "file:///etc/passwd", "http://", "http://h:99999/", "ftp://h/", "http://h\n/"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises((OSError, ValueError)):
        scrape.fetch(url, 0.5)
