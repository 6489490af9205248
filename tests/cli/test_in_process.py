"""What ``liveshop run --no-kafka`` counts on: pages as a worker has them, and an end that nothing hides."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner

from stream.cli import in_process
from stream.cli.demo import Asked
from stream.cli.in_process import NOTHING_KEPT, InProcess
from stream.config import Settings
from stream.core.policy import MINUTE
from stream.errors import FailedError
from stream.kafka.machine import Outputs
from stream.model.messages import Message
from stream.model.names import SESSION_WINDOWS, SESSIONS
from stream.sandbox.memory_log import MemoryCheckpoints, MemorySender
from stream.sandbox.traffic import Plan, Traffic
from tests.live import fetch_page
from tests.recount import LogRecord, recount
from tests.support import eventually


@contextmanager
def running() -> Iterator[InProcess]:
    with InProcess(Asked(Settings(http_port=0), 2, 1, Plan(rate=200, sessions=5)), lambda _: None) as pipeline:
        yield pipeline


def test_it_is_ready_and_shows_what_it_has_counted() -> None:
    with running() as pipeline:
        assert not pipeline.scrape().unready
        eventually(lambda: pipeline.scrape().read, what="something is counted")
        page = pipeline.urls[0].removesuffix("/metrics")
        assert fetch_page(f"{page}/healthz")[0] == 200
        status, text = fetch_page(f"{page}/readyz")
        assert (status, NOTHING_KEPT in text) == (200, True)
        assert "liveshop_shards_assigned 2.0\n" in fetch_page(f"{page}/metrics")[1]
        sent = pipeline.end_traffic()
        eventually(lambda: pipeline.scrape().read == sent, what="all of it is counted")
    assert fetch_page(f"{page}/metrics")[0] == 0


def test_a_shard_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def write(_self: MemoryCheckpoints, _outputs: Outputs) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(MemoryCheckpoints, "write", write)
    with running() as pipeline, pytest.raises(ExceptionGroup) as caught:
        eventually(lambda: pipeline.scrape() is None, what="it ends")
    assert caught.group_contains(ZeroDivisionError, match="a bug")


class Endless(InProcess):
    """Its traffic does not end when it is told to: a sender waits for shards that are slower."""

    async def _simulate(self) -> int:
        await self._over.wait()
        return 7


def test_traffic_that_does_not_end_in_time_is_an_error_with_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "END_SECONDS", 0.01)
    with Endless(Asked(Settings(http_port=0), 1, 1, Plan()), lambda _: None) as pipeline:
        with pytest.raises(FailedError, match="ask for a lower --rate"):
            pipeline.end_traffic()
        monkeypatch.setattr(in_process, "END_SECONDS", 60.0)
    assert pipeline.end_traffic() == 7, "also when all is over"


START = 1_760_000_000_000
TOLD_OF_WRITING = frozenset({"revision", "generation", "status", "reason", "run"})
"""What a recount does not know."""


class Fixed(InProcess):
    """Counts messages that are there from the beginning, and keeps what it writes."""

    def __init__(self, messages: list[Message]) -> None:
        super().__init__(Asked(Settings(http_port=0, idle_after=timedelta(seconds=0.3)), 2, 1, Plan()), lambda _: None)
        self.messages = messages
        self.written: dict[str, dict[str, Any]] = {SESSION_WINDOWS: {}, SESSIONS: {}}
        """By topic and key, the newest."""

    async def _simulate(self) -> int:
        await MemorySender(self._inputs).send(self.messages)
        return len(self.messages)

    def _note_alerts(self, outputs: Outputs) -> None:
        for topic, newest in self.written.items():
            for key, value in outputs.records[topic]:
                newest[key.decode()] = json.loads(value or b"")
        super()._note_alerts(outputs)


def logs(messages: list[Message]) -> list[LogRecord]:
    """As they lie in the two shards; event times are long ago, so that any time of now serves as the broker's."""
    now, offsets = int(time.time() * 1000), Counter[tuple[str, int]]()
    place, found = DefaultPartitioner(), []
    for message in messages:
        partition = place(message.key, [0, 1], [0, 1]) if message.key else 0
        offset = offsets[message.kind, partition]
        offsets[message.kind, partition] += 1
        found.append(LogRecord(message.kind, partition, offset, now, message.key, message.value))
    return found


def without_writing(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {name: each for name, each in value.items() if name not in TOLD_OF_WRITING}
        for key, value in values.copy().items()
    }


def test_its_numbers_are_those_of_the_recount() -> None:
    messages = Traffic(Plan(rate=25, sessions=5, bad=0.02, duplicates=0.05), START).step(START + 6 * MINUTE)
    expected = recount(logs(messages))
    assert len(expected.windows) > 40
    assert {value["title"] for value in expected.sessions.values()}
    with Fixed(messages) as pipeline:
        eventually(lambda: pipeline.scrape().read == len(messages), what="all is counted")
        eventually(
            lambda: (
                without_writing(pipeline.written[SESSION_WINDOWS]) == without_writing(expected.windows)
                and without_writing(pipeline.written[SESSIONS]) == without_writing(expected.sessions)
            ),
            what="all windows are closed, as the recount has them",
        )
        outcomes = {(kind, outcome): number for (kind, outcome), number in pipeline.scrape().outcomes.items() if number}
    assert outcomes == {place: number for place, number in expected.outcomes.items() if number}
