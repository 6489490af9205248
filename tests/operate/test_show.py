"""What is shown is what is there, read beside running workers and under whatever settings it was counted."""

import asyncio
import time

import pytest
from aiokafka import TopicPartition

from stream.config import Change
from stream.core.policy import fingerprint
from stream.kafka import statereader
from stream.kafka.client import Reader
from stream.model.names import INPUTS, STATE, Kind
from stream.operate import offsets
from stream.operate.show import show, show_session
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.kafka.test_recovery import delete_records
from tests.kafka.tools import BASE, damage, producer, send, send_batches, send_views, settings, view
from tests.operate.tools import count, make

pytestmark = pytest.mark.kafka


def test_a_state_is_shown_whatever_our_settings_are(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2, windows="1m", lateness="1m")
        await send_views(kafka, config, range(100))
        await count(kafka, config, partitions=2)
        ours = settings(kafka, prefix, windows="2m")
        shown, nothing = await show(WORKER, ours, ())
        figures = shown.figures
        assert figures is not None
        assert figures["owner"]["group"] == config.group
        assert (figures["generation"], figures["checkpoint"], figures["checkpoints_needed"]) == (0, 4, 4)
        assert figures["positions"] == {"views": 100, "comments": 0, "checkouts": 0}
        assert figures["clocks"] == {"views": BASE + 9900, "comments": None, "checkouts": None}
        assert figures["watermark"] == BASE - 100
        assert figures["sessions"] == {"held": 1, "open": 0, "ended": 1}
        assert (figures["panes"], figures["windows_closed_held"], figures["dedupe_ids"]) == (1, 1, 100)
        assert (figures["bytes"] > 500, 0 <= figures["age_seconds"] < 60) == (True, True)
        assert abs(figures["written_at"] / 1000 - time.time()) < 60
        assert figures["settings_hash"] == fingerprint(config.policy().deciding())
        assert Change("--lateness", "1m", "5m") in figures["settings_differ"]
        assert (nothing.partition, nothing.figures, nothing.problem) == (1, None, None)

    asyncio.run(main())


def test_what_is_no_state_is_a_problem_of_its_own_partition(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix, partitions=2)
        await send_views(kafka, config, range(3))
        await count(kafka, config, partitions=2)
        await send(kafka, config.topic(STATE), [(b"0/0", b"\xff")], partition=1)
        right, wrong = await show(WORKER, config, ())
        assert right.figures is not None
        assert (
            wrong.problem
            == "cannot be read: the record at offset 0 is a state of version 255; this program reads versions 2, 3, 4 and 5"
        )
        _, views = [each for each in await offsets.show(WORKER, config) if each.topic.endswith("views")]
        assert views.state is None
        assert "state of version 255" in str(views.problem)

    asyncio.run(main())


def test_a_session_is_shown_with_its_panes_and_without_its_viewers(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(0, 1200, 10))
        await count(kafka, config)
        (held,) = await show_session(config, (), "s1")
        assert (held["partition"], held["status"], held["events"], held["written_events"]) == (0, "ended", 120, 120)
        assert held["totals"]["counts"]["views"] == 120
        assert held["totals"]["unique_viewers"] == 7
        assert [pane["counts"]["views"] for pane in held["panes"] if pane["events"]] == [40, 60, 20]
        assert sum(pane["windows_written"].get("1m", 0) for pane in held["panes"]) == 3
        assert "v1" not in str(held)
        assert await show_session(config, (), "s2") == []

    asyncio.run(main())


def test_records_that_come_while_one_looks_are_no_open_transaction(
    kafka: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        await send_views(kafka, config, range(10))

        real = statereader.bounds

        async def bounds(reader: Reader, tp: TopicPartition) -> tuple[int, int]:
            found = await real(reader, tp)
            if tp.topic == config.topic(INPUTS[Kind.VIEWS]):
                await send_views(kafka, config, range(10, 15))
            return found

        monkeypatch.setattr(statereader, "bounds", bounds)
        views = next(
            each for each in await offsets.show(WORKER, config) if each.topic == config.topic(INPUTS[Kind.VIEWS])
        )
        assert (views.stable, views.end, views.open_transaction) == (15, 15, False)

    asyncio.run(main())


def test_offsets_say_where_log_state_and_group_stand(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = await make(kafka, prefix)
        views = config.topic(INPUTS[Kind.VIEWS])
        before = {each.topic: each for each in await offsets.show(WORKER, config)}
        assert (before[views].state, before[views].group, before[views].lag, before[views].lag_seconds) == (None,) * 4
        await send_views(kafka, config, range(10))
        await count(kafka, config)
        await send_batches(kafka, config, [range(10, 15), range(15, 20)])
        await delete_records(kafka, views, 12)
        async with producer(kafka, transactional_id=prefix + "up") as upstream:
            await upstream.begin_transaction()
            await upstream.send_and_wait(views, view(20), key=b"s1", partition=0)
            found = {each.topic: each for each in await offsets.show(WORKER, config)}
            await upstream.abort_transaction()
        stands = found[views]
        assert (stands.earliest, stands.state, stands.group, stands.stable, stands.end) == (12, 10, 10, 20, 21)
        assert (stands.lag, stands.lost, stands.open_transaction) == (8, 2, True)
        assert stands.lag_seconds is not None
        assert 0 <= stands.lag_seconds < 60
        quiet = found[config.topic(INPUTS[Kind.COMMENTS])]
        assert (quiet.lag, quiet.lag_seconds, quiet.open_transaction, quiet.problem) == (0, 0.0, False, None)
        damage(kafka, views, 10)
        stands = next(each for each in await offsets.show(WORKER, config) if each.topic == views)
        assert f"{views}, partition 0: offsets 12 to 14 cannot be read" in str(stands.problem)
        assert stands.lag_seconds is not None
        assert stands.lag_seconds < 60

    asyncio.run(main())
