"""A state that is right is found right, also beside a running worker; and each way to be wrong is found."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from stream.config import Settings
from stream.core import formats
from stream.core.shard import Shard
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.recovery import recover
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.operate.show import show
from stream.operate.verify import Verified, verify
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.machines import Shards
from stream.sessions.role import WORKER
from tests.kafka.test_recovery import delete_records
from tests.kafka.tools import (
    Rows,
    alter,
    damage,
    everything,
    make_anew,
    newest,
    producer,
    send,
    send_views,
    settings,
    until,
    view,
)  # fmt: skip
from tests.operate.tools import count, make, worker

pytestmark = pytest.mark.kafka


def told(verified: Sequence[Verified]) -> list[tuple[str, str]]:
    return [(finding.what, finding.text) for each in verified for finding in each.findings]


async def counted(kafka: EmbeddedKafka, prefix: str, **changes: Any) -> Settings:
    config = await make(kafka, prefix, **changes)
    await send_views(kafka, config, range(0, 3000, 10))  # five minutes of event time
    await count(kafka, config)
    return config


def test_a_right_state_is_right_down_to_what_was_written(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        (found,) = await verify(config, ())
        windows = newest(await everything(kafka, config.topic(SESSION_WINDOWS)))
        assert told([found]) == []
        assert found.looked_at == {"checkpoints": 9, SESSIONS: 1, SESSION_WINDOWS: len(windows)}
        assert len(windows) == 6 + 10

    asyncio.run(main())


def test_running_workers_are_no_fault_and_an_untouched_partition_neither(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        assert told(await verify(config, ())) == []
        async with worker(config) as memory:
            await until(lambda: memory.recoveries, "it runs")
            for start in range(0, 3000, 1000):
                await send_views(kafka, config, range(start, start + 1000, 5))
                verified = await verify(config, [0])
                assert told(verified) == []
            await until(lambda: memory.counted == 600, "it was not disturbed")
            assert memory.failures == []

    asyncio.run(main())


def test_what_a_worker_refuses_is_found(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        for changed, message in (
            (settings(kafka, prefix, windows="2m"), "was counted under other settings: --windows was"),
            (config.model_copy(update={"group": "someone-else"}), "is another's: its group is"),
        ):
            ((what, text),) = told(await verify(changed, [0]))
            assert (what, message in text) == ("refused", True), text
        await send_views(kafka, config, range(3000, 3010))
        await delete_records(kafka, config.topic(INPUTS[Kind.VIEWS]), 305)
        assert ("lost", "retention has deleted 5 offsets before they were read: results will be incomplete") in told(
            await verify(config, [0])
        )
        await make_anew(config, INPUTS[Kind.VIEWS])
        ((what, text),) = told(await verify(config, [0]))
        assert what == "refused"
        assert text.startswith(f"{prefix}live.views was made anew: ")

    asyncio.run(main())


def test_a_state_that_lacks_a_checkpoint_is_found(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        await alter(kafka.bootstrap, config.topic(STATE), {"cleanup.policy": "compact,delete"})
        await delete_records(kafka, config.topic(STATE), 1)  # the first checkpoint
        ((what, text),) = told(await verify(config, [0]))
        assert what == "refused"
        assert "cannot be read: it begins at offset 0, and that record is missing" in text

    asyncio.run(main())


def test_a_state_that_is_none_is_found(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        damage(kafka, config.topic(STATE), 0)
        ((what, text),) = told(await verify(config, [0]))
        assert (what, "live.state, partition 0: offsets 0 to 0 cannot be read" in text) == ("refused", True)
        await send(kafka, config.topic(STATE), [(b"9/0", b"\x01nonsense")])
        ((what, text),) = told(await verify(config, [0]))
        assert (what, "cannot be read" in text) == ("refused", True)

    asyncio.run(main())


def test_a_transaction_that_hangs_at_its_end_is_found(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        quick = config.model_copy(update={"transaction_timeout": config.heartbeat_every})
        async with producer(kafka, transactional_id=prefix + "foreign") as foreign:
            await foreign.begin_transaction()
            await foreign.send_and_wait(config.topic(STATE), b"x", key=b"x", partition=0)
            ((what, _),) = told(await verify(quick, [0]))
            assert what == "hanging"
            await foreign.abort_transaction()

    asyncio.run(main())


async def set_offset(config: Settings, offset: int) -> None:
    """Of the group, as a tool would."""
    context = ShardContext(config, 0, 1, WORKER)
    found = await recover(context, discard=None, current=lambda: True)
    await Checkpoints(context, found.producer).check_ownership({Kind.VIEWS: offset})
    await found.producer.stop()


def test_results_that_are_not_the_states_are_found(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        assert told(await verify(config, [0])) == []
        sessions, windows = config.topic(SESSIONS), config.topic(SESSION_WINDOWS)
        totals = newest(await everything(kafka, sessions))[b"s1"]
        key, window = list(newest(await everything(kafka, windows)).items())[3]
        await send(kafka, sessions, [(b"s1", orjson.dumps(totals | {"counts": totals["counts"] | {"views": 1}}))])
        await send(kafka, windows, [(key, orjson.dumps(window | {"revision": 7}))])
        await set_offset(config, 123)
        (what, offsets), *results = told(await verify(config, [0]))
        assert what == "offsets"
        assert f"the state stands at 300, the group {config.group} at 123; the state counts" in offsets
        assert {text for _, text in results} == {
            "session s1: live.sessions differs from the state in counts",
            f"window {key.decode()}: live.session-windows has generation 0, revision 7; the state has written 0, 1",
        }
        await delete_records(kafka, windows, (await everything(kafka, windows))[-1].offset)
        found_again = told(await verify(config, [0]))
        assert sum("has no record, the state has written revision 1" in text for _, text in found_again) == 15

    asyncio.run(main())


def test_a_state_that_does_not_restore_to_itself_is_found(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        config = await counted(kafka, prefix)
        begin_at = Shard.begin_at

        def forgetful(shard: Any, positions: dict[Kind, int]) -> None:
            begin_at(shard, positions)
            next(iter(shard.rows.values())).marks.clear()  # not noted as changed

        monkeypatch.setattr(Shard, "begin_at", forgetful)
        assert told(await verify(config, [0])) == [
            ("round trip", "a checkpoint made of it restores to other windows written")
        ]

    asyncio.run(main())


def test_a_state_kept_in_an_earlier_format_is_right_and_shown_until_it_is_upgraded(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_before(_: Shards, config: Settings, placed: Any, generation: int) -> Shard:
        shard = Shard(config.policy(), generation=generation, placed=placed)
        shard.keep_format(formats.found(3, ()))
        return shard

    async def main() -> None:
        config = await make(kafka, prefix)
        gifts: Rows = [(b"s1", view(number, action="gift", gift_value=number)) for number in range(0, 3000, 20)]
        await send(kafka, config.topic(INPUTS[Kind.VIEWS]), gifts)
        with monkeypatch.context() as context:
            context.setattr(Shards, "begin", of_before)
            await count(kafka, config)
        with capture_logs() as logs:
            assert told(await verify(config, ())) == [], "gifts were written, and are not in the state"
        (warned,) = {each["format"] for each in logs if each.get("upgrade") == "--state-format newest"}
        assert warned.startswith("3, without gifts, gift_value, ")
        assert await form(config) == (3, True)
        await send_views(kafka, config, range(3000, 3100))
        await count(kafka, config)
        assert await form(config) == (3, True)
        await count(kafka, config.model_copy(update={"state_format": "newest"}))
        assert await form(config) == (5, False)

    async def form(config: Settings) -> tuple[int, bool]:
        (shown,) = await show(WORKER, config, ())
        assert shown.figures is not None
        return shown.figures["format"], "gifts" in shown.figures["not_kept"]

    asyncio.run(main())
