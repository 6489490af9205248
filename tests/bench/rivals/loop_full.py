"""``python -m tests.bench.rivals.loop_full BROKERS GROUP OUT TOPIC…``: the loop by hand that counts what liveshop counts.

18 counts, concurrent viewers, unique viewers and buyers (sets), breakdowns by source, affiliate and product, and no
repeats; but 1m windows alone, no totals, nothing checked, and as careless as the short loop: all of it is in memory.
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Message

from tests.bench.rivals.loop import MINUTE_MS, follow

ACTIONS = {
    "impression": "impressions",
    "enter": "views",
    "product_impression": "product_impressions",
    "product_click": "product_clicks",
    "add_to_cart": "adds_to_cart",
    "share": "shares",
    "follow": "follows",
}
STATUSES = {
    "initiated": "checkouts_initiated",
    "submitted": "checkouts_submitted",
    "failed": "checkouts_failed",
    "cancelled": "orders_cancelled",
    "refunded": "orders_refunded",
}

Event = dict[str, Any]


class Window:
    """One session's minute."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.checkouts: set[tuple[str, str]] = set()
        self.counts: Counter[str] = Counter()
        self.viewers: set[str] = set()
        self.buyers: set[str] = set()
        self.concurrent: list[int] = []
        self.sources: dict[str, Counter[str]] = defaultdict(Counter)
        self.affiliates: dict[str, Counter[str]] = defaultdict(Counter)
        self.products: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, event: Event) -> None:
        self.ids.add(event["event_id"])
        if "action" in event:
            self._view(event, event["action"])
        elif "text" in event:
            self.counts["comments"] += 1
        elif (event["checkout_id"], event["status"]) not in self.checkouts:
            self.checkouts.add((event["checkout_id"], event["status"]))
            self._checkout(event, event["status"])

    def _view(self, event: Event, action: str) -> None:
        name = ACTIONS.get(action)
        if name:
            self.counts[name] += 1
        if action == "like":
            self.counts["likes"] += event.get("count", 1)
        if "watch_ms" in event:
            self.counts["watch_ms"] += event["watch_ms"]
        if "concurrent_viewers" in event:
            self.concurrent.append(event["concurrent_viewers"])
        if action == "enter":
            self.viewers.add(event["viewer_id"])
            self.sources[event.get("source", "unknown")]["views"] += 1
        elif action == "product_click":
            self.sources[event.get("source", "unknown")]["product_clicks"] += 1
            self.products[event["product_id"]]["product_clicks"] += 1
            if "affiliate_id" in event:
                self.affiliates[event["affiliate_id"]]["product_clicks"] += 1

    def _checkout(self, event: Event, status: str) -> None:
        if status in STATUSES:
            self.counts[STATUSES[status]] += 1
        if status == "paid" or (status == "initiated" and event.get("is_cod")):
            self._order(event)

    def _order(self, event: Event) -> None:
        amount = event["amount_minor"]
        self.counts.update(orders_paid=1, gmv=amount, cod_orders=bool(event.get("is_cod")))
        self.buyers.add(event["viewer_id"])
        self.sources[event.get("source", "unknown")].update(orders_paid=1, gmv=amount)
        if "affiliate_id" in event:
            self.affiliates[event["affiliate_id"]].update(orders_paid=1, gmv=amount)
        for item in event["items"]:
            value = item["quantity"] * item["unit_price_minor"]
            self.counts.update(
                items_sold=item["quantity"], item_value=value, local_value=value * bool(item.get("local"))
            )
            self.products[item["product_id"]].update(orders_paid=1, item_value=value)


Windows = dict[tuple[str, int], Window]


def count(messages: list[Message], windows: Windows) -> None:
    for message in messages:
        event = orjson.loads(message.value())  # type: ignore[arg-type] # no tombstones here
        place = event["session_id"], event["event_time"] // MINUTE_MS * MINUTE_MS
        window = windows.get(place)
        if window is None:
            window = windows[place] = Window()
        if event["event_id"] not in window.ids:
            window.add(event)


def main() -> None:
    brokers, group, out, *topics = sys.argv[1:]
    windows: Windows = {}
    follow(brokers, group, topics, lambda messages: count(messages, windows))
    names = ("views", "product_clicks", "comments", "orders_paid", "gmv")
    rows = [
        {"session_id": session, "start": start} | {name: window.counts[name] for name in names}
        for (session, start), window in windows.items()
    ]
    Path(out).write_bytes(orjson.dumps(rows))


if __name__ == "__main__":
    main()
