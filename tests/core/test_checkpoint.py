"""What one checkpoint holds of a shard, and what is said of one that cannot be continued."""

import re
from functools import partial
from typing import Any

import msgspec
import pytest

from stream import __version__
from stream.core.alerts.alerting import Alerting
from stream.core.checkpoint import Parts, fitting_meta, read_meta, reading
from stream.core.figures import NAMES
from stream.core.framing import LaterStateError, StateError
from stream.core.panes import Rows
from stream.core.policy import DAY, HOUR, MINUTE, Policy
from stream.core.sessions import Sessions
from stream.core.shard import Shard
from stream.core.state_keys import ALERTS
from stream.core.statelog import Restored, StateLog
from stream.model.names import KINDS, Kind
from tests.core.alerts.test_on_air import BUSY, Air
from tests.core.test_shard import T0, Room


def content_of(room: Room) -> Restored:
    return StateLog.restore(room.state, room.policy.checkpoint_span)[1]


def stored(**changes: Any) -> Restored:
    """A state, and what is said otherwise of it as a whole."""
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.settle()
    content = content_of(room)
    content.meta = msgspec.msgpack.encode(msgspec.msgpack.decode(content.meta) | changes)
    return content


@pytest.mark.parametrize("place", ["positions", "clocks", "gaps"])
def test_a_state_of_topics_that_nobody_reads_is_refused_with_their_names(place: str) -> None:
    content = stored(**{place: dict.fromkeys(["zoo", *KINDS, "ants"], 1)})
    with pytest.raises(StateError) as error:
        read_meta(content)
    assert str(error.value) == "it is of topics that this version does not read: ['ants', 'zoo']"


def test_a_state_with_figures_of_a_later_version_is_refused_with_their_names_and_who_wrote_it() -> None:
    with pytest.raises(LaterStateError) as error:
        read_meta(stored(figures=[*NAMES, "waves", "tips"], version="99.0"))
    said = f"it holds figures that liveshop {__version__} does not know: waves, tips; liveshop 99.0 wrote it"
    assert str(error.value) == said


def test_what_is_of_no_sort_that_is_known_is_refused() -> None:
    content = stored()
    assert fitting_meta(content, Policy()) == read_meta(content)
    content.items[b"zebra"] = b""
    content.buckets[b"yak"] = []
    with pytest.raises(StateError) as error:
        fitting_meta(content, Policy())
    assert str(error.value) == "it holds what this version does not know: sorts [b'y', b'z']"


@pytest.mark.parametrize("vouched", [False, True])
@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), ValueError("x"), MemoryError("x")])
def test_what_checksums_vouch_for_is_not_called_broken_for_a_fault_of_ours(error: Exception, vouched: bool) -> None:
    is_broken = isinstance(error, ValueError) or (isinstance(error, KeyError | TypeError) and not vouched)
    said = f"the state cannot be read: {type(error).__name__}: {error}" if is_broken else str(error)
    with (
        pytest.raises(StateError if is_broken else type(error), match=f"^{re.escape(said)}$"),
        reading(vouched=vouched),
    ):
        raise error


def test_a_restored_shard_stands_where_it_stood() -> None:
    room = Room(Policy(session_keep_ms=HOUR, max_gone_sessions=1), generation=4)
    for hours in (0, 3, 6):
        for kind in KINDS:
            for session in ("s1", "s2"):
                room.see(kind, T0 + hours * HOUR, session_id=f"{session}-{hours}", checkout_id=f"{session}-{hours}")
        room.settle()
    room.shard.gap(Kind.COMMENTS, 3)
    room.see(Kind.VIEWS, T0 + 6 * HOUR + MINUTE)
    room.settle()
    before = room.shard
    room.crash()
    after = room.shard
    assert after is not before
    assert after.watermark == before.watermark == T0 + 6 * HOUR - room.policy.delay_ms
    assert after.windows.horizon == before.windows.horizon
    assert after.sessions.gone.floor == before.sessions.gone.floor > T0
    assert after.judge.checkout_keys.floor == before.judge.checkout_keys.floor
    assert (after.generation, after.positions, after.clocks) == (4, before.positions, before.clocks)
    assert after.gaps == before.gaps == {Kind.COMMENTS: None}
    assert (after.drop_line, after.checkpoint) == (before.drop_line, before.checkpoint)
    assert after.view(9) == before.view(9)


def test_what_the_alerts_know_of_a_session_is_looked_at_where_no_checksum_vouches_for_it() -> None:
    air = Air(BUSY)
    air.see(0.5, "s1")
    air.reach(1.2)
    air.told()
    log, content = StateLog.restore(air.state, air.policy.checkpoint_span)
    history, *others = msgspec.msgpack.decode(content.items[ALERTS + b"s1"])
    content.items[ALERTS + b"s1"] = msgspec.msgpack.encode([[*history[:4], b"\x01"], *others])
    shard = Shard(air.policy)
    shard.log = log
    with pytest.raises(StateError) as error:
        shard.fill(content)
    found = f"{log.written_in(ALERTS + b's1')}: what the alerts know of a session cannot be unpacked"
    assert (str(error.value), log.written_in(ALERTS + b"s1")[:10]) == (found, "checkpoint")
    Shard(air.policy).fill(content, vouched=True)


def test_what_is_held_for_a_time_leaves_the_state_when_that_is_over() -> None:
    room = Room(Policy(session_keep_ms=HOUR, max_gone_sessions=1))
    held = []
    for day in range(14):
        for kind in KINDS:
            room.see(kind, T0 + day * DAY, session_id=f"s{day}", checkout_id=f"k{day}")
        room.settle()
        held.append(len(room.shard.log.buckets()))
    assert held[-3:] == [held[-1]] * 3


@pytest.mark.parametrize("vouched", [False, True])
def test_a_state_that_checksums_vouch_for_is_not_looked_at_as_a_whole(
    vouched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[StateLog] = []
    monkeypatch.setattr(Parts, "vet", lambda _, log: looked.append(log))
    room = Room()
    room.see(Kind.VIEWS, T0)
    room.settle()
    restore = partial(Shard.restore, vouched=True) if vouched else Shard.restore
    shard = restore(room.policy, room.state)
    assert looked == ([] if vouched else [shard.log])


@pytest.mark.parametrize("part", [Rows, Sessions, Alerting])
def test_each_part_is_asked_for_what_it_holds_packed(part: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "vetted", lambda _: iter([(b"k", "its content", False)]))
    with pytest.raises(StateError, match=r"^an older checkpoint: its content cannot be unpacked$"):
        Shard(Policy()).fill(stored())
