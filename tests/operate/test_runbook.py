"""The procedures of docs/operate, followed as they are written: each in the situation that it is for."""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from stream.config import Settings
from stream.kafka.shard_context import ShardContext
from stream.model.names import DEAD_LETTERS, INPUTS, SESSIONS, STATE, Kind
from stream.operate import rebuild
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions import topics
from stream.sessions.role import PROMOTING, WORKER
from tests.faults.grown import partition_of
from tests.kafka.tools import damage, delete, everything, headers, make_anew, send, send_batches, views
from tests.live import PROJECT, Worker
from tests.observe.views import logging_restored
from tests.operate.pages import FOLDER, Shell, blocks, to_run
from tests.operate.tools import count, make, totals

PARTITIONS: Final = 2
VIEWS: Final = INPUTS[Kind.VIEWS]
PAGES: Final = (
    "README",
    "upgrade",
    "scaling",
    "lost-state",
    "poisoned-input",
    "brokers",
    "secrets",
    "moving",
    "disaster-recovery",
)
"""Those whose every block is marked. partitions.md has a test of its own; deploy.md is of tests/deploy."""
MARKS: Final = {"run", "parse", "run-on-newer-state", "run-without-input", "run-without-results", "run-anew"}
QUICK: Final = {"idle_after": "1s", "checkpoint_every": "200ms", "session_timeout": "6s", "transaction_timeout": "5s"}


SESSIONS_THERE: Final = tuple(
    next(name for name in (f"s{each}" for each in range(100)) if partition_of(name, PARTITIONS) == number)
    for number in range(PARTITIONS)
)
"""One in each partition, where producers put it."""


# -- the pages


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_whether_it_is_run(page: str) -> None:
    for block in blocks(FOLDER / f"{page}.md"):
        found = [mark for mark in block.marks if mark in MARKS]
        assert (block.language, len(found)) == ("sh", 1), f"{page}.md:{block.line}"
        assert all(mark in MARKS or re.fullmatch(r"exit=\d", mark) for mark in block.marks), f"{page}.md:{block.line}"


