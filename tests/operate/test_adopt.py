"""Other topics are adopted by hand: planned first, for each partition, and once; what is lost by it is marked."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from stream.cli import main
from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import topicids
from stream.kafka.recovery import rehearse
from stream.kafka.shard_context import Adopted, ShardContext
from stream.model.names import INPUTS, SESSIONS, Kind
from stream.operate import adopt
from stream.operate.shards import contexts
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER
from tests.kafka.tools import make_anew, send_views
from tests.observe.views import logging_restored
from tests.operate.tools import count, make

pytestmark = pytest.mark.kafka
VIEWS = INPUTS[Kind.VIEWS]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


async def counted(kafka: EmbeddedKafka, prefix: str) -> Settings:
    config = await make(kafka, prefix, partitions=2)
    for number in range(2):
        await send_views(kafka, config, range(60), number)
        await count(kafka, config, number, 2)
    return config


def ended(config: Settings, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Exit code, and what was printed as JSON."""
    where = ("--brokers", str(config.brokers), "--topic-prefix", config.topic_prefix, "--group", config.group)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["state", "adopt", *where, *words, "--json"])
    said = capsys.readouterr().out
    return int(end.value.code or 0), json.loads(said) if said else None


def test_it_is_planned_then_done_for_each_partition_and_once(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = asyncio.run(counted(kafka, prefix))
    assert ended(config, capsys, "--positions", "keep") == (0, [])
    before = asyncio.run(topicids.current(WORKER, config))
    asyncio.run(make_anew(config, VIEWS, SESSIONS, partitions=2))
    now = asyncio.run(topicids.current(WORKER, config))
    asyncio.run(send_views(kafka, config, range(1000, 1100)))
    code, plans = ended(config, capsys, "--positions", "beginning")
    assert (code, [plan["partition"] for plan in plans]) == (0, [0, 1])
    views, sessions = plans[0]["topics"]
    assert views == {
        "topic": prefix + VIEWS,
        "id_then": before[VIEWS],
        "id_now": now[VIEWS],
        "position": 60,
        "begin": 0,
        "end": 100,
        "goes_on_at": 0,
    }
    assert (sessions["topic"], sessions["position"], sessions["goes_on_at"]) == (prefix + SESSIONS, None, None)
    assert [plan["checkpoint"] for plan in plans] == [None, None]
    code, plans = ended(config, capsys, "--positions", "beginning", "--partition", "1", "--execute")
    assert (code, [(plan["partition"], plan["checkpoint"] > 0) for plan in plans]) == (0, [(1, True)])
    code, plans = ended(config, capsys, "--positions", "beginning", "--execute")
    assert (code, [plan["partition"] for plan in plans]) == (0, [0])
    assert ended(config, capsys, "--positions", "beginning", "--execute") == (0, [])
    shard = shard_of(asyncio.run(rehearse(ShardContext(config, 0, 2, WORKER)))[0])
    assert shard.positions[Kind.VIEWS] == 0
    assert shard.topic_ids == now
    assert Kind.VIEWS in shard.gaps, "what was unread in the topic before is lost"


def test_without_a_state_there_is_nothing_to_adopt(
    kafka: EmbeddedKafka, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is to think that all is well."""
    config = asyncio.run(make(kafka, prefix, partitions=2))
    where = ("--brokers", str(config.brokers), "--topic-prefix", prefix, "--group", config.group)
    with pytest.raises(SystemExit) as end:
        main(["state", "adopt", *where, "--positions", "keep"])
    assert end.value.code == 1
    assert f"{prefix}live.state holds no state of partition 0, 1" in capsys.readouterr().err


def test_positions_that_the_topic_does_not_have_are_not_kept(kafka: EmbeddedKafka, prefix: str) -> None:
    async def act() -> None:
        config = await counted(kafka, prefix)
        await make_anew(config, VIEWS, partitions=2)
        await send_views(kafka, config, range(10))
        found = await contexts(WORKER, config, ())
        with pytest.raises(UsageError, match=rf"{prefix}{VIEWS}, partition 0, ends at 10, but was read up to 60"):
            await adopt.execute(config, found, Adopted.KEEP)
        planned = await adopt.plan(found, Adopted.BEGINNING)
        assert [each.goes_on_at for plan in planned for each in plan.topics] == [0, 0]

    asyncio.run(act())


def test_a_state_of_before_ids_that_is_ahead_of_its_topic_begins_again(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_ids(*_: object) -> dict[str, str]:
        return {}

    async def act() -> None:
        with monkeypatch.context() as before:
            before.setattr(topicids, "fetch", no_ids)
            config = await counted(kafka, prefix)
        await make_anew(config, VIEWS, partitions=2)
        found = await contexts(WORKER, config, ())
        done = await adopt.execute(config, found, Adopted.BEGINNING)
        assert [plan.partition for plan in done] == [0, 1]
        shard, _ = await rehearse(found[0])
        assert shard.positions[Kind.VIEWS] == 0
        assert shard.topic_ids == await topicids.current(WORKER, config)

    monkeypatch.setattr("stream.kafka.recovery.BEYOND_CHECKS", 1)
    asyncio.run(act())
