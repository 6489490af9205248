"""The server: its pages, its port, and clients that behave badly."""

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from structlog.testing import capture_logs

from stream.config import Settings
from stream.errors import UsageError
from stream.observe import http as module
from stream.observe.health import Health
from stream.observe.http import MOST_CLIENTS, HttpServer
from stream.observe.metrics import Metrics
from stream.observe.request import MOST_HEAD
from stream.observe.shares import SharePolicy
from tests.observe.views import tally
from tests.support import eventually

DEADLINE = 60.0


@pytest.fixture
def health() -> Health:
    health = Health(SharePolicy())
    health.assigned(frozenset())
    return health


@pytest.fixture
def server(health: Health) -> Iterator[HttpServer]:
    with HttpServer("127.0.0.1", 0, Metrics(Settings()).registry, health, every=0.0) as server:
        yield server


def say(server: HttpServer, request: bytes) -> bytes:
    """The whole answer to these bytes; the connection has to end in order."""
    with socket.create_connection((server.host, server.port), timeout=DEADLINE) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def get(server: HttpServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def test_the_pages(server: HttpServer) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert get(server, "/healthz")[::2] == (200, "ok\n")
    assert get(server, "/readyz?verbose")[::2] == (200, "ready\n")
    assert "/metrics" in get(server, "/")[2]
    assert get(server, "/favicon.ico")[0] == 404
    assert get(server, "/healthz", method="HEAD")[::2] == (200, "")


def test_what_is_no_get_is_refused_in_plain_text(server: HttpServer) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        assert get(server, "/metrics", method=method) == (405, "text/plain; charset=utf-8", "only GET and HEAD\n")
    answer = say(server, b"POST /metrics HTTP/1.1\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60_000)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


def test_a_head_is_a_get_without_its_body(server: HttpServer) -> None:
    head, _, body = say(server, b"HEAD / HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert body == b""
    length = int(re.findall(rb"Content-Length: (\d+)", head)[0])
    assert length == len(say(server, b"GET / HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")[2]) > 100


def test_metrics_in_the_format_that_is_asked_for(server: HttpServer) -> None:
    status, content_type, text = get(server, "/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert 'liveshop_events_total{outcome="counted",type="views"} 0.0\n' in text
    _, content_type, text = get(server, "/metrics", Accept="application/openmetrics-text;version=1.0.0;q=0.9,*/*;q=0.1")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    assert list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def test_unready_says_why_one_reason_a_line(server: HttpServer, health: Health) -> None:
    health.assigned(frozenset({3, 4}))
    health.unready("stuck", "stuck for 60 s")
    health.committed(tally())
    health.beat()
    status, _, text = get(server, "/readyz")
    lines = text.splitlines()
    assert status == 503
    assert lines[:3] == ["stuck for 60 s", *(f"partition {p}: its state is being restored" for p in (3, 4))]
    assert lines[3].startswith("note: live.views: of the last minute 10 of 100 records lack a field: ")
    assert get(server, "/healthz")[0] == 200


def test_dead_when_the_loop_stands_still() -> None:
    now = [0.0]
    health = Health(SharePolicy(), clock=lambda: now[0])
    with HttpServer("127.0.0.1", 0, CollectorRegistry(), health) as server:
        now[0] = 31.0
        assert get(server, "/healthz")[::2] == (503, "the event loop has not moved for 31 s\n")


def test_a_taken_port_is_named_with_its_flag(server: HttpServer, health: Health) -> None:
    with pytest.raises(UsageError, match=rf"port {server.port} on 127.0.0.1 is taken; .*--http-port"):
        HttpServer("127.0.0.1", server.port, CollectorRegistry(), health)


@pytest.mark.parametrize("host", ["256.1.2.3", "no.such.host.invalid", "a" * 70, "192.0.2.1"])
def test_a_host_that_is_not_ours_is_wrong_usage(health: Health, host: str) -> None:
    with pytest.raises(UsageError, match="--http-host"):
        HttpServer(host, 0, CollectorRegistry(), health)


def test_ipv6_where_there_is_one(health: Health) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        with HttpServer("::1", 0, CollectorRegistry(), health) as server:
            assert server.url == f"http://[::1]:{server.port}"
            assert get(server, "/healthz")[0] == 200
    except UsageError:
        pytest.skip("no IPv6 loopback here")


def test_the_port_is_free_again_after_close(health: Health) -> None:
    with HttpServer("127.0.0.1", 0, CollectorRegistry(), health) as server:
        get(server, "/healthz")
    with HttpServer("127.0.0.1", server.port, CollectorRegistry(), health) as again:
        assert get(again, "/healthz")[0] == 200


def connect(stack: ExitStack, server: HttpServer, number: int) -> list[socket.socket]:
    clients = [stack.enter_context(socket.create_connection((server.host, server.port))) for _ in range(number)]
    for client in clients:
        client.settimeout(DEADLINE)
    return clients


def test_clients_that_say_nothing_stop_nobody_and_do_not_hold_up_the_end(health: Health) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(HttpServer("127.0.0.1", 0, CollectorRegistry(), health))
        silent = connect(stack, server, MOST_CLIENTS + 10)
        silent[-1].sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        assert get(server, "/healthz")[0] == 200
        assert silent[0].recv(1) == b""  # the oldest was cut off, long before its time was up
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < module.HEAD_SECONDS
        assert silent[-1].recv(1) == b""


def test_a_scrape_that_waits_for_its_page_outlives_a_flood_of_idle_connections(health: Health) -> None:
    gate = threading.Event()

    class Slow(Collector):
        def collect(self) -> list[Metric]:
            gate.wait(DEADLINE)
            return [Metric("slow", "made at last", "gauge")]

        def describe(self) -> list[Metric]:
            return []

    registry = CollectorRegistry()
    registry.register(Slow())
    with HttpServer("127.0.0.1", 0, registry, health) as server, ExitStack() as stack:
        scraper = connect(stack, server, 1)[0]
        scraper.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        for _ in range(3):
            connect(stack, server, MOST_CLIENTS)
        assert get(server, "/healthz")[0] == 200
        gate.set()
        assert scraper.recv(20).startswith(b"HTTP/1.1 200 OK")


def test_a_client_has_limited_time_for_its_request(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 2.0)
    with ExitStack() as stack:
        silent, slow = connect(stack, server, 2)
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert silent.recv(1) == b""
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_client_has_limited_time_to_read(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 5.0)
    registry = CollectorRegistry()
    registry.register(Large())
    with HttpServer("127.0.0.1", 0, registry, health) as server, ExitStack() as stack:
        lazy = connect(stack, server, 1)[0]
        lazy.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert lazy.recv(20).startswith(b"HTTP/1.1 200 OK")
        eventually(lambda: not server._clients._busy, DEADLINE, "it is not waited for any more")
        assert get(server, "/healthz")[0] == 200


def test_a_request_is_whole_in_any_pieces_and_at_most_16_kb(server: HttpServer) -> None:
    with ExitStack() as stack:
        client = connect(stack, server, 1)[0]
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":
            client.sendall(bytes([byte]))
        assert client.recv(20).startswith(b"HTTP/1.1 200 OK")
    padding = MOST_HEAD - len(b"GET / HTTP/1.1\r\nX: \r\n\r\n")
    assert say(server, b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * padding)).startswith(b"HTTP/1.1 200 ")
    assert say(server, b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"x" * (padding + 1))).startswith(b"HTTP/1.1 431 ")


class Large(Collector):
    def collect(self) -> list[Metric]:
        family = Metric("large", "x" * 20_000_000, "gauge")
        family.add_sample("large", {}, 1)
        return [family]


def test_a_client_that_does_not_read_stops_nobody(health: Health) -> None:
    registry = CollectorRegistry()
    registry.register(Large())
    with HttpServer("127.0.0.1", 0, registry, health) as server, ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.create_connection((server.host, server.port)))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert len(get(server, "/metrics")[2]) > 20_000_000


def test_more_clients_than_allowed_at_once_are_still_answered(server: HttpServer) -> None:
    for _ in range(2 * MOST_CLIENTS):
        assert get(server, "/healthz")[0] == 200


def test_a_page_that_fails_is_an_error_and_a_line(health: Health) -> None:
    class Broken(Collector):
        def collect(self) -> list[Metric]:
            raise ZeroDivisionError

        def describe(self) -> list[Metric]:
            return []

    registry = CollectorRegistry()
    registry.register(Broken())
    with HttpServer("127.0.0.1", 0, registry, health) as server, capture_logs() as lines:
        assert get(server, "/metrics")[0] == 500
        assert get(server, "/healthz")[0] == 200
    assert [line["event"] for line in lines] == ["a page could not be made"]
