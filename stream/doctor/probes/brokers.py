"""Every configured address and every broker that the cluster names is asked by itself."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.doctor.brokers import Address, Broker, Cluster
from stream.doctor.probes.facts import PATIENCE, ClusterFacts
from stream.errors import FailedError, UsageError
from stream.kafka import client, requests

FEATURE: Final = "metadata.version"


async def addresses(settings: Settings) -> Sequence[Address]:
    """Connects to each, all at once, for `PATIENCE` at most."""
    each = (settings.brokers or "").split(",")
    return await asyncio.gather(*(_address(settings, address) for address in each))


async def _address(settings: Settings, address: str) -> Address:
    patience = min(settings.connect_timeout, timedelta(seconds=PATIENCE))
    alone = settings.model_copy(update={"brokers": address, "connect_timeout": patience})
    admin = client.make_admin(alone)
    try:
        await client.start(admin, alone)
    except (FailedError, UsageError) as error:  # the second: a login that is refused
        return Address(address, str(error))
    await client.end(admin)
    return Address(address)


async def cluster(facts: ClusterFacts) -> Cluster:
    found = await asyncio.gather(*(_broker(facts, node) for node in facts.named.brokers))
    finalized = [level for _, level in found if level is not None]
    return Cluster([broker for broker, _ in found], max(finalized, default=None))


async def _broker(facts: ClusterFacts, node: int) -> tuple[Broker, int | None]:
    """A broker, and what it says the cluster has agreed on."""
    address = facts.named.brokers[node]
    try:
        async with asyncio.timeout(PATIENCE):
            features = await requests.features(facts.admin, node)
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        return Broker(node, address, type(error).__name__), None
    return Broker(node, address, level=features.supported.get(FEATURE)), features.finalized.get(FEATURE)
