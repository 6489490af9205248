"""Strangers at the HTTP port of a real worker: whatever they send, or do not, it stays small and scrapes get through."""

import http.client
import os
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.observe.http import MOST_CLIENTS
from stream.observe.request import MOST_HEAD
from stream.sandbox.broker import EmbeddedKafka
from tests.live import Worker, create_topics, parse_metrics

DEADLINE = 60.0
MEGABYTE = 1_000_000


class Target:
    """A worker and its port."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.port = int(worker.url().rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def say(self, request: bytes) -> bytes:
        """The whole answer. ConnectionError when the worker hangs up although we have not: the answer may be lost."""
        with self.connect() as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65_536), b""))

    def scrape(self) -> dict[str, float]:
        status, _, text = self.say(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 200 OK")
        return parse_metrics(text.decode())

    def memory(self) -> int:
        """Bytes (RSS)."""
        return int(Path(f"/proc/{self.worker.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Seconds."""
        fields = Path(f"/proc/{self.worker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def complaints(self) -> list[object]:
        return [line for line in self.worker.lines() if line.get("level") not in {"info", "debug"}]


@pytest.fixture(scope="module")
def target(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    create_topics(kafka.bootstrap, "strangers.", 1)
    with Worker(kafka.bootstrap, "strangers.", tmp_path_factory.mktemp("strangers") / "log") as worker:
        worker.await_ready()
        target = Target(worker)
        yield target
        assert target.complaints() == []
        worker.stop()


@pytest.mark.kafka
def test_what_requests_hold_is_bounded(target: Target) -> None:
    """31 clients with 99 headers of 65 KB: two hundred megabytes are not taken."""
    before = target.memory()
    with ExitStack() as stack:
        clients = [stack.enter_context(target.connect()) for _ in range(31)]
        for client in clients:
            client.settimeout(0.1)
            with suppress(OSError):  # it is not read to its end
                client.sendall(b"GET /metrics HTTP/1.1\r\n" + (b"X: " + b"x" * 65_000 + b"\r\n") * 99)
        target.scrape()
        assert target.memory() - before < 50 * MEGABYTE
    assert target.say(b"GET / HTTP/1.1\r\nX: " + b"x" * MOST_HEAD + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")


@pytest.mark.kafka
def test_scrapes_get_through_a_flood_of_idle_connections(target: Target) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            for _ in range(MOST_CLIENTS):
                stack.enter_context(target.connect())
            assert target.scrape()


@pytest.mark.kafka
def test_slow_readers_hold_no_page_of_their_own(target: Target) -> None:
    before = target.memory()
    with ExitStack() as stack:
        for _ in range(2 * MOST_CLIENTS):
            client = stack.enter_context(target.connect())
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert target.scrape()
        assert target.memory() - before < 50 * MEGABYTE


@pytest.mark.kafka
def test_scrapers_in_a_loop_take_a_small_share_of_the_cpu(target: Target) -> None:
    def loop(until: float) -> int:
        number = 0
        while time.monotonic() < until:
            target.say(b"GET /metrics HTTP/1.1\r\n\r\n")
            number += 1
        return number

    seconds, cpu = 3.0, target.cpu()
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(loop, [time.monotonic() + seconds] * 4))
    assert min(numbers) > 0, "each of them is answered"
    assert target.cpu() - cpu < 0.5 * seconds


def head(method: str = "GET", path: str = "/metrics", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


ODD: Sequence[bytes] = (
    head(Accept="text/plain; version=x"),
    head(Accept="application/openmetrics-text; version=x"),
    head(Accept="application/openmetrics-text; version=999999999999999999999.1e5"),
    head("POST"),
    head("HEAD"),
    head("TRACE"),
    head(path="http://[::1"),
    head(path="/%ff%00?\x80"),
    b"\r\n\r\n",
    b"GET /metrics\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
)


def check(answer: bytes) -> None:
    first, _, rest = answer.partition(b"\r\n")
    version, status, _ = first.split(b" ", 2)
    assert version == b"HTTP/1.1"
    assert 200 <= int(status) < 500, answer
    assert b"<" not in rest.partition(b"\r\n\r\n")[0] + first


@pytest.mark.kafka
@pytest.mark.parametrize("request_", ODD)
def test_odd_requests_are_the_clients_mistake_and_no_line_in_the_log(target: Target, request_: bytes) -> None:
    check(target.say(request_))
    assert target.complaints() == []


WORDS = (
    *(b"GET", b"HEAD", b"POST", b"/metrics", b"/readyz", b"HTTP/1.1", b" ", b"\r\n", b"\n", b"\r", b"\x00", b"\xff"),
    *(b"Accept", b":", b"text/plain", b"application/openmetrics-text", b";", b"version=", b"q=", b","),
    *(b"Content-Length", b"Transfer-Encoding"),
)


@pytest.mark.kafka
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(parts=st.lists(st.sampled_from(WORDS) | st.binary(max_size=20), max_size=30))
def test_any_bytes_are_answered_and_leave_no_line_in_the_log(target: Target, parts: list[bytes]) -> None:
    check(target.say(b"".join(parts) + b"\r\n\r\n"))
    noise = b"".join(parts).replace(b"\r", b"").replace(b"\n", b"").replace(b"\x00", b"")
    check(target.say(b"GET /metrics HTTP/1.1\r\nAccept: " + noise + b"\r\n\r\n"))
    assert target.complaints() == []


@pytest.mark.kafka
def test_an_ordinary_client_is_answered_after_all_that(target: Target) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=DEADLINE)
    try:
        connection.request("POST", "/metrics", body=b"x" * 50_000)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Allow"], answer.read()) == (405, "GET, HEAD", b"only GET and HEAD\n")
    finally:
        connection.close()
