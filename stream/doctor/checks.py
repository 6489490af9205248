"""All checks of the doctor, in order. A check that cannot be made is a finding, and the others go on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import chain
from typing import Final

import structlog
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from stream.config import Settings
from stream.doctor import brokers, clock, events, group, keys, lag, positions, topics, transactions
from stream.doctor.configuration import judge_configuration
from stream.doctor.finding import Check, Finding, Severity
from stream.doctor.positions import Shard, StateSummary
from stream.doctor.probes import brokers as ask_brokers
from stream.doctor.probes import clock as ask_clock
from stream.doctor.probes import group as ask_group
from stream.doctor.probes import topics as ask_topics
from stream.doctor.probes import transactions as ask_transactions
from stream.doctor.probes.facts import CachedFact, ClusterFacts, cluster_facts
from stream.doctor.probes.records import STAMPED, InputSample, input_samples, lags
from stream.doctor.probes.shards import shards
from stream.doctor.rounded import judge_rounded
from stream.doctor.topic_settings import Needs, judge_settings
from stream.doctor.unreadable import judge_unreadable
from stream.errors import FailedError, UsageError
from stream.kafka import limits, topicids
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, STATE
from stream.printed import command
from stream.sessions.role import SPECS, WORKER

log: Final = structlog.get_logger()

CHECK_SECONDS: Final = 120.0
"""For one check, however many partitions there are. A doctor that hangs says nothing."""
FORBIDDEN: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


class Checks:
    """All checks over the same facts. Each returns its findings, at least one, or raises."""

    def __init__(self, facts: ClusterFacts) -> None:
        self._facts = facts
        self._settings = facts.settings
        self._topics: CachedFact[list[topics.Topic]] = CachedFact(facts, ask_topics.topics)
        self._group: CachedFact[group.Group] = CachedFact(facts, ask_group.group)
        self._shards: CachedFact[list[Shard]] = CachedFact(facts, shards)
        self._input_samples: CachedFact[list[InputSample]] = CachedFact(facts, input_samples)

    @property
    def checks(self) -> Mapping[Check, Callable[[], Awaitable[list[Finding]]]]:
        return {
            Check.BROKERS: self.brokers,
            Check.CLOCK: self.clock,
            Check.TOPICS: self.topics,
            Check.REPLICATION: self.replication,
            Check.SETTINGS: self.settings,
            Check.TRANSACTIONS: self.transactions,
            Check.GROUP: self.group,
            Check.POSITIONS: self.positions,
            Check.LAG: self.lag,
            Check.KEYS: self.keys,
            Check.EVENTS: self.events,
            Check.CONFIGURATION: self.configuration,
        }

    async def run(self, check: Check) -> list[Finding]:
        """One check. What it raises becomes a finding."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await self.checks[check]() or [_nothing(check)]
        except Exception as error:
            log.debug("a check failed", check=check, exc_info=True)
            return [failed(check, error)]

    async def brokers(self) -> list[Finding]:
        cluster = await ask_brokers.cluster(self._facts)
        return brokers.judge_cluster(cluster) + brokers.judge_limits(
            self._settings, await limits.fetch(self._facts.admin)
        )

    async def clock(self) -> list[Finding]:
        """Checks the stamps of records even where this user may not ask the controller."""
        delay = self._settings.delay
        try:
            found = clock.judge_controller(await self._facts.patiently(ask_clock.controller), delay)
        except (KafkaError, OSError) as error:
            found = [failed(Check.CLOCK, error)]
        stamping = {each.name for each in await self._topics() if each.configs.get("message.timestamp.type") == STAMPED}
        stamps = [each.newest for each in await self._input_samples() if each.newest and each.topic in stamping]
        return found + clock.judge_stamps(stamps, delay)

    async def topics(self) -> list[Finding]:
        return topics.judge_presence(self._facts.topics, self._settings, len(self._facts.named.brokers))

    async def replication(self) -> list[Finding]:
        every = [*await self._topics(), *await self._facts.patiently(ask_topics.internal)]
        return topics.judge_replication(every, len(self._facts.named.brokers), self._facts.bootstrap)

    async def settings(self) -> list[Finding]:
        least, trust = self._settings.state_retention, self._settings.trust_producer_time
        needs = [Needs(topic, spec, least, trust) for topic, spec in zip(await self._topics(), SPECS, strict=True)]
        return judge_settings(needs, self._facts.bootstrap)

    async def transactions(self) -> list[Finding]:
        held = await self._facts.patiently(ask_transactions.held)
        return transactions.judge_transactions(held, len(self._facts.partitions), self._facts.bootstrap)

    async def group(self) -> list[Finding]:
        topic = self._facts.topic
        names = [self._settings.topic(name) for name in INPUTS.values()]
        partitions = {name: len(topic(name).partitions) for name in names}
        found = group.judge_group(await self._group(), partitions, command(self._settings, "worker"))
        try:
            return found + group.judge_neighbours(await self._facts.patiently(ask_group.others), names)
        except (KafkaError, OSError) as error:
            return [*found, failed(Check.GROUP, error)]

    async def positions(self) -> list[Finding]:
        owner, state = ShardContext(self._settings, 0, 1, WORKER).owner, self._settings.topic(STATE)
        shards = await self._shards()
        counts = {topic.name: len(topic.partitions) for topic in self._facts.topics if topic.partitions}
        if outgrown := positions.judge_outgrown(shards, counts, self._settings):
            return outgrown
        ids = await self._facts.patiently(lambda facts: topicids.fetch(WORKER, facts.admin, facts.settings))
        others = positions.judge_ids(shards, ids, self._settings)
        return others + positions.judge_positions(shards, owner, state)

    async def lag(self) -> list[Finding]:
        found = await lags(self._facts, await self._shards())
        return lag.judge_lag(found, len((await self._group()).members), self._settings.stuck_after)

    async def keys(self) -> list[Finding]:
        found = await self._input_samples()
        unreadable = [batch for each in found for batch in each.unreadable]
        judged = keys.judge_keys([each.sample for each in found], self._settings.bad_share)
        return [*judge_unreadable(Check.KEYS, unreadable), *judged]

    async def events(self) -> list[Finding]:
        samples: dict[int, list[events.Sampled]] = {}
        for each in await self._input_samples():
            samples.setdefault(each.partition, []).extend(each.events)
        return events.judge_events(samples, self._settings) + judge_rounded(chain.from_iterable(samples.values()))

    async def configuration(self) -> list[Finding]:
        states = {each.partition: each.state for each in await self._shards()}
        stored = {partition: state.policy for partition, state in states.items() if isinstance(state, StateSummary)}
        return judge_configuration(self._settings.policy(), stored)


