"""One HTTP server in threads of its own: /metrics, /healthz, /readyz. Rendering 50,000 series takes 0.4 s of CPU,
which the event loop must not wait for.

One thread and one answer a connection, with a time limit; of more than ``MOST_CLIENTS`` the oldest is cut off, so that
clients that say or read nothing stop nobody.
"""

import errno
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, Protocol, Self, TypeAlias

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from stream.errors import UsageError

MOST_CLIENTS: Final = 32
CLIENT_TIMEOUT: Final = 10.0
"""Seconds a client may say or read nothing."""
TEXT: Final = "text/plain; charset=utf-8"
INDEX: Final = """\
liveshop worker
/metrics  for Prometheus
/healthz  200 while the event loop moves
/readyz   200 when every shard of this worker is restored, else 503 and the problems
"""

log: Final = structlog.get_logger(__name__)

Answer: TypeAlias = tuple[HTTPStatus, str, bytes]


class Vitals(Protocol):
    """Whether what is behind the pages lives and is ready: one worker (health.py), or several (fleet.py)."""

    def stalled(self) -> str | None:
        """Why it is dead, or None."""

    def readiness(self) -> tuple[list[str], list[str]]:
        """Why it is not ready, one line each, and what people should know besides."""


class HttpServer:
    """Listens from construction on; ``port`` is the real one. Raises UsageError when it cannot listen there."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: Vitals) -> None:
        self._pages = _Pages(registry, health)
        self._server = _listen(host, port, self._pages)
        self.host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stops listening and cuts off whoever is still connected. Takes no longer than a second."""
        self._server.shutdown()
        self._server.server_close()
        self._server.cut_off(keep=0)
        self._thread.join(1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pages:
    def __init__(self, registry: CollectorRegistry, health: Vitals) -> None:
        self._registry = registry
        self._health = health
        self._scrape = threading.Lock()

    def answer(self, path: str, accept: str) -> Answer:
        match path.partition("?")[0]:
            case "/metrics":
                return self._metrics(accept)
            case "/healthz":
                return self._healthz()
            case "/readyz":
                return self._readyz()
            case "/":
                return HTTPStatus.OK, TEXT, INDEX.encode()
            case _:
                return HTTPStatus.NOT_FOUND, TEXT, b"not found: see /\n"

    def _metrics(self, accept: str) -> Answer:
        encode, content_type = choose_encoder(accept)
        with self._scrape:  # two at once would only take each other's CPU, and the event loop's
            return HTTPStatus.OK, content_type, encode(self._registry)

    def _healthz(self) -> Answer:
        stalled = self._health.stalled()
        if stalled:
            return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{stalled}\n".encode()
        return HTTPStatus.OK, TEXT, b"ok\n"

    def _readyz(self) -> Answer:
        problems, notes = self._health.readiness()
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        lines = [*(problems or ["ready"]), *(f"note: {note}" for note in notes)]
        return status, TEXT, "".join(f"{line}\n" for line in lines).encode()


class _Server(ThreadingHTTPServer):
    """Threads are daemons and are not waited for; their sockets are closed instead."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, family: socket.AddressFamily, address: Any, pages: _Pages) -> None:
        self.address_family = family
        self.pages = pages
        self._clients: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask DNS for our name
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.cut_off(keep=MOST_CLIENTS - 1)
        with self._lock:
            self._clients[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._clients.pop(request, None)
        super().shutdown_request(request)

    def cut_off(self, keep: int) -> None:
        """Closes the oldest connections until ``keep`` are left."""
        with self._lock:
            oldest = list(self._clients)[: max(0, len(self._clients) - keep)]
            for client in oldest:
                del self._clients[client]
        for client in oldest:
            _hang_up(client)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left or was cut off is no fact worth a line."""


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0: one answer and the connection ends, so that no idle client holds a thread."""

    server: _Server
    timeout = CLIENT_TIMEOUT
    server_version = "liveshop"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, content_type, body = self._page()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _page(self) -> Answer:
        try:
            return self.server.pages.answer(self.path, self.headers.get("Accept", ""))
        except Exception:
            log.exception("a page could not be made", path=self.path)
            return HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"a page could not be made: see the log\n"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Scrapes are not worth a line each."""


def _hang_up(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is gone already


def _listen(host: str, port: int, pages: _Pages) -> _Server:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _Server(family, address, pages)
    except UnicodeError:
        raise UsageError(f"{host!r} is no name of a host; see --http-host") from None
    except OSError as error:
        raise UsageError(_why(host, port, error)) from None


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; choose another with --http-port (0: any free one)"
    return f"cannot listen on {host} port {port}: {error.strerror}; see --http-host and --http-port"
