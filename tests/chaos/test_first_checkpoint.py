"""What a round of chaos found once in 26: a worker that dies before its first checkpoint, but after a rebalance."""

import asyncio
from pathlib import Path

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.bad_records import KEY, text, view
from tests.live import Outgoing, Worker, create_topics, send_all, wait_for

PARTITIONS = 2


@pytest.mark.kafka
def test_a_rebalance_before_the_first_checkpoint_leaves_nothing_that_looks_like_a_lost_state(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    """Offsets of the group without a state would be refused for ever, with exit code 2."""
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    quick = {"session_timeout": "6s", "heartbeat_every": "500ms", "checkpoint_every": "300ms"}
    with Worker(kafka.bootstrap, prefix, tmp_path / "first.log", **quick) as first:
        first.await_ready()
        with Worker(kafka.bootstrap, prefix, tmp_path / "second.log", **quick) as second:
            second.await_ready()
            wait_for("the first has kept what it was given back", lambda: _kept(first))
            second.child.kill()
        first.child.kill()
    asyncio.run(send_all(kafka.bootstrap, prefix, PARTITIONS, [Outgoing("views", KEY, text(view(1)))]))
    with Worker(kafka.bootstrap, prefix, tmp_path / "third.log", **quick) as third:
        third.await_ready()
        wait_for("the event is counted", lambda: third.metrics().get("liveshop_views_total") == 1)
        third.stop()


def _kept(worker: Worker) -> bool:
    """A second assignment, with a shard of the first in it."""
    return any(line["event"] == "assigned" and line["kept"] for line in worker.lines())
