"""Batches that a broker takes and that no reader was made for: each is one dead letter, and the shard goes on.

Bombs that unpack to more than the machine has, headers and records that cost more than their bytes, checksums that only
readers look at, and offsets that lead beyond the end of the log.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.codec import zstd_encode

from stream.config import Settings
from stream.kafka import batches
from stream.operate.shards import reading
from stream.sandbox.broker import EmbeddedKafka
from tests.bad_records import KEY, T, text, view
from tests.chaos.judge import differences
from tests.live import PROJECT, Worker, create_topics, eventually, path, wait_for
from tests.outputs import Letter, Results
from tests.raw import (
    GZIP,
    LZ4,
    SNAPPY,
    TRANSACTIONAL,
    ZSTD,
    batch,
    bomb,
    checksummed,
    number,
    packed,
    record,
    send_raw,
)
from tests.recount import LogRecord, Recounted, RefusedBatch, Rules, recount
from tests.support import PATIENCE

QUICK: Final = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}
READ: Final = PATIENCE
MB: Final = 1024 * 1024
MEMORY: Final = 600 * MB
"""Of a worker at its peak. It has 85 MB at rest, a batch may take 32 MB twice; the largest bomb would take 2 GB."""
STALL: Final = 5.0


class Sent(NamedTuple):
    """A batch that is refused whole, or whose only record is refused."""

    name: str
    data: bytes
    records: int
    reason: str
    detail: str


def refused() -> Iterator[Sent]:
    three = [record(place, KEY, text(view(place))) for place in range(3)]
    plain = b"".join(three)
    yield Sent("wrong content checksum", batch(checksummed(plain, right=False), 3, LZ4), 3, "unreadable", "batch: lz4")
    yield Sent("bytes behind the frame", batch(checksummed(plain, right=True) + b"zz", 3, LZ4), 3, "unreadable", "lz4")
    behind = packed([b"{}"] * 3, KEY, SNAPPY) + b"\x00\x00\x00"
    yield Sent("bytes behind the blocks", batch(behind, 3, SNAPPY), 3, "unreadable", "batch: snappy")
    for deltas in ((0, 0, 0), (2, 1, 0), (5, 9, 2**30), (-1, 0, 1)):
        body = b"".join(record(delta, KEY, text(view(place))) for place, delta in enumerate(deltas))
        yield Sent(f"offsets {deltas}", batch(body, 3), 3, "unreadable", "out of order")
    for codec, size in ((ZSTD, 2000 * MB), (GZIP, 400 * MB), (LZ4, 200 * MB)):
        yield Sent(
            f"{size} bytes in codec {codec}", batch(bomb(codec, size), 1, codec), 1, "too_large", "33554432 bytes"
        )
    tiny = packed([b""] * 600_000, b"", ZSTD)
    yield Sent("600,000 empty records", batch(tiny, 600_000, ZSTD), 600_000, "too_large", "600000 records")
    amplified = record(0, KEY, text(view(1)), number(4_000_000) + b"\x00\x00" * 4_000_000)
    yield Sent("4 million headers", batch(zstd_encode(amplified), 1, ZSTD), 1, "too_many_headers", "headers: 4000000")


def event(place: int) -> bytes:
    return text(view(1000 + place, event_time=T + place))


def good(place: int) -> bytes:
    return batch(packed([event(place)], KEY, ZSTD), 1, ZSTD)


async def send_them(brokers: str, topic: str, hostile: list[Sent]) -> dict[int, Sent]:
    """A good event around each, and a transaction that was aborted, with a bomb in it. By their first offsets."""
    sender = AIOKafkaProducer(bootstrap_servers=brokers, max_request_size=4 * MB)
    aborted = AIOKafkaProducer(bootstrap_servers=brokers, transactional_id=topic, max_request_size=4 * MB)
    await asyncio.gather(sender.start(), aborted.start())
    try:
        found = {}
        for place, each in enumerate(hostile):
            await send_raw(sender, topic, good(place), 1)
            found[await send_raw(sender, topic, each.data, each.records)] = each
        await aborted.begin_transaction()
        await send_raw(aborted, topic, batch(bomb(ZSTD, 300 * MB), 1, ZSTD, TRANSACTIONAL), 1)
        await aborted.abort_transaction()
        await send_raw(sender, topic, good(len(hostile)), 1)
        return found
    finally:
        await asyncio.gather(sender.stop(), aborted.stop())


async def lying_there(brokers: str, topic: str, offsets: Iterable[int]) -> dict[int, tuple[bytes, int]]:
    """The batches that begin at these offsets, as they lie in the log, and their times."""
    place = TopicPartition(topic, 0)
    async with reading(Settings(brokers=brokers), [place]) as reader:
        await reader.end_offsets([place])  # so that it knows who leads
        return {offset: (await batches.damaged(reader, place, offset))[::2] for offset in offsets}


async def recounted(brokers: str, prefix: str, sent: dict[int, Sent]) -> tuple[list[LogRecord], Recounted]:
    """What is in the log, as whoever sent it knows it: no consumer can read it."""
    log = await lying_there(brokers, f"{prefix}live.views", sent)
    records, refused_ = [], []
    for number_, (offset, each) in enumerate(sorted(sent.items())):
        data, timestamp = log[offset]
        records.append(LogRecord("views", 0, offset - 1, timestamp, KEY, event(number_)))
        if each.reason == "too_many_headers":
            kept = (("", b""),) * 4_000_000
            records.append(LogRecord("views", 0, offset, timestamp, KEY, text(view(1)), kept))
        else:
            refused_.append(RefusedBatch("views", 0, offset, each.records, each.reason, data))
    last = max(sent) + sent[max(sent)].records + 2  # behind what was aborted, and its marker
    records.append(LogRecord("views", 0, last, timestamp, KEY, event(len(sent))))
    return records, recount(records, Rules(), refused_)


async def agreed(brokers: str, prefix: str, sent: dict[int, Sent], worker: Worker) -> tuple[Recounted, list[Letter]]:
    """Waits until the outputs are what the recount says."""
    records, expected = await recounted(brokers, prefix, sent)
    async with Results(brokers, prefix, 1) as results:
        found: list[str] = []

        async def equal() -> bool:
            assert worker.child.code is None, worker.child.tail()
            found[:] = differences(records, expected, await results.look(), prefix)
            return not found

        try:
            await eventually("the outputs equal the recount", equal, READ)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found[:9]}") from None
        return expected, results.written.letters


def peak(worker: Worker) -> int:
    """Bytes that the process has held at most."""
    for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def counted(worker: Worker) -> float:
    return worker.metrics().get('liveshop_events_total{outcome="counted",type="views"}', 0.0)


def expected_metrics(expected: Recounted) -> dict[str, float]:
    return {
        f'liveshop_events_total{{outcome="{outcome}",type="{kind}"}}': count
        for (kind, outcome), count in expected.outcomes.items()
    }


@pytest.mark.kafka
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of a process")
def test_what_brokers_take_and_nobody_can_read_is_one_dead_letter_a_batch(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    topic = f"{prefix}live.views"
    sent = asyncio.run(send_them(kafka.bootstrap, topic, list(refused())))
    with Worker(kafka.bootstrap, prefix, tmp_path / "first.log", **QUICK) as worker:
        wait_for("all that can be read is counted", lambda: counted(worker) == len(sent) + 1, READ)
        expected, letters = asyncio.run(agreed(kafka.bootstrap, prefix, sent, worker))
        metrics, memory = worker.shows(expected_metrics(expected)), peak(worker)
        worker.stop()
    assert memory < MEMORY, f"{memory >> 20} MB"
    assert metrics["liveshop_loop_lag_seconds_count"] == metrics[f'liveshop_loop_lag_seconds_bucket{{le="{STALL}"}}']
    assert expected.outcomes["views", "rejected"] == sum(each.records for each in sent.values())
    by_offset = {letter.origin(prefix)[2]: letter for letter in letters}
    for offset, each in sent.items():
        assert each.detail in by_offset[offset].header("liveshop-detail"), each.name
    with Worker(
        kafka.bootstrap, prefix, tmp_path / "second.log", **QUICK
    ) as worker:  # the state stands behind them all
        asyncio.run(send_one(kafka.bootstrap, topic))
        wait_for("the next event is counted", lambda: counted(worker) == 1, READ)
        worker.stop()
    _check_others(kafka, prefix)


async def send_one(brokers: str, topic: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=brokers) as sender:
        await send_raw(sender, topic, good(500), 1)


def _check_others(kafka: EmbeddedKafka, prefix: str) -> None:
    """What looks beside a worker gets over them too."""
    settings = ["--brokers", kafka.bootstrap, "--topic-prefix", prefix]
    group = ["--group", prefix.rstrip(".")]
    shown = run("offsets", "show", *settings, *group, "--json")
    assert [each["problem"] for each in shown if each["problem"]] == []
    (views,) = [each for each in shown if each["topic"] == f"{prefix}live.views"]
    assert (views["lag"], views["state"]) == (0, views["end"])
    (report,) = run("doctor", *settings, *group, "--json", code=1)
    found = [each["what"] for each in report["findings"] if each["check"] == "keys"]
    assert any("too_large" in what and "1 too_many_headers" in what for what in found), found
    (tested,) = run("backtest", *settings, "--json")
    assert tested["rejected"] == {"too_large": 600_003, "too_many_headers": 1, "unreadable": 21}


def run(*words: str, code: int = 0) -> list[Any]:
    command = [sys.executable, "-m", "stream.cli", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=PROJECT, env={"PYTHONPATH": path()}, timeout=PATIENCE, check=False
    )
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    return found if isinstance(found, list) else [found]
