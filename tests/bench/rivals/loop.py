"""``python -m tests.bench.rivals.loop BROKERS GROUP OUT TOPIC…``: written by hand, confluent-kafka, orjson and a dict.

As fast as Python gets with little effort, and as careless: what was counted is in memory alone, repeats count twice, and
after a crash some events are counted twice or never. On SIGTERM it writes its windows to OUT.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import orjson
from confluent_kafka import Consumer, Message

MINUTE_MS = 60_000
BATCH = 10_000
VIEWS, CLICKS, COMMENTS, ORDERS, GMV = range(5)
NAMES = ("views", "product_clicks", "comments", "orders_paid", "gmv")

Windows = dict[tuple[str, int], list[int]]


def count(messages: list[Message], windows: Windows) -> None:
    for message in messages:
        event = orjson.loads(message.value())  # type: ignore[arg-type] # no tombstones here
        place = event["session_id"], event["event_time"] // MINUTE_MS * MINUTE_MS
        counts = windows.get(place)
        if counts is None:
            counts = windows[place] = [0] * len(NAMES)
        action = event.get("action")
        if action == "enter":
            counts[VIEWS] += 1
        elif action == "product_click":
            counts[CLICKS] += 1
        elif action is None:
            if "text" in event:
                counts[COMMENTS] += 1
            elif event["status"] == "paid":
                counts[ORDERS] += 1
                counts[GMV] += event["amount_minor"]


def follow(brokers: str, group: str, topics: list[str], take: Callable[[list[Message]], None]) -> None:
    """Batch by batch until SIGTERM."""
    running = True

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 1000,
            "fetch.queue.backoff.ms": 10,  # by default it pauses for a second whenever it has fetched enough
        }
    )
    consumer.subscribe(topics)
    while running:
        take(consumer.consume(BATCH, 0.1))
    consumer.close()


def main() -> None:
    brokers, group, out, *topics = sys.argv[1:]
    windows: Windows = {}
    follow(brokers, group, topics, lambda messages: count(messages, windows))
    rows = [
        {"session_id": session, "start": start} | dict(zip(NAMES, counts, strict=True))
        for (session, start), counts in windows.items()
    ]
    Path(out).write_bytes(orjson.dumps(rows))


if __name__ == "__main__":
    main()
