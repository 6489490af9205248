"""``python -m tests.bench.rivals.faust_agent BROKERS GROUP OUT PARTITIONS TOPIC…``: a Faust agent with a windowed table.

The table lives in memory and has a changelog topic; at least once: a crash counts some events twice. On SIGTERM it
writes its windows to OUT.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import faust
import orjson

MINUTE = 60.0
KEPT = 3600.0
NAMES = ("views", "product_clicks", "comments", "orders_paid", "gmv")


class Event(faust.Record, serializer="json"):  # type: ignore[misc,call-arg] # Faust has no types
    session_id: str
    event_time: int
    action: str | None = None
    text: str | None = None
    status: str | None = None
    amount_minor: int = 0


def app_of(brokers: str, group: str, folder: Path) -> Any:
    return faust.App(
        group,
        broker=f"kafka://{brokers}",
        store="memory://",
        datadir=str(folder / "faust"),
        consumer_auto_offset_reset="earliest",
        producer_linger=0.02,  # three times faster than without
        topic_disable_leader=True,
        table_standby_replicas=0,
        stream_wait_empty=False,
        broker_commit_interval=1.0,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )


def add(counts: dict[str, int], event: Event) -> dict[str, int]:
    if event.action == "enter":
        counts["views"] += 1
    elif event.action == "product_click":
        counts["product_clicks"] += 1
    elif event.text is not None:
        counts["comments"] += 1
    elif event.status == "paid":
        counts["orders_paid"] += 1
        counts["gmv"] += event.amount_minor
    return counts


def define(app: Any, topics: list[str], partitions: int) -> Any:
    """The table; the agent belongs to the app."""
    table = app.Table("windows", default=lambda: dict.fromkeys(NAMES, 0), partitions=partitions)
    windows = table.tumbling(MINUTE, expires=KEPT).relative_to(lambda event: event.value.event_time / 1000)

    @app.agent(app.topic(*topics, key_type=bytes, key_serializer="raw", value_type=Event))  # type: ignore[untyped-decorator] # as above
    async def count(events: Any) -> None:
        async for event in events:
            windows[event.session_id] = add(windows[event.session_id].value(), event)

    return table


def rows(table: Any) -> list[dict[str, Any]]:
    return [
        {"session_id": session, "start": int(start) * 1000} | counts for (session, (start, _)), counts in table.items()
    ]


def main() -> None:
    brokers, group, out, partitions, *topics = sys.argv[1:]
    app = app_of(brokers, group, Path(out).parent)
    table = define(app, topics, int(partitions))

    @app.on_before_shutdown.connect  # type: ignore[untyped-decorator] # as above
    async def write(_sender: Any, **_: Any) -> None:
        Path(out).write_bytes(orjson.dumps(rows(table)))  # noqa: ASYNC240 - nothing else runs any more

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    faust.Worker(app, loop=loop, loglevel="warning").execute_from_commandline()


if __name__ == "__main__":
    main()
