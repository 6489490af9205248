"""What is fetched is bounded in bytes, whatever it unpacks to: memory stays within a container of 512 MB, and nobody waits
for seconds while large values are read.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import producer
from tests.live import Worker, create_topics, wait_for

pytestmark = pytest.mark.kafka
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}
MB: Final = 1024 * 1024
CONTAINER: Final = 512 * MB
STALL: Final = "5.0"
"""Seconds: the bucket of liveshop_loop_lag_seconds that must hold every look. A stall of more costs the membership; the
goal is a thousandth of it."""
LARGE: Final = 500_000


def event(kind: str, number: int, at: int, session: str, size: int) -> bytes:
    """Of about ``size`` bytes, which compress to nearly nothing."""
    fields: dict[str, Any] = {
        "event_id": f"{session}/{number}",
        "event_time": at,
        "session_id": session,
        "seller_id": "x",
        "viewer_id": f"v{number}",
        "platform": "shopee",
    }
    own: dict[str, dict[str, Any]] = {
        "views": {"action": "enter"},
        "comments": {"text": "halo"},
        "checkouts": {
            "checkout_id": f"k{number}",
            "status": "initiated",
            "amount_minor": 1,
            "currency": "IDR",
            "items": [],
        },
    }
    return json.dumps(fields | own[kind] | {"padding": "a" * size}).encode()


async def write(
    kafka: EmbeddedKafka, topic: str, partition: int, batches: Iterable[Iterable[tuple[str, bytes]]]
) -> None:
    """Each batch as one, in zstd, however much it unpacks to."""
    async with producer(kafka, compression_type="zstd", max_batch_size=64 * MB, max_request_size=64 * MB) as sender:
        for values in batches:
            batch = sender.create_batch()
            for key, value in values:
                assert batch.append(key=key.encode(), value=value, timestamp=None) is not None
            batch.close()
            await (await sender.send_batch(batch, topic, partition=partition))


def peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [each for each in status.splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def check_worker(worker: Worker, most: int = CONTAINER) -> None:
    metrics = worker.metrics()
    looks = metrics["liveshop_loop_lag_seconds_count"]
    assert looks
    assert metrics[f'liveshop_loop_lag_seconds_bucket{{le="{STALL}"}}'] == looks, "the loop stood still"
    assert peak(worker.pid) < most, f"{peak(worker.pid) // MB} MB"
    assert metrics["liveshop_rebalances_total"] == 0, "the worker was thrown out of its group"
    worker.stop()


def outcome(worker: Worker, name: str) -> float:
    return sum(value for series, value in worker.metrics().items() if f'outcome="{name}"' in series)


@pytest.mark.parametrize("good", [True, False], ids=["counted", "refused"])
def test_a_thousand_values_of_half_a_megabyte_in_one_partition(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, *, good: bool
) -> None:
    """They lie in one megabyte of the log: 3.9 GB of memory and a stall of 12 s for three thousand of them."""
    create_topics(kafka.bootstrap, prefix, 1)
    now = int(time.time() * 1000)
    numbers = range(1000)

    def batches() -> Iterator[list[tuple[str, bytes]]]:
        for start in numbers[::16]:
            values = [event("comments", number, now, "s1", LARGE) for number in range(start, min(start + 16, 1000))]
            yield [("s1", value if good else value.replace(b'"text"', b'"txet"')) for value in values]

    asyncio.run(write(kafka, f"{prefix}live.comments", 0, batches()))
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        worker.await_ready()
        wait_for("all of them are read", lambda: outcome(worker, "counted" if good else "rejected") == 1000, 120)
        check_worker(worker)


def test_topics_that_wait_for_each_other_in_many_partitions(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    """Each batch unpacks to 8 MB and spans 40 minutes, so that each topic has to wait for the others with one of them.

    Unpacked all at once, one of each topic and partition, they are 190 MB; the worker has room for 32.
    """
    partitions, start = 8, int(time.time() * 1000) - 3 * 3_600_000
    create_topics(kafka.bootstrap, prefix, partitions)

    async def fill() -> None:
        for partition in range(partitions):
            for kind in ("views", "comments", "checkouts"):
                session = f"{kind}-{partition}"
                batches = (
                    [
                        (session, event(kind, number, start + number * 60_000, session, 200_000))
                        for number in range(turn * 40, turn * 40 + 40)
                    ]
                    for turn in range(2)
                )
                await write(kafka, f"{prefix}live.{kind}", partition, batches)

    asyncio.run(fill())
    settings = {**QUICK, "buffer_memory": str(64 * MB)}
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **settings) as worker:
        wait_for("all of them are counted", lambda: outcome(worker, "counted") == partitions * 3 * 80, 120)
        check_worker(worker, CONTAINER // 2)
