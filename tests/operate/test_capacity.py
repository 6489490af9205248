"""What a load needs: sums that must hold together, whatever the measured figures are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.model.names import INPUTS, STATE
from stream.operate import capacity
from stream.operate.capacity import BUSY, DAY, FIGURES, MILLION, PARTITIONS, Load, needs
from stream.sessions.role import SPECS
from tests.bench.__main__ import PARTS

SMALL = Load(rate=1000, sessions=400)

loads = st.builds(
    Load, rate=st.floats(1, 500_000), sessions=st.integers(1, 200_000), busy_share=st.floats(0.01, 1),
    replication=st.integers(1, 3),
)  # fmt: skip


def test_every_figure_is_printed_by_a_part_of_the_bench() -> None:
    assert {each.part for each in FIGURES} <= set(PARTS)
    assert all(each.value > 0 for each in FIGURES)


@given(loads)
def test_workers_have_room_and_every_one_has_shards(load: Load) -> None:
    found = needs(load)
    assert found.cores <= found.workers * BUSY
    assert found.workers == 1 or found.cores > (found.workers - 1) * BUSY, "not more than it takes"
    assert found.partitions in PARTITIONS
    assert found.partitions >= found.workers * capacity.SHARDS_A_WORKER
    assert load.sessions / found.partitions <= capacity.SHARD_SESSIONS
    assert load.rate / found.partitions <= capacity.SHARD_EVENTS


@given(loads, st.floats(1, 3))
def test_more_needs_more(load: Load, times: float) -> None:
    less, more = needs(load), needs(replace(load, rate=load.rate * times, sessions=int(load.sessions * times)))
    assert more.cores >= less.cores
    assert more.workers >= less.workers
    assert more.partitions >= less.partitions
    assert more.disk >= less.disk
    assert more.broker_in >= less.broker_in


@given(loads)
def test_the_disk_is_that_of_the_topics_in_all_copies(load: Load) -> None:
    found = needs(load)
    assert found.disk == pytest.approx(sum(each.stored for each in found.topics) * load.replication)
    assert found.broker_in == pytest.approx(sum(each.written for each in found.topics) * load.replication)


def test_inputs_take_what_retention_keeps_of_the_time_they_are_busy() -> None:
    (inputs, *_) = needs(replace(SMALL, busy_share=0.25)).topics
    assert inputs.retention_days == 7
    assert inputs.stored == pytest.approx(1000 * capacity.INPUT_BYTES.value * 7 * DAY / 4)


def test_every_topic_that_grows_is_there() -> None:
    named = {each.name for each in needs(SMALL).topics[1:]}
    assert named | set(INPUTS.values()) == {each.name for each in SPECS} - {"live.alerts"}, "alerts are few"
    assert needs(SMALL).topics[-1].name == STATE


def test_a_worker_holds_its_share() -> None:
    """Workers share the sessions; each has its own buffers."""
    one = needs(SMALL).memory
    assert one > capacity.WORKER_MEMORY.value + SMALL.buffer_memory / MILLION
    many = needs(Load(rate=300_000, sessions=125_000))
    assert many.workers > 1
    assert many.memory * many.workers > 1.25 * 125_000 * capacity.SESSION_MEMORY.value / MILLION
    assert needs(replace(SMALL, sessions=10 * SMALL.sessions)).memory > one


def test_what_one_set_of_topics_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="divide the sessions among installations"):
        needs(Load(rate=1e8, sessions=10_000_000))
