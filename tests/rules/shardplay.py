"""A transcript of counts played as events on a real shard."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import orjson

from stream.core.alerts.rules import Rules
from stream.core.policy import MINUTE, SECOND, Policy, WindowSpec
from stream.core.shard import Shard
from stream.model.names import KINDS, Kind
from tests.recount import LogRecord

ACTIONS = {"views": "enter", "heartbeats": "heartbeat", "product_clicks": "product_click"}
STATUSES = {
    "checkouts_initiated": "initiated",
    "checkouts_failed": "failed",
    "orders_cancelled": "cancelled",
    "orders_refunded": "refunded",
}
POLICY = Policy(windows=(WindowSpec("1m", MINUTE, MINUTE),))
SESSION, CLOCK = "s", "clock"


class ShardPlayer:
    """What happens in a minute lies in its middle; a session of its own moves all clocks on at its end."""

    def __init__(self, rules: Rules, minutes: Sequence[Mapping[str, int]]) -> None:
        self.shard = Shard(POLICY, rules=rules)
        self._numbers = count()
        for minute, counts in enumerate(minutes):
            self._read(minute * MINUTE + 30 * SECOND, SESSION, self._happened(counts))
            self._read((minute + 1) * MINUTE - 1, CLOCK, self._tick())
        self._read(len(minutes) * MINUTE + POLICY.delay_ms, CLOCK, self._tick())
        while self.shard.work(100):
            pass
        outputs = self.shard.collect()
        assert outputs is not None
        self.alerts = [alert for alert in outputs.alerts if alert.session_id == SESSION]

    def _tick(self) -> dict[Kind, list[dict[str, Any]]]:
        return {
            Kind.VIEWS: [{"action": "heartbeat"}],
            Kind.COMMENTS: [{"text": "tick"}],
            Kind.CHECKOUTS: [self._checkout("submitted")],
        }

    def _happened(self, counts: Mapping[str, int]) -> dict[Kind, list[dict[str, Any]]]:
        views: list[dict[str, Any]] = [
            {"action": action} for name, action in ACTIONS.items() for _ in range(counts.get(name, 0))
        ]
        views += [{"action": "like", "count": counts["likes"]}] if counts.get("likes") else []
        comments, checkouts = [{"text": "halo"}] * counts.get("comments", 0), list(self._checkouts(counts))
        if checkouts and not views and not comments:  # checkouts alone keep no session on air
            views.append({"action": "leave"})
        return {Kind.VIEWS: views, Kind.COMMENTS: comments, Kind.CHECKOUTS: checkouts}

    def _checkouts(self, counts: Mapping[str, int]) -> Iterator[dict[str, Any]]:
        on_delivery = counts.get("cod_orders", 0)
        for _ in range(on_delivery):
            yield self._checkout("initiated", is_cod=True)
        for _ in range(counts.get("orders_paid", 0) - on_delivery):
            yield self._checkout("paid")
        for name, status in STATUSES.items():
            for _ in range(counts.get(name, 0)):
                yield self._checkout(status)

    def _checkout(self, status: str, **more: Any) -> dict[str, Any]:
        money = {"amount_minor": 100, "currency": "IDR", "items": []}
        return {"checkout_id": f"k{next(self._numbers)}", "status": status, **money, **more}

    def _read(self, time: int, session: str, happened: dict[Kind, list[dict[str, Any]]]) -> None:
        common = {"event_time": time, "session_id": session, "seller_id": "x", "viewer_id": "v", "platform": "shopee"}
        for kind in KINDS:
            records = [
                LogRecord(
                    kind, 0, number, time, session.encode(), orjson.dumps({"event_id": f"e{number}", **common, **own})
                )
                for number, own in zip(self._numbers, happened[kind], strict=False)
            ]
            if records:
                self.shard.read(kind, records)
