"""A small HTTP server in a thread of its own: /metrics, /healthz, /readyz, for GET and HEAD, without bodies or TLS.

Whoever can reach the port is a stranger, and can cost little:

- A request has at most 16 KB (request.py) and has to be there within ``HEAD_SECONDS``; each connection is one request.
- Pages are made at most once a second, whoever asks (pages.py), and all answers share their bytes.
- Connections are taken at a limited rate, so that a hundred scrapers in a loop take a sixth of a core.
- Of more than ``MOST_CLIENTS`` connections one is closed: first the oldest that has not sent its request, or has been
  answered; only then the oldest that is being answered. So those who only keep connections open never stop a scrape.

It is written here because no server in the standard library has these limits: ``http.server`` takes 100 headers of 65 KB
and a thread for each connection. Sockets are used without asyncio's streams, which would copy a page for each client.
"""

import asyncio
import contextlib
import errno
import socket
import threading
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, Self

import structlog
from prometheus_client import CollectorRegistry

from stream.errors import UsageError
from stream.observe import request
from stream.observe.pages import EVERY, TEXT, Answer, HealthSource, Pages
from stream.observe.request import Refusal, Request

MOST_CLIENTS: Final = 128
HEAD_SECONDS: Final = 5.0
"""For a client to send its request."""
ANSWER_SECONDS: Final = 30.0
"""For a page to be made and read."""
LINGER_SECONDS: Final = 1.0
"""For a client to close after it was answered. When we close first, with something unread, it may lose the answer."""
LINGER_BYTES: Final = 65_536
_AT_ONCE: Final = 16
_ROUND: Final = 0.02
"""At most so many connections are taken every so many seconds, 800 a second: one costs 0.2 ms of CPU."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_BACKLOG: Final = 1024
_SEND_BUFFER: Final = 131_072
_RECEIVE_BUFFER: Final = 32_768
"""Of the kernel, a connection: it would otherwise hold megabytes for clients that do not read."""

log: Final = structlog.get_logger(__name__)


class HttpServer:
    """Listens from construction on; ``port`` is the real one. Raises UsageError when it cannot listen there.

    ``every``: seconds that a page is handed out for after it was made.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, health: HealthSource, *, every: float = EVERY
    ) -> None:
        listener = _listen(host, port)
        self.host = host
        self.port: int = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._clients = _Clients(listener, Pages(registry, health, every=every))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._clients.serve())

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stops listening and cuts off whoever is still connected. Takes no longer than a second."""
        with contextlib.suppress(RuntimeError):  # it was closed before
            self._loop.call_soon_threadsafe(self._clients.stop)
        self._thread.join(1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Clients:
    """The connections. Everything here runs in the loop of ``serve``."""

    def __init__(self, listener: socket.socket, pages: Pages) -> None:
        self._listener = listener
        self._pages = pages
        self._idle: dict[asyncio.Task[None], None] = {}
        """Those who have not sent their request, or are answered: oldest first."""
        self._busy: dict[asyncio.Task[None], None] = {}
        """Those who are being answered."""
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def serve(self) -> None:
        """Until ``stop``. All connections are closed when it returns."""
        with self._listener:
            accepting = asyncio.create_task(self._accept())
            await self._stopped.wait()
            tasks = [accepting, *self._idle, *self._busy]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._listener)
                self._begin(client)
                for _ in range(_AT_ONCE - 1):
                    self._begin(self._listener.accept()[0])
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._make_room(keep=0)
            await asyncio.sleep(_ROUND)

    def _begin(self, client: socket.socket) -> None:
        self._make_room(keep=MOST_CLIENTS - 1)
        client.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._serve(client))
        task.add_done_callback(lambda _: client.close())  # also when it was sent away before its first step
        self._idle[task] = None

    def _make_room(self, keep: int) -> None:
        """Sends idle clients away until ``keep`` are left, and only then one that is being answered."""
        while self._idle and len(self._idle) + len(self._busy) > keep:
            self._send_away(self._idle)
        while len(self._busy) > max(keep, MOST_CLIENTS - 1):
            self._send_away(self._busy)

    def _send_away(self, clients: dict[asyncio.Task[None], None]) -> None:
        oldest = next(iter(clients))
        del clients[oldest]
        oldest.cancel()

    async def _serve(self, client: socket.socket) -> None:
        """One connection, one request."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        with contextlib.suppress(OSError, TimeoutError):
            try:
                wanted = await _read(client)
                if wanted is not None:
                    self._idle.pop(task, None)
                    self._busy[task] = None
                    async with asyncio.timeout(ANSWER_SECONDS):
                        await self._answer(client, wanted)
                    self._busy.pop(task, None)
                    self._idle[task] = None
                    await _linger(client)
            finally:
                self._idle.pop(task, None)
                self._busy.pop(task, None)

    async def _answer(self, client: socket.socket, wanted: Request | Refusal) -> None:
        if isinstance(wanted, Refusal):
            answer = Answer(wanted.status, TEXT, f"{wanted.why}\n".encode())
        else:
            answer = await self._pages.answer(wanted)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, _head(answer))
        if isinstance(wanted, Refusal) or wanted.method != "HEAD":
            await loop.sock_sendall(client, answer.body)


async def _read(client: socket.socket) -> Request | Refusal | None:
    """The request; None when the client left before it was whole, or has said nothing in time."""
    head = bytearray()
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            return await _read_head(client, head)
    except TimeoutError:
        return request.TOO_SLOW if head else None


async def _read_head(client: socket.socket, head: bytearray) -> Request | Refusal | None:
    """``head`` is what has come so far, also when this is cancelled."""
    loop = asyncio.get_running_loop()
    while len(head) <= request.MOST_HEAD:
        searched = len(head)
        part = await loop.sock_recv(client, request.MOST_HEAD + 1 - searched)
        if not part:
            return None
        head += part
        end = request.head_end(head, searched)
        if end is not None:
            return request.parse(bytes(head[:end]))
    return request.TOO_LARGE


async def _linger(client: socket.socket) -> None:
    """Until the client closes too."""
    client.shutdown(socket.SHUT_WR)
    loop = asyncio.get_running_loop()
    unread = LINGER_BYTES
    async with asyncio.timeout(LINGER_SECONDS):
        while unread > 0 and (part := await loop.sock_recv(client, 4096)):
            unread -= len(part)


def _head(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        "Server: liveshop",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(f"Allow: {', '.join(request.READABLE)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return _bound(family, address)
    except UnicodeError:
        raise UsageError(f"{host!r} is no name of a host; see --http-host") from None
    except OSError as error:
        raise UsageError(_why(host, port, error)) from None


def _bound(family: socket.AddressFamily, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections have those of their listener
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken; choose another with --http-port (0: any free one)"
    return f"cannot listen on {host} port {port}: {error.strerror}; see --http-host and --http-port"
