"""Refused records of any size end nobody, whatever the topic of dead letters takes."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import xxhash
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.sandbox.broker import EmbeddedKafka
from tests.kafka.tools import alter, everything, headers, producer, view
from tests.live import Worker, create_topics, eventually, wait_for

pytestmark = pytest.mark.kafka
QUICK = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}
MB = 2**20
BY_THE_BROKER = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(8 * MB)}


async def make(brokers: str, **topics: Mapping[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=dict(each)) for name, each in topics.items()])
    finally:
        await admin.close()


async def send(kafka: EmbeddedKafka, prefix: str, *values: bytes, **more: Any) -> None:
    async with producer(kafka, max_request_size=8 * MB) as sender:
        for value in values:
            await sender.send_and_wait(f"{prefix}live.views", value, key=b"s1", partition=0, **more)


def wrong(size: int) -> bytes:
    """A value of noise, which no codec makes smaller."""
    return b"".join(xxhash.xxh3_128_digest(b"%d" % at) for at in range(size // 16 + 1))[:size]


async def letters(kafka: EmbeddedKafka, prefix: str, number: int, worker: Worker) -> list[Any]:
    async def found() -> list[Any] | None:
        assert worker.child.code is None, worker.child.tail()
        written = await everything(kafka, f"{prefix}live.dead-letters")
        return written if len(written) >= number else None

    return await eventually(f"{number} dead letters", found)


def check(letter: Any, value: bytes) -> None:
    """It holds the beginning of the value, and says what the whole was."""
    said = headers(letter)
    assert value.startswith(letter.value)
    assert 30_000 < len(letter.value) <= 65_536
    assert said["liveshop-size"] == str(len(value)).encode()
    assert said["liveshop-xxh3"] == xxhash.xxh3_64_hexdigest(value).encode()


@pytest.mark.parametrize("limit", [1_048_588, 100_000])
def test_letters_are_cut_to_what_their_topic_takes(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path, limit: int
) -> None:
    """Made by the broker's defaults, or with less, it takes no refused value of 1 MB: that ended the process."""
    dead = f"{prefix}live.dead-letters"
    asyncio.run(
        make(kafka.bootstrap, **{f"{prefix}live.views": BY_THE_BROKER, dead: {"max.message.bytes": str(limit)}})
    )
    create_topics(kafka.bootstrap, prefix, 1)
    large, many = wrong(MB), [("x", wrong(30_000)), ("y", wrong(30_000)), ("z", wrong(30_000))]
    asyncio.run(send(kafka, prefix, large, headers=many))
    asyncio.run(send(kafka, prefix, *[wrong(40_000)] * 20, view(1, event_time=int(time.time() * 1000))))
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        first, *others = asyncio.run(letters(kafka, prefix, 21, worker))
        wait_for("the view is counted", lambda: worker.metrics().get("liveshop_views_total") == 1)
        worker.stop()
    check(first, large)
    assert headers(first)["liveshop-headers-dropped"] in (b"1", b"3")
    assert [each.value for each in others] == [wrong(40_000)] * 20
    assert any(line["event"] == "dead letters are cut" for line in worker.lines()), "and the operator is told"


def test_a_limit_that_is_lowered_while_the_worker_runs_is_followed(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    """The checkpoint is refused; the shard reads again what was in it, and writes smaller letters."""
    asyncio.run(make(kafka.bootstrap, **{f"{prefix}live.views": BY_THE_BROKER}))
    create_topics(kafka.bootstrap, prefix, 1)
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        worker.await_ready()
        asyncio.run(send(kafka, prefix, wrong(MB)))
        [whole] = asyncio.run(letters(kafka, prefix, 1, worker))
        assert whole.value == wrong(MB)
        asyncio.run(alter(kafka.bootstrap, f"{prefix}live.dead-letters", {"max.message.bytes": "300000"}))
        asyncio.run(send(kafka, prefix, wrong(MB), view(1, event_time=int(time.time() * 1000))))
        _, cut = asyncio.run(letters(kafka, prefix, 2, worker))
        check(cut, wrong(MB))
        wait_for("the view is counted", lambda: worker.metrics().get("liveshop_views_total") == 1)
        worker.stop()
    assert any("too large for its topic" in line["event"] for line in worker.lines())


def test_other_topics_that_are_too_small_are_named_with_their_limit(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    small = f"{prefix}live.state"
    asyncio.run(make(kafka.bootstrap, **{small: {"max.message.bytes": "50000", "cleanup.policy": "compact"}}))
    create_topics(kafka.bootstrap, prefix, 1)
    with Worker(kafka.bootstrap, prefix, tmp_path / "worker.log", **QUICK) as worker:
        wait_for("it ends", lambda: worker.child.code is not None)
        assert worker.child.code == 2
        told = worker.log.read_text()
    assert f"{small} has max.message.bytes=50000: it must take 1000000 bytes" in told
    assert f"--entity-name {small} --add-config max.message.bytes=1000000" in told
