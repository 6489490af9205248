"""Closing a shard for good: everything counted comes into the results, and no alert is left firing."""

from stream.core.alerts.rules import Rules
from stream.core.pure.records import PureRecord
from stream.core.shard import Shard
from stream.model.alerts import Status
from stream.model.names import KINDS, Kind
from stream.model.results import Outputs
from tests.core.alerts.test_alerting import CLICKS
from tests.core.worlds import POLICY, SECOND
from tests.kafka.tools import BASE, view


def collected(shard: Shard, at: int) -> Outputs:
    while shard.work(100):
        pass
    outputs = shard.collect()
    assert outputs is not None
    shard.committed(outputs.checkpoint, at)
    return outputs


def test_alerts_that_fire_are_resolved_and_none_begins_for_the_silence_that_follows() -> None:
    shard = Shard(POLICY, rules=Rules([CLICKS], POLICY.pane_ms))
    shard.begin_at(dict.fromkeys(KINDS, 0))
    times = [BASE + 1000 * number for number in range(3)] + [BASE + 10 * SECOND + POLICY.delay_ms]
    shard.read(
        Kind.VIEWS,
        [
            PureRecord(number, time, b"s1", view(number, event_time=time, action="product_click", product_id="p"), ())
            for number, time in enumerate(times)
        ],
    )
    for other in (Kind.COMMENTS, Kind.CHECKOUTS):
        shard.exclude(other)
    before = collected(shard, 0)
    assert [alert.status for alert in before.alerts] == [Status.FIRING]

    state = [(offset, value) for offset, (_, value) in enumerate(before.state)]
    again = Shard.restore(POLICY, state, rules=Rules((), POLICY.pane_ms))
    assert again.moved_to is None
    again.moved_to, again.moved = "p6.", True
    again.finish()
    after = collected(again, len(state))
    assert [alert.status for alert in after.alerts] == [Status.RESOLVED]
    assert after.alerts[0].id == before.alerts[0].id
    assert after.windows
    assert after.sessions
    whole = [*state, *((len(state) + number, value) for number, (_, value) in enumerate(after.state))]
    assert Shard.restore(POLICY, whole).moved_to == "p6."
