"""Real shop traffic through a real Kafka and a real worker, window by window against DuckDB straight from the file.

The mapping of ../shared/data/taobao_userbehavior.csv to live shopping:

| behaviour | becomes |
|---|---|
| pv | two views: enter, and a product_click on the item |
| cart | a view: add_to_cart |
| fav | a view: follow (the nearest thing to keeping in touch) |
| buy | a checkout that is paid, of one item, at a price and in a quantity made from its id |

The session is the category, the viewer the user, and the time the second in the file, which is in order of time.
"""

import asyncio
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pytest

from stream.sandbox import sender
from stream.sandbox.broker import EmbeddedKafka
from tests.live import DATA, Outgoing, Worker, create_topics, eventually, send
from tests.outputs import Results, Value, Written, newest
from tests.recount import unique

FILE: Final = DATA / "taobao_userbehavior.csv"
PARTITIONS: Final = 4
ROWS: Final = 110_300
PATIENCE: Final = 120.0
WINDOWS: Final = (("1m", 60, 60), ("5m", 300, 60))  # name, size, slide: the defaults, in seconds

PRICE: Final = "(item % 97 + 1) * 100000"  # minor units; the same in SQL and in Python
QUANTITY: Final = "(item % 3 + 1)"

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(not FILE.exists(), reason=f"the recorded shop traffic is not here: {FILE}"),
]


def price(item: int) -> int:
    return (item % 97 + 1) * 100_000


def quantity(item: int) -> int:
    return item % 3 + 1


def outgoing() -> Iterator[Outgoing]:
    """The file as events, in its order."""
    with FILE.open() as lines:
        for number, line in enumerate(lines):
            user, item, category, behaviour, seconds = line.split(",")
            yield from events(Row(number, user, int(item), category, behaviour, int(seconds)))


class Row(NamedTuple):
    number: int
    user: str
    item: int
    category: str
    behaviour: str
    seconds: int


def events(row: Row) -> Iterator[Outgoing]:
    number, user, item, category, behaviour, seconds = row

    def event(kind: str, suffix: str = "", **fields: Any) -> Outgoing:
        common = {
            "event_id": f"{number}{suffix}",
            "event_time": seconds * 1000,
            "session_id": category,
            "seller_id": "s1",
            "viewer_id": f"u{user}",
            "platform": "other",
        }
        return Outgoing(kind, category.encode(), json.dumps(common | fields).encode())

    if behaviour == "pv":
        yield event("views", action="enter")
        yield event("views", "c", action="product_click", product_id=str(item))
    elif behaviour == "cart":
        yield event("views", action="add_to_cart", product_id=str(item))
    elif behaviour == "fav":
        yield event("views", action="follow")
    else:
        part = {"product_id": str(item), "quantity": quantity(item), "unit_price_minor": price(item)}
        amount = quantity(item) * price(item)
        order: dict[str, Any] = {
            "checkout_id": f"k{number}",
            "status": "paid",
            "amount_minor": amount,
            "currency": "IDR",
        }
        yield event("checkouts", **order, items=[part])


async def fill(brokers: str, prefix: str) -> int:
    producer = sender.producer(brokers)
    await producer.start()
    sent = 0
    try:
        records = outgoing()
        while chunk := list(islice(records, 20_000)):
            sent += await send(producer, prefix, PARTITIONS, chunk)
    finally:
        await producer.stop()
    return sent


Figures = tuple[int, ...]
"""views, clicks, adds to cart, follows, orders, items sold, item value; then the distinct viewers."""

FIGURES: Final = f"""
    count(*) FILTER (behaviour = 'pv'), count(*) FILTER (behaviour = 'pv'), count(*) FILTER (behaviour = 'cart'),
    count(*) FILTER (behaviour = 'fav'), count(*) FILTER (behaviour = 'buy'),
    coalesce(sum({QUANTITY}) FILTER (behaviour = 'buy'), 0)::BIGINT,
    coalesce(sum({PRICE} * {QUANTITY}) FILTER (behaviour = 'buy'), 0)::BIGINT,
    list(DISTINCT 'u' || who) FILTER (behaviour = 'pv')
"""


