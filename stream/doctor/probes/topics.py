"""Our topics with their settings, and Kafka's own two for groups and transactions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from stream.doctor.probes.facts import ClusterFacts
from stream.doctor.topics import Topic

INTERNAL: Final = ("__consumer_offsets", "__transaction_state")
"""Made when they are first needed; without their copies neither positions nor exactly once are safe."""


async def topics(facts: ClusterFacts) -> list[Topic]:
    """Ours; those missing without settings. Raises KafkaError where settings may not be seen."""
    return await _with_settings(facts, facts.topics)


async def internal(facts: ClusterFacts) -> list[Topic]:
    return await _with_settings(facts, [facts.topic(name) for name in INTERNAL])


async def _with_settings(facts: ClusterFacts, found: Sequence[Topic]) -> list[Topic]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in found if topic.partitions]
    configs: dict[str, dict[str, Any]] = {}
    for response in await facts.admin.describe_configs(resources) if resources else []:
        for code, _message, _type, name, entries in response.resources:
            if code:
                raise for_code(code)(name)
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return [replace(topic, configs=configs.get(topic.name, {})) for topic in found]
