"""Records that cannot be read: an error that names them and what to do, wherever they lie. On a broker: tests/faults."""

from datetime import timedelta

from stream.doctor.finding import Check, Severity
from stream.doctor.lag import Lag, judge_lag
from stream.doctor.unreadable import Unreadable, judge_unreadable
from tests.doctor.tools import one

AT = Unreadable("live.views/0", 10, 14, "wrong checksum", "liveshop offsets skip --offset 10")
AHEAD = Unreadable("live.views/0", 30, 34, "wrong checksum")


def test_where_a_shard_waits_the_command_is_named() -> None:
    found = one(judge_lag([Lag("live.views/0", 20, unreadable=AT)], 1, timedelta(seconds=60)), Severity.ERROR)
    assert found.what == "offsets 10 to 14 cannot be read (wrong checksum): the shard waits there"
    assert found.todo.endswith(", or: liveshop offsets skip --offset 10")


def test_where_none_waits_yet_it_is_an_error_too() -> None:
    found = one(judge_unreadable(Check.KEYS, [AHEAD]), Severity.ERROR, "live.views/0")
    assert found.what == "offsets 30 to 34 cannot be read (wrong checksum): a shard that comes to them waits"
    assert "another copy of the partition" in found.todo
