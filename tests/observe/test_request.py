"""Reading the head of a request: what is understood, what is refused, and that no bytes raise."""

import time
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.observe.request import METHOD, MOST_HEAD, TOO_LARGE, Refusal, Request, head_end, parse


def test_a_request_as_prometheus_sends_it() -> None:
    head = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a:9464\r\nAccept: text/plain\r\naccept: */*;q=0.1\r\n\r\n"
    assert parse(head) == Request("GET", "/metrics", "text/plain,*/*;q=0.1")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("//", "//"),
        ("/readyz?verbose?", "/readyz"),
        ("http://a.b:1/metrics", "/metrics"),
        ("HTTP://a", "/"),
        ("http://[::1", "/"),
        ("/%zz", "/%zz"),
    ],
)
def test_targets(target: str, path: str) -> None:
    assert parse(f"GET {target} HTTP/1.0\n\n".encode()) == Request("GET", path, "")


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.10\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / /x HTTP/1.1\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"GET /\x1b[31m HTTP/1.1\r\n\r\n",
        b"GET metrics HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : space\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: 1\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: 1\rB: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n",  # TLS
        b"PRI * HTTP/2.0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_the_clients_mistake(head: bytes) -> None:
    refusal = parse(head)
    assert isinstance(refusal, Refusal)
    assert refusal.status is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("header", [b"Content-Length: 5", b"content-length: -1", b"Transfer-Encoding: chunked"])
def test_a_body_is_refused(header: bytes) -> None:
    refusal = parse(b"GET / HTTP/1.1\r\n" + header + b"\r\n\r\n")
    assert isinstance(refusal, Refusal)
    assert refusal.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert isinstance(parse(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), Request)


def test_other_methods_are_refused_with_or_without_a_body() -> None:
    assert parse(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n") == METHOD
    assert parse(b"get / HTTP/1.1\r\n\r\n") == METHOD


def test_the_head_ends_with_an_empty_line_wherever_it_was_cut() -> None:
    for head in (b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest", b"GET / HTTP/1.1\nA: b\n\nrest\r\n\r\n"):
        end = len(head.partition(b"rest")[0])
        for cut in range(end):
            assert head_end(head[:cut]) is None
            assert head_end(head, searched=cut) == end


@given(st.binary(max_size=200), st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b":", b"HTTP/1.1", b"GET /"])))
def test_no_bytes_raise(noise: bytes, words: list[bytes]) -> None:
    for head in (noise, noise + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + noise + b"\r\n\r\n", b"".join(words) + noise):
        found = parse(head)
        assert isinstance(found, Request) or 400 <= found.status < 500


@pytest.mark.parametrize("line", [b"\r\n", b"\n", b"A:\r\n", b"A: ,;=\r\n", b":", b" ", b"\r", b"\x00"])
def test_the_largest_head_is_read_at_once(line: bytes) -> None:
    head = (b"GET / HTTP/1.1\r\n" + line * MOST_HEAD)[: MOST_HEAD - 4] + b"\r\n\r\n"
    began = time.process_time()
    assert parse(head) != TOO_LARGE
    assert time.process_time() - began < 0.5
    assert parse(head + b"x") == TOO_LARGE
