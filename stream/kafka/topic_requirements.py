"""Which settings of topics and brokers a worker requires before it starts. Pure: others fetch the settings."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from stream.config import Settings
from stream.core.deadletters import LEAST_LETTER
from stream.errors import UsageError
from stream.kafka import limits
from stream.kafka.limits import BATCH_LIMIT, BrokerLimits
from stream.kafka.role import Role
from stream.kafka.topics import MAX_BYTES, TIMESTAMPS, set_config

MIN_BATCH_BYTES: Final = 1_000_000
"""Of max.message.bytes: the largest record of the state has 900 KB, and a batch of results half a megabyte."""

Configs = Mapping[str, Mapping[str, str]]
"""Settings by topic, as the code calls it. Without settings: this user may not see them."""


def min_batch_bytes(role: Role) -> dict[str, int]:
    """The smallest max.message.bytes of each topic that a worker writes."""
    written = (*(each.topic for each in role.outputs), role.state)
    return {name: LEAST_LETTER if name == role.letters else MIN_BATCH_BYTES for name in written}


def check_configs(
    role: Role, settings: Settings, configs: Configs, brokers: BrokerLimits = MappingProxyType({})
) -> None:
    """Raises UsageError with one line for each topic and each limit that a worker cannot work with, and the way out.

    What may not be seen is not judged: the type of each batch, and the broker when it refuses one, say it later.
    """
    problems = [
        *_stamped_by_producers(role, settings, configs),
        *_too_small(role, settings, configs, limits.least_batch(brokers)),
        *map(str, limits.problems(settings, brokers)),
    ]
    if problems:
        raise UsageError("\n".join(problems))


def _stamped_by_producers(role: Role, settings: Settings, configs: Configs) -> Iterator[str]:
    if settings.trust_producer_time:
        return
    for name in role.input_topics.values():
        if configs.get(name, {}).get(TIMESTAMPS) == "CreateTime":
            topic = settings.topic(name)
            yield (
                f"{topic} has {TIMESTAMPS}=CreateTime: a producer whose clock is ahead would make other events late. "
                f"Let the broker stamp its records: {set_config(settings.brokers, topic, TIMESTAMPS, 'LogAppendTime')} "
                "(those already there become dead letters). Or trust every producer's clock: --trust-producer-time yes"
            )


def _too_small(role: Role, settings: Settings, configs: Configs, brokers: int | None) -> Iterator[str]:
    for name, needed in min_batch_bytes(role).items():
        actual = int(configs.get(name, {}).get(MAX_BYTES, needed))
        if actual < needed:
            yield batch_too_small(role, settings, name, actual, needed, is_brokers=actual == brokers)


def batch_too_small(
    role: Role, settings: Settings, name: str, actual: int | None, needed: int, *, is_brokers: bool = False
) -> str:
    """The message for a topic that does not take a batch of ``needed`` bytes. ``actual``: None when it is not known.

    ``is_brokers``: the limit is the default of the brokers, not a setting of the topic.
    """
    topic = settings.topic(name)
    said = f"does not take a batch of the worker (its {MAX_BYTES} may not be seen)"
    if actual is not None:
        said = f"has {MAX_BYTES}={actual}" + (f" ({BATCH_LIMIT} of the brokers)" if is_brokers else "")
    command = set_config(settings.brokers, topic, MAX_BYTES, str(max(needed, min_batch_bytes(role)[name])))
    return (
        f"{topic} {said}: it must take {needed} bytes. What is set for the topic holds, whatever {BATCH_LIMIT} the brokers "
        f"have: {command}"
    )