async def run_checks(settings: Settings, sample: int, say: Callable[[str], None]) -> list[Finding]:
    """All findings, in the order of `Check`. ``say`` is told what is checked now. Raises nothing for what is wrong."""
    say("the configured addresses")
    addresses = await ask_brokers.addresses(settings)
    found = brokers.judge_addresses(addresses)
    answering = ",".join(each.address for each in addresses if not each.error)
    if answering:
        found += await _run_all(settings.model_copy(update={"brokers": answering}), sample, say)
    made = {each.check for each in found}
    return found + [_unmade(check) for check in Check if check not in made]


async def _run_all(settings: Settings, sample: int, say: Callable[[str], None]) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with cluster_facts(settings, sample) as made:
            checks = Checks(made)
            for check in Check:
                say(check)
                found += await checks.run(check)
    except (FailedError, UsageError, KafkaError, OSError) as error:
        found.append(failed(Check.BROKERS, error))
    return found


def failed(check: Check, error: Exception) -> Finding:
    """A check that could not be made: an error, unless this user may not ask, or the broker does not know the question."""
    name = type(error).__name__
    if isinstance(error, FORBIDDEN):
        todo = "grant this user Describe on the cluster, and Describe, DescribeConfigs and Read on the topics and the group"
        return Finding(check, Severity.WARNING, "check", f"could not be made: this user may not ask ({error})", todo)
    if isinstance(error, IncompatibleBrokerVersion):
        todo = "nothing is known to be wrong; newer brokers can tell"
        return Finding(check, Severity.INFO, "check", f"could not be made: {error}", todo)
    what = f"{name}: {error}" if isinstance(error, KafkaError | OSError | FailedError | UsageError) else name
    todo = "try again; if it stays so, the brokers' logs at this time say more, and here --log-level debug"
    return Finding(check, Severity.ERROR, "check", f"could not be made: {what}", todo)


def _nothing(check: Check) -> Finding:
    return Finding(check, Severity.INFO, "check", "nothing to look at yet")


def _unmade(check: Check) -> Finding:
    return Finding(check, Severity.INFO, "check", "not made: no broker answers")
