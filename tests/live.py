"""A real Kafka and real worker processes, for the tests that need them. Every wait has a deadline and a name."""

import asyncio
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from stream.children import Child
from stream.config import Settings
from stream.core.cooperative import pieces
from stream.errors import UsageError
from stream.kafka.topics import Topic
from stream.sessions import topics
from tests.support import PATIENCE

PROJECT: Final = Path(__file__).parents[1]
DATA: Final = PROJECT.parent / "shared" / "data"
STOP_SECONDS: Final = 30.0
"""From a SIGTERM to the end. Ten are promised; a busy machine needs a while to start and to end a process."""
ANSWER_SECONDS: Final = 30.0
"""For a page. It is made in a thread beside a loop that may be busy."""

T = TypeVar("T")


# --- waiting ---------------------------------------------------------------------------------------------------------


async def eventually(
    what: str, look: Callable[[], Awaitable[T | None]], seconds: float = PATIENCE, every: float = 0.05
) -> T:
    """The first true answer of ``look``. AssertionError says what did not come within ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for: {what}")
        await asyncio.sleep(every)


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE, every: float = 0.05) -> T:
    """The same where nothing else runs meanwhile."""

    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(every)


# --- topics --------------------------------------------------------------------------------------------------------


def create_topics(brokers: str, prefix: str, partitions: int = 4, replication: int = 1) -> None:
    settings = Settings(brokers=brokers, topic_prefix=prefix)
    made = asyncio.run(created(settings, partitions, replication))
    assert {topic.partitions for topic in made} == {partitions}, made


async def created(settings: Settings, partitions: int, replication: int = 1) -> list[Topic]:
    """Also by a broker that stood still in a test before: it is fenced for a moment, when it answers already."""

    async def made() -> list[Topic] | None:
        try:
            return await topics.create(settings, partitions, replication)
        except UsageError as error:
            if "fenced" in str(error) or "replication factor" in str(error):
                return None
            raise

    return await eventually("the topics are made", made)


def delete_topics(brokers: str, prefix: str) -> None:
    asyncio.run(topics.delete(Settings(brokers=brokers, topic_prefix=prefix)))


# --- writing inputs --------------------------------------------------------------------------------------------------


class Outgoing(NamedTuple):
    """A record for an input topic: ``kind`` is views, comments or checkouts."""

    kind: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


_place: Final = DefaultPartitioner()


async def send(producer: Any, prefix: str, partitions: int, records: Iterable[Outgoing]) -> int:
    """In order, keys placed by murmur2 (without a key: on partition 0). Returns how many, when all are acknowledged.

    Batches are built here: `producer.send` would cost 30 us a record.
    """
    numbers, number = list(range(partitions)), 0
    batches: dict[tuple[str, int], list[Any]] = {}
    for kind, key, value, headers in records:
        number += 1
        built = batches.setdefault((kind, _place(key, numbers, numbers) if key else 0), [producer.create_batch()])
        content = {"timestamp": None, "key": key, "value": value, "headers": list(headers)}
        if built[-1].append(**content) is None:
            built.append(producer.create_batch())
            built[-1].append(**content)
    flying = [
        await producer.send_batch(batch, f"{prefix}live.{kind}", partition=place)
        for (kind, place), built in batches.items()
        for batch in built
    ]
    results = await asyncio.gather(*flying, return_exceptions=True)
    for error in results:
        if isinstance(error, BaseException):
            raise error
    return number


async def send_all(brokers: str, prefix: str, partitions: int, records: Iterable[Outgoing], together: int = 1) -> None:
    """One record a batch, since the broker limits batches, and of any size that it takes; or so many ``together``."""
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, compression_type="lz4", enable_idempotence=True, max_request_size=64 * 2**20
    )
    await producer.start()
    try:
        for piece in pieces(records, together):
            await send(producer, prefix, partitions, piece)
    finally:
        await producer.stop()


# --- a worker --------------------------------------------------------------------------------------------------------


def path() -> str:
    """Where a child's Python looks first: where ours does (a compiled core), then here."""
    return os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(PROJECT))))


class Worker:
    """``liveshop worker`` as a process of its own. Settings are flags: ``delay="2s"`` is ``--delay 2s``.

    ``environ``: more of its environment, as ``NAME=value``.
    """

    def __init__(
        self,
        brokers: str,
        prefix: str,
        log: Path,
        *,
        program: Sequence[str] = ("stream.cli",),
        flags: Sequence[str] = (),
        environ: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self.log = log
        given = {"group": prefix.rstrip("."), "topic_prefix": prefix, "http_port": "0", "log_format": "json"} | settings
        command = [sys.executable, "-m", *program, "worker", "--brokers", brokers, *flags]
        for name, value in given.items():
            command += [f"--{name.replace('_', '-')}", value]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("LIVESHOP_")}
        self.child = Child(
            command, log=log, environ={**ours, "PYTHONPATH": path(), **dict(each.split("=", 1) for each in environ)}
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()

    @property
    def pid(self) -> int:
        return self.child.pid

    def lines(self) -> list[dict[str, Any]]:
        """Its log. Lines that are no JSON (a traceback of the interpreter) come as ``{"event": line}``."""
        return [_line(text) for text in self.log.read_text(errors="replace").splitlines()]

    def url(self, seconds: float = PATIENCE) -> str:
        """Where it listens, without a path."""

        def look() -> str | None:
            assert self.child.code is None, f"the worker ended with {self.child.code}:\n{self.child.tail()}"
            listening = [line for line in self.lines() if line.get("event") == "listening"]
            return str(listening[-1]["metrics"]).removesuffix("/metrics") if listening else None

        return wait_for("the worker says where it listens", look, seconds)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages; (0, reason) while nobody answers."""
        return fetch_page(self.url() + path)

    def metrics(self) -> dict[str, float]:
        """Every series of /metrics as ``name{labels}`` -> value."""
        return parse_metrics(self.get("/metrics")[1])

    def shows(self, expected: Mapping[str, float]) -> dict[str, float]:
        """All series, once these are so: others may read what was committed a moment before it is told here."""
        seen: dict[str, float] = {}

        def look() -> bool:
            nonlocal seen
            assert self.child.code is None, f"the worker ended with {self.child.code}:\n{self.child.tail()}"
            seen = self.metrics()
            return seen.items() >= expected.items()

        try:
            wait_for("the metrics are right", look)
        except AssertionError as error:
            wrong = {name: (seen.get(name), value) for name, value in expected.items() if seen.get(name) != value}
            raise AssertionError(f"{error}; found and expected: {wrong}") from None
        return seen

    def await_ready(self, seconds: float = PATIENCE) -> None:
        last = ""

        def look() -> bool:
            nonlocal last
            assert self.child.code is None, f"the worker ended with {self.child.code}:\n{self.child.tail()}"
            status, last = self.get("/readyz")
            return status == 200

        try:
            wait_for("the worker is ready", look, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\nit says: {last}\n{self.child.tail()}") from None

    def stop(self) -> None:
        """SIGTERM; it must make its last checkpoint and leave with 0 in time."""
        code = self.child.stop(STOP_SECONDS)
        assert code == 0, f"the worker left with {code} after SIGTERM:\n{self.child.tail()}"


def fetch_page(url: str) -> tuple[int, str]:
    """Status and text; (0, reason) while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def _line(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {"event": text}
    return parsed if isinstance(parsed, dict) else {"event": text}


_SERIES: Final = re.compile(r"^([a-zA-Z_:][^ ]*(?:\{.*\})?) ([^ ]+)$", re.MULTILINE)


def parse_metrics(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in _SERIES.findall(text)}
