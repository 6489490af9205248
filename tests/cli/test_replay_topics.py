"""``liveshop replay run`` with a plan: several processes, a plan twice, Ctrl-C, a crash; what it says and how it ends."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import TopicPartition

from stream import cli
from stream.children import liveshop
from stream.cli.flags import environment
from stream.config import Settings
from stream.kafka import topics
from stream.model.names import STATE
from stream.operate.shards import reading
from stream.replay import audit
from stream.replay import plan as plans
from stream.replay.plan import Plan
from stream.replay.role import replay_role
from stream.sandbox.broker import EmbeddedKafka
from tests.live import wait_for
from tests.replay.test_planning import make
from tests.replay.test_running import PARTITIONS, fill, own, planned, seen, settings_of, traffic
from tests.support import PATIENCE

kafka_test: Final = pytest.mark.kafka


@pytest.mark.parametrize("speed", ["fast", "0x", "-1x", "1y", "1x1"])
def test_a_speed_is_a_factor(speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["replay", "run", "plan.json", "--brokers=127.0.0.1:1", f"--speed={speed}"])
    assert caught.value.code == 2
    assert "--speed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), ("{}", "no plan of a replay"), ("x", "no plan")]
)
def test_what_is_no_plan_is_refused_before_anything_is_asked(
    content: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as caught:
        cli.main(["replay", "run", str(file), "--brokers=127.0.0.1:1"])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def replay(settings: Settings, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        liveshop("replay", "run", *words),
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def ended(process: "subprocess.Popen[str]", code: int) -> tuple[str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == code, err
    return out, err


def counted(settings: Settings, file: Path, words: Sequence[str] = ()) -> dict[str, Any]:
    out, _ = ended(replay(settings, str(file), "--json", *words), 0)
    found: dict[str, Any] = json.loads(out)
    return found


async def prepared(settings: Settings, **more: Any) -> Plan:
    await make(settings, PARTITIONS)
    await fill(settings, traffic())
    return await planned(settings, **more)


@kafka_test
def test_a_plan_is_run_once_by_several_processes_and_its_numbers_add_up(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    settings, file = settings_of(kafka, prefix), tmp_path / "plan.json"
    plan = asyncio.run(prepared(settings))
    file.write_bytes(plans.written(plan))
    whole = counted(settings, file, ["--workers=2", "--by=ana", "--reason=a wrong rate"])
    assert (whole["id"], whole["outcome"], whole["was_done"]) == ("again", "done", False)
    assert whole["records"] == sum(whole["outcomes"].values()) > 1000
    assert whole["partitions_done"] == list(range(PARTITIONS))
    assert whole["written"]["windows"] > 0
    found = asyncio.run(seen(settings, own(plan)))
    assert whole["written"]["windows"] >= len(found.windows) > 0, "with corrections"
    entry = asyncio.run(audit.require(settings, "again"))
    assert (entry.by, entry.why, entry.outcome, entry.records) == ("ana", "a wrong rate", "done", whole["records"])
    assert entry.plan == plan

    again = counted(settings, file)
    assert (again["was_done"], again["records"]) == (True, 0)
    alone = asyncio.run(planned(settings, id="alone"))
    file.write_bytes(plans.written(alone))
    assert counted(settings, file, ["--workers=1"])["outcomes"] == whole["outcomes"]
    assert asyncio.run(seen(settings, own(alone))).bare == found.bare


@kafka_test
def test_ctrl_c_makes_a_last_checkpoint_and_resume_goes_on(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    settings, file = settings_of(kafka, prefix), tmp_path / "plan.json"
    plan = asyncio.run(prepared(settings))
    file.write_bytes(plans.written(plan))
    process = begun(settings, plan, str(file), "--workers=2")
    process.send_signal(signal.SIGINT)
    out, err = ended(process, 130)
    assert "interrupted" in out
    assert re.search("--resume goes on with again exactly there", err)
    assert asyncio.run(audit.require(settings, "again")).outcome == "interrupted"

    _, err = ended(replay(settings, str(file)), 2)
    assert "--resume" in err
    rest = ended(replay(settings, "again", "--resume", "--json"), 0)[0]
    assert json.loads(rest)["outcome"] == "done"
    smooth = asyncio.run(planned(settings, id="smooth"))
    file.write_bytes(plans.written(smooth))
    whole = counted(settings, file, ["--resume"])
    assert whole["outcome"] == "done", "what was not begun is begun"
    found = asyncio.run(seen(settings, own(plan)))
    assert found.bare == asyncio.run(seen(settings, own(smooth))).bare
    entry = asyncio.run(audit.require(settings, "again"))
    assert (entry.records, entry.counts) == (whole["records"], whole["outcomes"]), "both parts together"


def begun(settings: Settings, plan: Plan, *words: str) -> "subprocess.Popen[str]":
    """A slow run that has written something."""
    process = replay(settings, *words, "--rate=500")

    def look() -> bool:
        assert process.poll() is None, "it has ended before"
        return asyncio.run(_written(settings, plan))

    try:
        wait_for("something of it is written", look, every=0.3)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return process


async def _written(settings: Settings, plan: Plan) -> bool:
    there = {topic.name for topic in await topics.describe(replay_role(plan), settings) if topic.partitions}
    state = [TopicPartition(settings.topic(plan.topic(STATE)), number) for number in range(PARTITIONS)]
    if not {tp.topic for tp in state} <= there:
        return False
    async with reading(settings, state) as reader:
        return all((await reader.end_offsets(state)).values())


@kafka_test
def test_one_that_was_killed_is_gone_on_with(kafka: EmbeddedKafka, prefix: str, tmp_path: Path) -> None:
    settings, file = settings_of(kafka, prefix), tmp_path / "plan.json"
    plan = asyncio.run(prepared(settings))
    file.write_bytes(plans.written(plan))
    process = begun(settings, plan, str(file), "--workers=1")
    process.kill()
    ended(process, -signal.SIGKILL)
    assert asyncio.run(audit.require(settings, "again")).outcome == "running"
    assert counted(settings, file, ["--resume"])["outcome"] == "done"
    smooth = asyncio.run(planned(settings, id="smooth"))
    file.write_bytes(plans.written(smooth))
    counted(settings, file)
    assert asyncio.run(seen(settings, own(plan))).bare == asyncio.run(seen(settings, own(smooth))).bare
