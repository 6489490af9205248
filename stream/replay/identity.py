"""Which cluster and which topics a plan is of. Its offsets mean nothing in any other, however alike they are named."""

from collections.abc import Mapping
from dataclasses import dataclass

from stream.config import Settings
from stream.core.policy import fingerprint
from stream.errors import UsageError
from stream.kafka import client, topicids
from stream.kafka.client import Admin
from stream.model.names import INPUTS
from stream.replay.plan import Plan
from stream.sessions import topics
from stream.sessions.role import WORKER


@dataclass(frozen=True, slots=True)
class Identity:
    """Of the inputs as they are now."""

    cluster: str
    topic_ids: Mapping[str, str]
    """By the topics' names in the code. Empty where brokers know none (before Kafka 3.1)."""
    partitions: int


async def identity(settings: Settings) -> Identity:
    """Raises UsageError for inputs that are missing or differ in partitions."""
    partitions = await topics.check(settings, tuple(INPUTS.values()))
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        return Identity(await _cluster(admin), await _topic_ids(admin, settings), partitions)
    finally:
        await client.end(admin)


async def _cluster(admin: Admin) -> str:
    return str((await admin.describe_cluster())["cluster_id"])


async def _topic_ids(admin: Admin, settings: Settings) -> dict[str, str]:
    found = await topicids.fetch(WORKER, admin, settings)
    return {name: found[name] for name in INPUTS.values() if name in found}


async def check(plan: Plan, settings: Settings) -> None:
    """That a plan fits what is there now. Raises UsageError in one line that says what differs; reads no record."""
    _check_settings(plan, settings)
    check_identity(plan, settings, await identity(settings))


def _check_settings(plan: Plan, settings: Settings) -> None:
    if plan.topic_prefix != settings.topic_prefix:
        raise UsageError(
            f"the plan {plan.id} is of the topics {plan.topic_prefix!r}, and --topic-prefix is {settings.topic_prefix!r}"
        )
    ours = fingerprint(settings.policy().deciding())
    if plan.live_policy != ours:
        raise UsageError(
            f"the plan {plan.id} was made beside workers with the settings {plan.live_policy}, and these are {ours}: "
            "give the settings of then, or make another plan"
        )


def check_identity(plan: Plan, settings: Settings, now: Identity) -> None:
    """The same, of what was found."""
    if plan.cluster != now.cluster:
        raise UsageError(f"the plan {plan.id} is of the cluster {plan.cluster}, and this is {now.cluster}")
    anew = topicids.made_anew(WORKER, plan.topic_ids, now.topic_ids)
    if anew:
        names = ", ".join(map(settings.topic, anew))
        raise UsageError(f"made anew since the plan {plan.id} was made: {names}. Its offsets are of the topics before")
    if plan.partitions != now.partitions:
        raise UsageError(
            f"the plan {plan.id} is of {plan.partitions} partitions, and there are {now.partitions} now: make another plan"
        )