DOCUMENTS: Final = sorted([*(PROJECT / "docs").glob("*.md"), *FOLDER.glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        page = (document.parent / name).resolve() if name else document
        assert page.exists(), f"{document.name}: {target}"
        assert not heading or heading in anchors(page), f"{document.name}: {target}"


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def test_the_index_leads_to_every_page() -> None:
    text = (FOLDER / "README.md").read_text()
    assert {page.name for page in FOLDER.glob("*.md")} - {"README.md", "metrics.md"} <= set(
        re.findall(r"[\w-]+\.md", text)
    )


# -- following them


class Installation:
    """Two partitions that have been counted: 60 views of a session in each."""

    def __init__(self, kafka: EmbeddedKafka, prefix: str, folder: Path) -> None:
        self.kafka = kafka
        self.folder = folder
        self.settings: Settings = asyncio.run(self._make(prefix))

    async def _make(self, prefix: str) -> Settings:
        config = await make(self.kafka, prefix, partitions=PARTITIONS)
        for number, session in enumerate(SESSIONS_THERE):
            await send(self.kafka, config.topic(VIEWS), views(range(60), session), number)
            await count(self.kafka, config, number, PARTITIONS)
        return config

    def work(self, flags: list[str]) -> None:
        """A worker as the page starts it, until it is ready."""
        given = {"group": self.settings.group, "topic_prefix": self.settings.topic_prefix}
        while flags and flags[0] in {"--group", "--topic-prefix"}:
            given[flags[0].strip("-").replace("-", "_")] = flags[1]
            flags = flags[2:]
        prefix = given.pop("topic_prefix")
        with Worker(self.kafka.bootstrap, prefix, self.folder / "worker.log", flags=flags, **given, **QUICK) as worker:
            worker.await_ready()
            worker.stop()

    def totals(self, partition: int = 0) -> dict[str, int]:
        return asyncio.run(totals(self.kafka, self.settings, partition))


@pytest.fixture
def installation(kafka: EmbeddedKafka, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    made = Installation(kafka, prefix, tmp_path)
    given = {
        "BROKERS": kafka.bootstrap,
        "TOPIC_PREFIX": prefix,
        "GROUP": made.settings.group,
        "TRANSACTION_TIMEOUT": "5s",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"LIVESHOP_{name}", value)
    return made


Run = Callable[..., list[str]]


@pytest.fixture
def run(installation: Installation, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the blocks of a page that have a mark, in their order. What each printed."""

    def follow(page: str, mark: str = "run", **instead: str) -> list[str]:
        known = {"--partitions 32": f"--partitions {PARTITIONS}"}
        shell = Shell(capsys, known | instead, work=installation.work)
        found = [shell.run(block) for block in to_run(page, mark)]
        assert found, f"{page} has no blocks to {mark}"
        return found

    with logging_restored():
        yield follow


@pytest.mark.kafka
def test_what_is_healthy_is_looked_at_and_scaled(run: Run) -> None:
    doctor, shown = run("README.md")
    assert "errors: 0" in doctor
    assert shown.count(": right") == PARTITIONS
    version, before, after, shown = run("upgrade.md")
    assert "writes format 5, reads 2, 3, 4 and 5, keeps 3, 4 and 5 as found" in version
    assert shown.split()[:3] == ["partition", "generation", "format"]
    assert before.count("exists") == len(PROMOTING.specs)
    assert after.count(": right") == PARTITIONS
    run("scaling.md")
    run("brokers.md")


@pytest.mark.kafka
def test_a_lost_state_is_counted_anew(installation: Installation, run: Run) -> None:
    asyncio.run(delete(installation.settings, STATE))
    asyncio.run(topics.create(installation.settings, None))
    asyncio.run(rebuilt(installation, 1))
    look, made, plan, _, after = run("lost-state.md")
    assert f"partition 0 has no state in {installation.settings.topic(STATE)}, but" in look
    assert made.count("exists") == len(PROMOTING.specs)
    assert "nothing is done without --execute" in plan
    assert after.count(": right") == PARTITIONS


async def rebuilt(installation: Installation, partition: int) -> None:
    """The page is followed for the other one."""
    where = ShardContext(installation.settings, partition, PARTITIONS, WORKER)
    await rebuild.execute(where, await rebuild.plan(where))


@pytest.mark.kafka
def test_a_damaged_batch_is_skipped(installation: Installation, run: Run) -> None:
    asyncio.run(send_batches(installation.kafka, installation.settings, [range(60, 70)]))
    damage(installation.kafka, installation.settings.topic(VIEWS), 60)
    shown, plan, done, after = run("poisoned-input.md", **{"1234": "60", "1733": "69"})
    assert f"{installation.settings.topic(VIEWS)}, partition 0: offsets 60 to 69 cannot be read" in shown
    assert "nothing is done without --execute" in plan
    assert "skipped 10, goes on at 70" in done
    assert "cannot be read" not in after
    (letter,) = asyncio.run(everything(installation.kafka, installation.settings.topic(DEAD_LETTERS)))
    assert headers(letter)["liveshop-detail"].endswith(b": bad disk on kafka-2")


@pytest.mark.kafka
def test_an_input_made_anew_is_read_besides_what_was_counted(installation: Installation, run: Run) -> None:
    asyncio.run(delete(installation.settings, VIEWS))
    made, adopted, _ = run("disaster-recovery.md", "run-without-input")
    assert made.count("created") == 1
    assert "they are adopted in partition 0-1: start the workers" in adopted
    assert installation.totals() == {SESSIONS_THERE[0]: 60}


@pytest.mark.kafka
def test_results_made_anew_are_written_on(installation: Installation, run: Run) -> None:
    asyncio.run(delete(installation.settings, SESSIONS))
    made, adopted = run("disaster-recovery.md", "run-without-results")
    assert made.count("created") == 1
    assert "they are adopted in partition 0-1: start the workers" in adopted


@pytest.mark.kafka
def test_another_prefix_begins_on_empty_topics(installation: Installation, run: Run) -> None:
    asyncio.run(make_anew(installation.settings, VIEWS, STATE, partitions=PARTITIONS))
    other = f"{installation.settings.topic_prefix}b."
    (made,) = run(
        "disaster-recovery.md", "run-anew", **{"--topic-prefix b.": f"--topic-prefix {other}", "liveshop-b": other}
    )
    assert made.count("created") == len(PROMOTING.specs)
    assert installation.totals() == {SESSIONS_THERE[0]: 60}, "what was counted stays where it is"


@pytest.mark.kafka
def test_an_earlier_version_counts_the_state_of_a_newer_one_anew(installation: Installation, run: Run) -> None:
    for number in range(PARTITIONS):
        asyncio.run(
            send(installation.kafka, installation.settings.topic(STATE), [(b"0/0", b"\x06" + bytes(40))], number)
        )
    look, plan = run("upgrade.md", "run-on-newer-state")
    assert look.count("is a state of version 6; this program reads versions 2, 3, 4 and 5") == PARTITIONS
    assert "nothing is done without --execute" in plan
    states = [
        asyncio.run(everything(installation.kafka, installation.settings.topic(STATE), number))
        for number in range(PARTITIONS)
    ]
    assert all(records[-1].value[0] == 5 for records in states)
