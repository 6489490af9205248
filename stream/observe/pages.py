"""What the HTTP server shows: each page is made at most once in a while, however many ask for it.

Rendering 50,000 series takes 0.4 s of CPU, and a look at every process of a parent asks each over HTTP. So that clients
cannot make a worker spend its CPU on them, whoever asks while a page is made gets that one, and it is handed out for
``every`` seconds after it was made. A page is made in a thread of its own, so that a slow one holds up no other.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

import structlog
from prometheus_client import CollectorRegistry

from stream.observe import exposition
from stream.observe.exposition import Form
from stream.observe.request import Request
from stream.plaintext import plain

EVERY: Final = 1.0
"""Seconds."""
TEXT: Final = "text/plain; charset=utf-8"
INDEX: Final = """\
liveshop worker
/metrics  for Prometheus
/healthz  200 while the event loop moves
/readyz   200 when every shard of this worker is restored, else 503 and the problems
"""

log: Final = structlog.get_logger(__name__)


class Answer(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


NOT_FOUND: Final = Answer(HTTPStatus.NOT_FOUND, TEXT, b"not found: see /\n")
FAILED: Final = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"a page could not be made: see the log\n")


class HealthSource(Protocol):
    """Whether what is behind the pages lives and is ready: one worker (health.py), or several (fleet.py)."""

    def stalled(self) -> str | None:
        """Why it is dead, or None."""

    def readiness(self) -> tuple[list[str], list[str]]:
        """Why it is not ready, one line each, and what people should know besides."""


class Page:
    """One page. Belongs to the event loop that ``get`` is awaited in; ``make`` runs in other threads, one at a time."""

    def __init__(self, name: str, make: Callable[[], Answer], every: float) -> None:
        self._name = name
        self._make = make
        self._every = every
        self._newest: asyncio.Future[Answer] | None = None
        self._made = 0.0

    async def get(self) -> Answer:
        """The newest, or a new one when that is older than ``every``. Who waits for it may be cancelled."""
        loop = asyncio.get_running_loop()
        if self._newest is None or (self._newest.done() and loop.time() - self._made >= self._every):
            self._newest = loop.create_future()
            threading.Thread(
                target=self._run, args=(loop, self._newest), name=f"page {self._name}", daemon=True
            ).start()
        return await asyncio.shield(self._newest)

    def _run(self, loop: asyncio.AbstractEventLoop, made: asyncio.Future[Answer]) -> None:
        try:
            answer = self._make()
        except Exception:
            log.exception("a page could not be made", page=self._name)
            answer = FAILED
        try:
            loop.call_soon_threadsafe(self._finish, made, answer)
        except RuntimeError:
            return  # the server was closed meanwhile

    def _finish(self, made: asyncio.Future[Answer], answer: Answer) -> None:
        self._made = asyncio.get_running_loop().time()
        made.set_result(answer)


class Pages:
    """All pages. ``every``: seconds that one is handed out for."""

    def __init__(self, registry: CollectorRegistry, health: HealthSource, *, every: float = EVERY) -> None:
        self._registry = registry
        self._health = health
        self._metrics = {form: Page("/metrics", partial(self._render, form), every) for form in Form}
        self._vitals = {
            "/healthz": Page("/healthz", self._healthz, every),
            "/readyz": Page("/readyz", self._readyz, every),
        }

    async def answer(self, request: Request) -> Answer:
        match request.path:
            case "/metrics":
                return await self._metrics[exposition.choose(request.accept)].get()
            case "/healthz" | "/readyz" as path:
                return await self._vitals[path].get()
            case "/":
                return Answer(HTTPStatus.OK, TEXT, INDEX.encode())
            case _:
                return NOT_FOUND

    def _render(self, form: Form) -> Answer:
        return Answer(HTTPStatus.OK, form.content_type, form.encode(self._registry))

    def _healthz(self) -> Answer:
        stalled = self._health.stalled()
        if stalled:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{plain(stalled)}\n".encode())
        return Answer(HTTPStatus.OK, TEXT, b"ok\n")

    def _readyz(self) -> Answer:
        problems, notes = self._health.readiness()
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        lines = [*(problems or ["ready"]), *(f"note: {note}" for note in notes)]
        return Answer(status, TEXT, "".join(f"{plain(line)}\n" for line in lines).encode())
