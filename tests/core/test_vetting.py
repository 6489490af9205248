"""A state without checksums: what is unpacked only when somebody needs it is looked at before it is continued."""

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stream.core.framing import StateError
from stream.core.packing import pack, unpack
from stream.core.pure import packing as pure
from stream.core.shard import Shard
from stream.core.vetting import is_packed
from stream.model.names import Kind
from tests.core.worlds import POLICY, Driver, Happening, World
from tests.examples import examples

WORLD = World(views=tuple(Happening("enter", after=5000, ref=number, amount=1) for number in range(30)))


def driven() -> Driver:
    driver = Driver(WORLD)
    for _ in range(3):
        driver.step("views", 10)
        driver.step("settle", 0)
    return driver


@cache
def _packed() -> bytes:
    driver = driven()
    driver.crash()
    return next(data for row in driver.shard.rows.values() for data in row.packed.values())


def packed() -> list[Any]:
    """A pane with everything, as a list that can be spoiled."""
    values: list[Any] = msgspec.msgpack.decode(_packed())
    return values


HEAD, REST, VIEWERS, SOURCES, LATE = 0, 8, 11, 13, 16


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (HEAD, "1"),
        (HEAD, 2**63),
        (HEAD, None),
        (7, {"IDR": "1"}),
        (REST, []),
        (REST, [0] * 25),
        (REST, [0] * 60),
        (VIEWERS, b"no sketch"),
        (VIEWERS, "text"),
        (SOURCES, {"ads": ["x"]}),
        (LATE, 7),
        (LATE, [[1], [0, "", "", 0, "", 0, 0], [{}, {}, {}], 0, 0]),
        (LATE, [[0] * 20, [0, 0, 0, 0, 0, 0, 0], [{}, {}, {}], 0, 0]),
    ],
)
def test_what_is_no_pane_is_seen(place: int, value: Any) -> None:
    whole = packed()
    assert is_packed(msgspec.msgpack.encode(whole))
    whole[place] = value
    assert not is_packed(msgspec.msgpack.encode(whole))


@settings(deadline=None, max_examples=examples(1500))
@given(st.data())
def test_what_is_taken_for_a_pane_can_be_unpacked(data: st.DataObject) -> None:
    """By whichever version; what else the sketches hold, only their library knows, see test_uniques."""
    whole = bytearray(msgspec.msgpack.encode([*packed()[:VIEWERS], None, None, *packed()[SOURCES:]]))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    garbled = bytes(whole)
    if is_packed(garbled):
        assert pack(unpack(garbled)) == pure.pack(unpack(garbled))
    else:
        event("refused")


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xdc\x00\x11" + b"\x91" * 100_000]
)
def test_bytes_that_are_no_pane_are_seen(data: bytes) -> None:  # fmt: skip
    assert not is_packed(data)


def test_counts_without_anything_are_a_pane() -> None:
    shard = Shard(POLICY)
    shard.read(Kind.VIEWS, WORLD.records()[Kind.VIEWS][:1])
    (pane,) = shard.judge.changed
    assert is_packed(pack(pane))


def test_it_says_which_checkpoint_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = driven()
    monkeypatch.setattr("stream.core.vetting.is_packed", lambda _data: False)
    with pytest.raises(
        StateError, match=r"^checkpoint \d+ \(from offset \d+ on\): (a pane|the totals of a session) cannot be"
    ):
        driver.crash()  # fmt: skip
