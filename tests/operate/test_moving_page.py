"""The commands of docs/operate/moving.md, run as they are written, with two clusters."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from stream.model.names import ALERTS, INPUTS, SESSION_WINDOWS, SESSIONS, STATE, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import PROMOTING
from tests.kafka.tools import make_topics, send_views, settings
from tests.live import Worker, wait_for
from tests.observe.views import logging_restored
from tests.operate.mirror import copy_logs, copy_records
from tests.operate.pages import Block, Shell, to_run
from tests.operate.tools import totals

pytestmark = pytest.mark.kafka

PARTITIONS: Final = 2
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "200ms", "session_timeout": "6s", "transaction_timeout": "5s"}
VIEWS: Final = INPUTS[Kind.VIEWS]
PAGE: Final = to_run("moving.md")
SAME, OTHER = PAGE[:4], PAGE[4:]
"""The blocks of the ways with the same offsets, and with others."""


@pytest.fixture(scope="module")
def new(kafka: EmbeddedKafka) -> Iterator[EmbeddedKafka]:
    """The other cluster."""
    assert kafka.running
    with EmbeddedKafka() as made:
        yield made


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


class Move:
    """One installation, on the cluster that it leaves and on the one that it comes to."""

    def __init__(self, old: EmbeddedKafka, new: EmbeddedKafka, prefix: str, folder: Path, shell: Shell) -> None:
        self.kafkas = {"old": old, "new": new}
        self.settings = {name: settings(kafka, prefix) for name, kafka in self.kafkas.items()}
        self.folder = folder
        self.shell = shell

    async def make(self, where: str) -> None:
        await make_topics(self.settings[where], PARTITIONS)

    def send(self, where: str, numbers: range) -> None:
        """Views, of a session in each partition."""

        async def main() -> None:
            for partition in range(PARTITIONS):
                await send_views(self.kafkas[where], self.settings[where], numbers, partition)

        asyncio.run(main())

    def worker(self, where: str, *flags: str) -> Worker:
        config = self.settings[where]
        log = self.folder / f"{where}.log"
        kafka = self.kafkas[where]
        return Worker(kafka.bootstrap, config.topic_prefix, log, flags=flags, group=config.group, **QUICK)

    def worker_of(self, block: Block) -> Worker:
        """The one that the page starts."""
        (command,) = block.commands
        words = self.shell.words(command)
        assert words[:4] == ["liveshop", "worker", "--brokers", self.kafkas["new"].bootstrap]
        return self.worker("new", *words[4:])

    def totals(self, where: str) -> list[dict[str, int]]:
        """Views by session, as live.sessions has them, of each partition."""

        async def main() -> list[dict[str, int]]:
            return [await totals(self.kafkas[where], self.settings[where], number) for number in range(PARTITIONS)]

        return asyncio.run(main())

    def has_counted(self, where: str, number: int) -> bool:
        return self.totals(where) == [{"s1": number}] * PARTITIONS

    def mirror(self, *names: str) -> int:
        """Record by record. Returns how many."""
        old, new = self.kafkas["old"], self.kafkas["new"]
        topics = [self.settings["old"].topic(name) for name in names]

        async def main() -> int:
            return sum([await copy_records(old, new, each, number) for each in topics for number in range(PARTITIONS)])

        return asyncio.run(main())


@pytest.fixture
def move(  # noqa: PLR0917 - fixtures
    kafka: EmbeddedKafka,
    new: EmbeddedKafka,
    prefix: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Move:
    made = Move(
        kafka, new, prefix, tmp_path, Shell(capsys, {"old-1:9092": kafka.bootstrap, "new-1:9092": new.bootstrap})
    )
    monkeypatch.setenv("LIVESHOP_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("LIVESHOP_GROUP", made.settings["old"].group)
    return made


def test_states_go_on_in_a_copy_that_keeps_offsets(move: Move) -> None:
    """Nothing is lost, and nothing is counted twice: totals go on, and ids that were counted are known."""
    show, plan, execute, start = SAME
    asyncio.run(move.make("old"))
    asyncio.run(move.make("new"))
    move.send("old", range(900))
    with move.worker("old") as running:
        wait_for("all are counted", lambda: running.metrics().get("liveshop_views_total") == 1800)
        running.stop()
    assert move.shell.run(show).count(" 0 s") == 6, "nothing waits in any partition of an input"
    move.send("old", range(900, 1000))  # a producer that nobody has stopped
    copy_logs(
        move.kafkas["old"],
        move.kafkas["new"],
        [move.settings["old"].topic(each.name) for each in PROMOTING.specs],
        PARTITIONS,
    )
    with move.worker("new") as refused:
        wait_for("it ends", lambda: refused.child.code is not None)
        assert refused.child.code == 2
        assert (
            f"After a move to another cluster, or when {move.settings['new'].topic(STATE)} was brought back"
            in refused.log.read_text()
        )
        assert "--positions keep --execute" in refused.log.read_text()
    assert "nothing is done without --execute" in move.shell.run(plan)
    done = move.shell.run(execute)
    assert "they are adopted in partition 0-1: start the workers" in done
    assert "partition 1: right" in done
    with move.worker_of(start) as running:
        move.send("new", range(800, 1300))
        wait_for("all are counted", partial(move.has_counted, "new", 1300), every=1)
        running.stop()


def test_what_was_mirrored_record_by_record_is_counted_anew(move: Move) -> None:
    """The state is useless at other offsets, and says so; the results count as ones of an earlier generation."""
    create, show, start = OTHER
    asyncio.run(move.make("old"))
    move.send("old", range(900))
    with move.worker("old") as running:
        wait_for("all are counted", lambda: running.metrics().get("liveshop_views_total") == 1800)
        wait_for("the totals are written", partial(move.has_counted, "old", 900), every=1)
        running.stop()
    said = move.shell.run(create)
    assert said.count("created") == len(PROMOTING.specs), said
    move.shell.run(show)
    copied = move.mirror(VIEWS, SESSION_WINDOWS, SESSIONS, ALERTS)
    assert copied >= 1800
    with move.worker("new") as refused:
        wait_for("its shards are refused", lambda: "it was worked on before" in refused.get("/readyz")[1])
    with move.worker_of(start) as running:
        move.send("new", range(800, 1000))
        wait_for("all are counted", partial(move.has_counted, "new", 1000), every=1)
        running.stop()
