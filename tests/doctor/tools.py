"""What the tests of the doctor share: looking at findings, and making the real broker's examples."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from stream.config import Settings
from stream.core.shard import Shard
from stream.doctor.checks import Checks
from stream.doctor.finding import Check, Finding, Severity
from stream.doctor.probes.facts import ClusterFacts, cluster_facts
from stream.kafka import client
from stream.kafka.checkpoint import Checkpoints
from stream.kafka.recovery import recover
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.machines import shard_of
from stream.sessions.role import WORKER
from tests.kafka.tools import everything

SAMPLE = 100


def one(findings: Sequence[Finding], severity: Severity, subject: str = "") -> Finding:
    """The only finding of a severity (and of a subject). Whatever is wrong must say what to do."""
    found = [each for each in findings if each.severity is severity and subject in ("", each.subject)]
    assert len(found) == 1, findings
    assert bool(found[0].todo) or severity in (Severity.OK, Severity.INFO)
    return found[0]


def severities(findings: Sequence[Finding]) -> dict[str, Severity]:
    """By subject; each subject once."""
    found = {each.subject: each.severity for each in findings}
    assert len(found) == len(findings), findings
    return found


@asynccontextmanager
async def checks_of(config: Settings) -> AsyncIterator[tuple[ClusterFacts, Checks]]:
    async with cluster_facts(config, SAMPLE) as made:
        yield made, Checks(made)


async def checked(config: Settings, check: Check) -> list[Finding]:
    async with checks_of(config) as (_, made):
        return await made.run(check)


async def checkpointed(kafka: EmbeddedKafka, config: Settings) -> None:
    """One worker's life on partition 0: it reads what views there are, makes a checkpoint, and is gone."""
    context = ShardContext(config, 0, 1, WORKER)
    found = await recover(context, discard=None, current=lambda: True)
    try:
        await _count(kafka, config, shard_of(found.machine))
        outputs = shard_of(found.machine).collect()
        assert outputs is not None
        checkpoints = Checkpoints(context, found.producer)
        await checkpoints.write(outputs)
        await checkpoints.check_ownership(
            outputs.positions
        )  # it begins when the markers of the first are written: all see it now
    finally:
        await client.end(found.producer)


async def _count(kafka: EmbeddedKafka, config: Settings, shard: Shard) -> None:
    records = await everything(kafka, config.topic(INPUTS[Kind.VIEWS]))
    shard.read(Kind.VIEWS, [record for record in records if record.offset >= shard.positions[Kind.VIEWS]])