class Recount:
    """DuckDB over the file. Keys are those of the topics."""

    def __init__(self) -> None:
        self._db = duckdb.connect()
        self._db.execute("SET threads TO 2")
        self._db.execute(
            "CREATE TABLE log AS SELECT * FROM read_csv(?, header = false, names = "
            "['who', 'item', 'session', 'behaviour', 'second'])",
            [str(FILE)],
        )

    def windows(self, name: str, size: int, slide: int) -> dict[str, tuple[Any, ...]]:
        """``[start, start + size)`` for every start that is a multiple of the slide and holds an event."""
        rows = self._db.execute(
            f"""
            SELECT session || '/{name}/' || (start * 1000), {FIGURES}
            FROM (SELECT *, (second // {slide} - back) * {slide} AS start FROM log, range({size // slide}) AS r(back))
            GROUP BY session, start
            """
        )
        return {row[0]: row[1:] for row in rows.fetchall()}

    def sessions(self) -> dict[str, tuple[Any, ...]]:
        rows = self._db.execute(f"SELECT session::VARCHAR, {FIGURES} FROM log GROUP BY session")
        return {row[0]: row[1:] for row in rows.fetchall()}


def figures_of(value: Value) -> Figures:
    counts = value["counts"]
    names = ("views", "product_clicks", "adds_to_cart", "follows", "orders_paid", "items_sold")
    return (*(counts[name] for name in names), value["item_value_minor"].get("IDR", 0))


def unequal(expected: dict[str, tuple[Any, ...]], found: dict[str, Value]) -> list[str]:
    """What is missing, too much, or different; unique viewers exactly as sketches estimate them."""
    wrong = [f"{key} is missing" for key in expected.keys() - found.keys()]
    wrong += [f"{key} should not be there" for key in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        *figures, viewers = expected[key]
        value = found[key]
        if figures_of(value) != tuple(figures):
            wrong.append(f"{key}: {figures_of(value)} instead of {figures}")
        exact = len(viewers or ())
        if value["unique_viewers"] != unique(viewers or ()) or value["gmv_minor"] != value["item_value_minor"]:
            wrong.append(f"{key}: {value['unique_viewers']} unique viewers of {exact}, gmv {value['gmv_minor']}")
        if abs(value["unique_viewers"] - exact) > 5 * value["unique_error"] * exact + 1:
            wrong.append(f"{key}: {value['unique_viewers']} unique viewers are too far from {exact}")
    return sorted(wrong)


@pytest.mark.timeout(PATIENCE * 2)
def test_every_window_and_total_of_real_traffic_is_what_duckdb_counts(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    sent = asyncio.run(fill(kafka.bootstrap, prefix))
    assert sent == ROWS + 98_361, "every pv is two events"
    recount = Recount()
    expected = {key: row for window in WINDOWS for key, row in recount.windows(*window).items()}
    written = asyncio.run(count(kafka.bootstrap, prefix, tmp_path / "worker.log", len(expected), recount.sessions()))
    assert unequal(expected, last(written.windows))[:20] == []
    assert unequal(recount.sessions(), last(written.sessions))[:20] == []
    assert written.letters == []
    for revisions in (*written.windows.values(), *written.sessions.values()):
        assert [value["revision"] for value in revisions] == list(range(1, len(revisions) + 1))


async def count(brokers: str, prefix: str, log: Path, windows: int, sessions: dict[str, tuple[Any, ...]]) -> Written:
    """A worker at work until so many windows and these totals are there, and all that it wrote until it had left."""
    async with Results(brokers, prefix, PARTITIONS) as results:
        with Worker(brokers, prefix, log, idle_after="1s") as worker:

            async def all_there() -> bool:
                assert worker.child.code is None, worker.child.tail()
                written = await results.look()
                return len(written.windows) >= windows and not unequal(sessions, last(written.sessions))

            await eventually(f"{windows} windows and {len(sessions)} totals", all_there, PATIENCE, every=0.5)
            worker.stop()
        return await results.look()


def last(revisions: dict[str, list[Value]]) -> dict[str, Value]:
    return {key: newest(values) for key, values in revisions.items()}
