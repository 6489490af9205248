"""Made-up sessions: a topic admits so many, knows so many, and refuses the rest; those it knew before go on."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from stream.sandbox.broker import EmbeddedKafka
from tests.bench.processes import peak_mb, rss_mb
from tests.chaos.judge import differences
from tests.kafka.tools import BASE, view
from tests.live import Outgoing, Worker, create_topics, eventually, send_all
from tests.outputs import Results, Written, newest, read_inputs
from tests.recount import Recounted, Rules, recount

pytestmark = pytest.mark.kafka
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "300ms", "session_timeout": "6s"}
FEW: Final = Rules(max_new_sessions=30, max_sessions=50)
MINUTE: Final = 60_000
STRANGERS: Final = 20_000
HONEST: Final = "honest"
GROWTH_MB: Final = 200.0
"""Ten times what twenty thousand dead letters on their way take."""


def entering(session: str, number: int, at: int) -> Outgoing:
    """A view of a session."""
    return Outgoing("views", session.encode(), view(number, session, event_time=at, event_id=f"{session}/{number}"))


def talking(session: str, number: int, at: int) -> Outgoing:
    event = json.loads(entering(session, number, at).value or b"")
    del event["action"]
    return Outgoing("comments", session.encode(), json.dumps(event | {"text": "halo"}).encode())


def flood(first: int, number: int, at: int) -> Iterator[Outgoing]:
    for each in range(first, first + number):
        yield entering(f"stranger-{each}", each, at)


async def agreed(kafka: EmbeddedKafka, prefix: str, worker: Worker) -> tuple[Recounted, Written]:
    """Once the outputs are what the recount says of the same bounds."""
    records = await read_inputs(kafka.bootstrap, prefix, 1)
    expected = recount(records, FEW)
    async with Results(kafka.bootstrap, prefix, 1) as results:
        found: list[str] = []

        async def equal() -> bool:
            assert worker.child.code is None, worker.child.tail()
            found[:] = differences(records, expected, await results.look(), prefix)
            return not found

        try:
            await eventually("the outputs are those of the recount", equal, every=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: {found[:5]}") from None
        return expected, results.written


def start(kafka: EmbeddedKafka, prefix: str, log: Path) -> Worker:
    few = {"max_new_sessions": str(FEW.max_new_sessions), "max_sessions": str(FEW.max_sessions)}
    return Worker(kafka.bootstrap, prefix, log, **QUICK, **few)


def test_a_flood_of_made_up_sessions_is_refused_and_honest_ones_go_on(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    create_topics(kafka.bootstrap, prefix, 1)
    now = BASE  # long past: the wall clock closes its windows at once
    asyncio.run(send_all(kafka.bootstrap, prefix, 1, [entering(HONEST, 0, now), talking(HONEST, 1, now)]))
    with start(kafka, prefix, tmp_path / "first.log") as worker:
        asyncio.run(agreed(kafka, prefix, worker))
        before = rss_mb(worker.pid)
        strangers = [*flood(0, STRANGERS, now), entering(HONEST, 2, now), talking("another", 3, now)]
        asyncio.run(send_all(kafka.bootstrap, prefix, 1, strangers, together=1000))
        asyncio.run(agreed(kafka, prefix, worker))
        assert peak_mb(worker.pid) - before < GROWTH_MB
        refused = f'liveshop_dead_letters_total{{reason="too_many_sessions",topic="{prefix}live.views"}}'
        worker.shows(
            {
                'liveshop_known_sessions{partition="0",type="views"}': FEW.max_new_sessions,
                'liveshop_known_sessions{partition="0",type="comments"}': 2,
                "liveshop_max_sessions": FEW.max_sessions,
                refused: STRANGERS - FEW.max_new_sessions + 1,
            }
        )
        worker.stop()
    with start(kafka, prefix, tmp_path / "second.log") as worker:  # it knows whom the first one knew
        later = [*flood(0, 40, now), *flood(STRANGERS, 200, now + MINUTE), entering(HONEST, 4, now)]
        asyncio.run(send_all(kafka.bootstrap, prefix, 1, later, together=100))
        expected, written = asyncio.run(agreed(kafka, prefix, worker))
        worker.stop()
    assert Counter(expected.dead.values()).keys() == {"too_many_sessions"}
    assert len(expected.sessions) == FEW.max_sessions + 1
    assert newest(written.sessions[HONEST])["counts"]["views"] == 3
