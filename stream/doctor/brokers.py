"""Whether the brokers answer, of which version they are, and whether their limits allow what a worker asks of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stream.config import Settings
from stream.doctor.finding import Check, Finding, Severity
from stream.kafka.limits import BrokerLimits, problems

RELEASES: Final = {7: "3.3", 8: "3.4", 9: "3.5", 12: "3.6", 15: "3.7", 20: "3.8", 21: "3.9"} | {
    22: "4.0",
    26: "4.1",
    28: "4.2",
    30: "4.3",
}
"""The first level of the feature metadata.version that each release of Kafka knows."""
NEWEST_KNOWN: Final = 30


@dataclass(frozen=True, slots=True)
class Address:
    """One that is configured. ``error`` is empty when a broker answered there."""

    address: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Broker:
    """One that the cluster names. ``level`` is the most metadata.version its software knows, None for none."""

    node: int
    address: str
    error: str = ""
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """``finalized``: the metadata.version that the brokers have agreed on."""

    brokers: Sequence[Broker]
    finalized: int | None = None


def release(level: int | None) -> str:
    """What is known of the version from the metadata.version: the protocol does not tell it in words."""
    if level is None:
        return "before 3.3, or with ZooKeeper (no metadata.version)"
    if level > NEWEST_KNOWN:
        return f"newer than {RELEASES[NEWEST_KNOWN]} (metadata.version {level})"
    known = [RELEASES[first] for first in RELEASES if first <= level]
    return f"{known[-1]} (metadata.version {level})" if known else f"before 3.3 (metadata.version {level})"


def judge_addresses(addresses: Sequence[Address]) -> list[Finding]:
    return [
        Finding(
            Check.BROKERS,
            Severity.ERROR,
            each.address,
            f"this configured address cannot be used: {each.error}",
            "start that broker, or take the address out of --brokers; check name, port, firewall and security settings",
        )
        for each in addresses
        if each.error
    ]


def judge_cluster(cluster: Cluster) -> list[Finding]:
    answering = [broker for broker in cluster.brokers if not broker.error]
    return [_silent(broker) for broker in cluster.brokers if broker.error] + _versions(answering, cluster.finalized)


def judge_limits(settings: Settings, asked: BrokerLimits) -> list[Finding]:
    """``asked``: of the brokers that answer."""
    seen = [node for node, values in asked.items() if values]
    if not seen:
        todo = "grant this user DescribeConfigs on the cluster; a worker is told when a broker refuses it"
        return [Finding(Check.BROKERS, Severity.INFO, "limits", "this user may not see the brokers' settings", todo)]
    found = [
        Finding(Check.BROKERS, Severity.ERROR, each.name, each.what, each.todo) for each in problems(settings, asked)
    ]
    fine = (
        f"those of {len(seen)} brokers allow these settings" if len(seen) > 1 else "the broker's allow these settings"
    )
    return found or [Finding(Check.BROKERS, Severity.OK, "limits", fine)]


def _silent(broker: Broker) -> Finding:
    return Finding(
        Check.BROKERS,
        Severity.ERROR,
        f"broker {broker.node}",
        f"the cluster says it is at {broker.address}, but it does not answer there: {broker.error}",
        "mend its advertised.listeners, or the network between it and here: clients use that address",
    )


def _versions(brokers: Sequence[Broker], finalized: int | None) -> list[Finding]:
    levels = {broker.level for broker in brokers}
    if not levels:
        return []
    if len(levels) > 1:
        which = "; ".join(f"broker {broker.node}: Kafka {release(broker.level)}" for broker in brokers)
        todo = "finish the upgrade: all brokers should run the same version"
        return [Finding(Check.BROKERS, Severity.WARNING, "versions", f"they differ: {which}", todo)]
    (level,) = levels
    said = f"{'the only one answers' if len(brokers) == 1 else f'all {len(brokers)} answer'}, Kafka {release(level)}"
    if level is not None and finalized is not None and finalized < level:
        what = f"{said}, but the cluster keeps to metadata.version {finalized}"
        todo = "when no downgrade is wanted any more: kafka-features.sh upgrade --release-version <version>"
        return [Finding(Check.BROKERS, Severity.INFO, "versions", what, todo)]
    return [Finding(Check.BROKERS, Severity.OK, "brokers", said)]
