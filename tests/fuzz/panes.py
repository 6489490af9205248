"""Packed panes that are damaged: native code reads what Python reads, or refuses them.

Without sketches of unique viewers: their library believes what it is given (stream/core/uniques.py), and is given only
what a checksum vouches for.
"""

import json
from functools import cache
from random import Random
from typing import Any, Final

import msgspec

from stream.core.counting import count_checkout, count_comment, count_view
from stream.core.counts import Counts
from stream.core.figures import BREAKDOWNS, MONIES, PLAIN
from stream.core.packing import unpack, unpack_into
from stream.core.pure import counts as pure_counts
from stream.core.pure import packing as pure
from stream.core.pure.panes import Pane
from stream.core.session import Session
from stream.core.state_format import Packed
from stream.core.switch import NATIVE
from stream.core.vetting import is_packed
from stream.model.events import Checkout, Comment, View
from stream.model.names import Kind
from tests.fuzz.damage import damaged
from tests.fuzz.target import Bound
from tests.fuzz.values import EVENTS, TIME

COUNTING: Final[dict[Kind, Any]] = {
    Kind.VIEWS: (count_view, View), Kind.COMMENTS: (count_comment, Comment), Kind.CHECKOUTS: (count_checkout, Checkout),
}  # fmt: skip
ACTIONS: Final = ("enter", "product_click", "like", "heartbeat", "impression")


@cache
def packed(number: int) -> bytes:
    random = Random(number)
    pane = Pane(Session(b"s1"), TIME)
    for _ in range(random.randrange(30)):
        kind = random.choice(list(EVENTS))
        value = EVENTS[kind] | {"viewer_id": str(random.random()), "affiliate_id": random.choice((None, "a1", "a2"))}
        value |= (
            {"product_id": f"p{random.randrange(4)}", "action": random.choice(ACTIONS)} if kind is Kind.VIEWS else {}
        )
        count, shape = COUNTING[kind]
        count(pane, msgspec.json.decode(json.dumps(value).encode(), type=shape), 3)
    pane.viewers = pane.buyers = None
    return pure.pack(pane)


def make(random: Random) -> bytes:
    return damaged(random, packed(random.randrange(50)))


def run(data: bytes) -> None:
    try:
        found = msgspec.msgpack.decode(data, type=Packed)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    right = is_packed(data)
    assert found is not None or not right
    if found is not None and (found.viewers or found.buyers):
        return
    expected = _read(pure_counts.Counts(), data)
    assert expected is not None or not right
    if NATIVE and right:
        from stream.core.native import packing

        read = _read(Counts(), data)
        assert read == expected, f"native {read} instead of {expected}"
        assert packing.pack(unpack(data)) == pure.pack(unpack(data))


def _read(counts: Any, data: bytes) -> dict[str, Any] | None:
    """What is read into them; None when it is refused, whatever is raised."""
    try:
        unpack_into(counts, data)
    except Exception:  # noqa: BLE001 - vetting tells what is wrong
        return None
    return {name: getattr(counts, name) for name in (*PLAIN, *MONIES, "sources", *BREAKDOWNS, "incomplete")}


BOUND: Final = Bound()
