"""What ``liveshop run --no-kafka`` counts on: pages as a worker has them, and an end that nothing hides."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stream.cli.demo import Asked
from stream.cli.in_process import NOTHING_KEPT, InProcess
from stream.config import Settings
from stream.kafka.machine import Outputs
from stream.sandbox.memory_log import MemoryCheckpoints
from stream.sandbox.traffic import Plan
from tests.live import fetch_page
from tests.support import eventually


@contextmanager
def running() -> Iterator[InProcess]:
    with InProcess(Asked(Settings(http_port=0), 2, 1, Plan(rate=200, sessions=5)), lambda _: None) as stage:
        yield stage


def test_it_is_ready_and_shows_what_it_has_counted() -> None:
    with running() as stage:
        assert not stage.look().unready
        eventually(lambda: stage.look().read, what="something is counted")
        page = stage.urls[0].removesuffix("/metrics")
        assert fetch_page(f"{page}/healthz")[0] == 200
        status, text = fetch_page(f"{page}/readyz")
        assert (status, NOTHING_KEPT in text) == (200, True)
        assert "liveshop_shards_assigned 2.0\n" in fetch_page(f"{page}/metrics")[1]
        sent = stage.end_traffic()
        eventually(lambda: stage.look().read == sent, what="all of it is counted")
    assert fetch_page(f"{page}/metrics")[0] == 0


def test_a_shard_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def write(_self: MemoryCheckpoints, _outputs: Outputs) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(MemoryCheckpoints, "write", write)
    with running() as stage, pytest.raises(ExceptionGroup) as caught:
        eventually(lambda: stage.look() is None, what="it ends")
    assert caught.group_contains(ZeroDivisionError, match="a bug")
