"""The state log: the last N checkpoints are always a whole state."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core import framing, statelog
from stream.core.cooperative import drained
from stream.core.framing import StateError, first_needed
from stream.core.statelog import Restored, StateLog
from tests.examples import examples

Action = tuple[str, int, int]
"""("put" | "drop" | "add" | "forget" | "checkpoint" | "crash", which, what)"""

actions = st.lists(
    st.tuples(
        st.sampled_from(("put", "put", "drop", "add", "add", "forget", "checkpoint", "checkpoint", "crash")),
        st.integers(0, 4),
        st.integers(0, 99),
    ),
    max_size=60,
)


class World:
    """What must be restored, kept beside the log; a crash takes both back to the last checkpoint."""

    def __init__(self, span: int) -> None:
        self.log = StateLog(span)
        self.items: dict[bytes, bytes] = {}
        self.buckets: dict[bytes, set[bytes]] = {}
        self.fresh: list[tuple[bytes, bytes]] = []
        self.changed: set[bytes] = set()
        self.records: list[tuple[int, bytes, bytes]] = []
        self.committed: tuple[dict[bytes, bytes], dict[bytes, set[bytes]]] = ({}, {})

    def act(self, action: str, which: int, what: int) -> None:
        key, value = b"k%d" % which, b"%02d" % what
        if action == "put":
            self.items[key] = value
            self.changed.add(key)
        elif action == "drop" and key in self.items:
            del self.items[key]
            self.changed.discard(key)
            self.log.drop(key)
        elif action == "add":
            self.buckets.setdefault(key, set()).add(value)
            self.fresh.append((key, value))
        elif action == "forget" and key in self.buckets:
            del self.buckets[key]
            self.fresh = [(bucket, chunk) for bucket, chunk in self.fresh if bucket != key]
            self.log.drop_bucket(key)
        elif action == "checkpoint":
            self.checkpoint()
        elif action == "crash" and self.records:
            self.crash()

    def values_of(self, keys: list[bytes]) -> list[bytes]:
        return [self.items[key] for key in keys]

    def checkpoint(self) -> None:
        puts = {key: self.items[key] for key in self.changed}
        parts = drained(self.log.checkpoint(b"meta%d" % self.log.number, puts, self.fresh, self.values_of))
        offset = self.records[-1][0] + 2 if self.records else 7
        self.records += [(offset + place, key, value) for place, (key, value) in enumerate(parts)]
        self.log.committed(self.log.number, offset)
        self.changed.clear()
        self.fresh = []
        self.committed = (dict(self.items), {bucket: set(chunks) for bucket, chunks in self.buckets.items()})

    def compacted(self) -> list[tuple[int, bytes]]:
        """What compaction may leave: of each key the newest record."""
        newest = {key: offset for offset, key, _ in self.records}
        return [(offset, value) for offset, key, value in self.records if newest[key] == offset]

    def restored(self, records: Iterable[tuple[int, bytes]]) -> tuple[StateLog, Restored]:
        whole = list(records)
        start = first_needed(whole[-1][1], whole[-1][0])
        return StateLog.restore([record for record in whole if record[0] >= start], self.log.span)

    def crash(self, span: int | None = None) -> None:
        whole = self.compacted()
        start = first_needed(whole[-1][1], whole[-1][0])
        self.log, content = StateLog.restore(
            [record for record in whole if record[0] >= start], self.log.span if span is None else span
        )
        items, buckets = self.committed
        assert content.items == items
        assert {bucket: _chunks(chunks) for bucket, chunks in content.buckets.items()} == buckets
        self.items, self.buckets = dict(items), {bucket: set(chunks) for bucket, chunks in buckets.items()}
        self.changed.clear()
        self.fresh = []


def _chunks(chunks: list[bytes]) -> set[bytes]:
    """Chunks are joined as they age; here all entries are two bytes long."""
    whole = b"".join(chunks)
    return {whole[place : place + 2] for place in range(0, len(whole), 2)}


@settings(deadline=None, max_examples=examples(500))
@given(st.integers(1, 4), actions, st.sampled_from((0, 500)))
@example(2, [("put", 0, 1), ("checkpoint", 0, 0), ("drop", 0, 0), *[("checkpoint", 0, 0)] * 3, ("crash", 0, 0)], 500)
@example(3, [("add", 0, 1), ("checkpoint", 0, 0), ("forget", 0, 0), ("add", 0, 2), *[("checkpoint", 0, 0)] * 4], 500)
@example(
    2, [("put", 0, 1), ("checkpoint", 0, 0), ("drop", 0, 0), ("put", 0, 2), ("checkpoint", 0, 0), ("crash", 0, 0)], 0
)
@example(
    3, [("add", 0, 1), ("checkpoint", 0, 0), ("forget", 0, 0), ("add", 0, 2), ("checkpoint", 0, 0), ("crash", 0, 0)], 0
)
def test_what_is_restored_is_what_was_committed(span: int, steps: list[Action], calm: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statelog, "CALM", calm)
        world = World(span)
        for step in steps:
            world.act(*step)
        world.checkpoint()
        world.crash()


@settings(deadline=None, max_examples=examples(200))
@given(st.integers(1, 4), st.integers(1, 4), actions, actions)
def test_another_span_starts_with_a_whole_state(old: int, new: int, before: list[Action], after: list[Action]) -> None:
    world = World(old)
    for step in before:
        world.act(*step)
    world.checkpoint()
    world.crash(span=new)
    for step in after:
        world.act(*step)
    world.checkpoint()
    world.crash()


def test_a_checkpoint_is_cut_into_parts_that_fit_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "PART_BYTES", 100)
    world = World(3)
    for number in range(5):
        world.act("put", number, number)
    for _ in range(4):
        world.items[b"large"] = bytes(1000)
        world.changed.add(b"large")
        world.checkpoint()
        assert max(len(value) for _, _, value in world.records) < 150
        world.crash()


def test_a_quiet_item_is_written_again_only_every_n_checkpoints() -> None:
    world = World(4)
    world.act("put", 0, 1)
    sizes = []
    for _ in range(9):
        count = len(world.records)
        world.checkpoint()
        sizes.append(b"k0" in b"".join(value for _, _, value in world.records[count:]))
    assert sizes == [True, False, False, False, True, False, False, False, True]


def test_many_items_written_at_once_are_written_again_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statelog, "CALM", 5)
    world = World(10)
    for number in range(100):
        world.act("put", number, number)
    written = []
    for _ in range(40):
        count = len(world.records)
        world.checkpoint()
        written.append(len(re.findall(rb"k\d", b"".join(value for _, _, value in world.records[count:]))))
    assert written[0] == 100
    assert set(written[1:]) == {10}
    world.crash()


def test_the_size_is_that_of_what_is_alive() -> None:
    world = World(3)
    for step in ("put", 0, 1), ("put", 1, 2), ("add", 0, 3), ("checkpoint", 0, 0), ("put", 1, 4), ("drop", 0, 0):
        world.act(*step)
    assert world.log.size == 4
    world.checkpoint()
    assert world.log.size == 4
    world.crash()
    assert world.log.size == 4


def test_what_is_no_state_is_refused() -> None:
    world = World(2)
    world.act("put", 0, 1)
    for _ in range(3):
        world.checkpoint()
    records = [(offset, value) for offset, _, value in world.records]
    with pytest.raises(StateError, match="checkpoint 2 is missing"):
        StateLog.restore([records[0], records[2]], 2)
    with pytest.raises(StateError, match="version 9"):
        StateLog.restore([(0, b"\x09" + records[0][1][1:])], 2)
    with pytest.raises(StateError, match="cannot be read"):
        StateLog.restore([(0, records[0][1][:-1])], 2)
    with pytest.raises(StateError, match="no complete checkpoint"):
        StateLog.restore([], 2)
