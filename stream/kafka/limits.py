"""Limits of the brokers that our settings must keep. They are asked for before a worker joins its group.

A broker refuses a member or a producer whose setting is beyond its limit, and does not say which limit. So the text for a
refusal is here, too: it names the setting and the limits that it may have passed.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.durations import duration_text
from stream.errors import UsageError
from stream.printed import command
from stream.sources import flag

if TYPE_CHECKING:
    from stream.kafka.patches.admin import Admin

log: Final = structlog.get_logger()

BATCH_LIMIT: Final = "message.max.bytes"
"""Of a broker: what a topic takes that has no max.message.bytes of its own."""
REQUEST_LIMIT: Final = "socket.request.max.bytes"
LEAST_REQUEST: Final = 8 * 1024 * 1024
"""Bytes: a checkpoint may send a batch of each topic at once, one of them a dead letter of 4 MB."""
ASK_SECONDS: Final = 3.0
"""For one broker to answer."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A setting of ours, and the broker's setting that limits it. Both are durations."""

    setting: str
    name: str
    is_most: bool


LIMITS: Final = (
    Limit("session_timeout", "group.max.session.timeout.ms", is_most=True),
    Limit("session_timeout", "group.min.session.timeout.ms", is_most=False),
    Limit("transaction_timeout", "transaction.max.timeout.ms", is_most=True),
)

BrokerLimits = Mapping[int, Mapping[str, int]]
"""The brokers' settings by node. Empty where this user may not see them."""


@dataclass(frozen=True, slots=True)
class Problem:
    """``what`` is wrong with the broker's setting ``name``, and what to do."""

    name: str
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.what}. {self.todo}"


def problems(settings: Settings, asked: BrokerLimits) -> Iterator[Problem]:
    """One for each limit that our settings do not keep. What may not be seen is not judged."""
    for limit in LIMITS:
        strictest = _strictest(asked, limit)
        if strictest is not None and _is_beyond(settings, limit, strictest[1]):
            yield _beyond(settings, limit, *strictest)
    requests = [(values[REQUEST_LIMIT], node) for node, values in asked.items() if REQUEST_LIMIT in values]
    if requests and min(requests)[0] < LEAST_REQUEST:
        least, node = min(requests)
        yield Problem(
            REQUEST_LIMIT,
            f"{REQUEST_LIMIT} of broker {node} is {least}: a checkpoint may be a request of {LEAST_REQUEST} bytes",
            _raise_it(REQUEST_LIMIT, LEAST_REQUEST),
        )


def least_batch(asked: BrokerLimits) -> int | None:
    """The brokers' own limit on a batch, in bytes. None: it may not be seen."""
    return min((values[BATCH_LIMIT] for values in asked.values() if BATCH_LIMIT in values), default=None)


def refused(settings: Settings, setting: str) -> UsageError:
    """A broker has refused a setting of ours, and has not said more."""
    names = [limit.name for limit in LIMITS if limit.setting == setting]
    bound = "between" if len(names) > 1 else "at most"
    return UsageError(
        f"the broker refuses {flag(setting)} {_written(getattr(settings, setting))}: it must be {bound} "
        f"{' and '.join(sorted(names, reverse=True))} of the brokers. Set {flag(setting)} so, or change what the brokers "
        f"allow in server.properties. `{command(settings, 'doctor')}` shows it to whoever may see it"
    )


def _strictest(asked: BrokerLimits, limit: Limit) -> tuple[int, int] | None:
    """Node and value."""
    found = [(values[limit.name], node) for node, values in asked.items() if limit.name in values]
    if not found:
        return None
    value, node = min(found) if limit.is_most else max(found)
    return node, value


def _ms(value: timedelta) -> int:
    return value // timedelta(milliseconds=1)


def _is_beyond(settings: Settings, limit: Limit, value: int) -> bool:
    ours = _ms(getattr(settings, limit.setting))
    return ours > value if limit.is_most else ours < value


def _beyond(settings: Settings, limit: Limit, node: int, value: int) -> Problem:
    ours: timedelta = getattr(settings, limit.setting)
    allowed = timedelta(milliseconds=value)
    words = [flag(limit.setting), _written(allowed)]
    if limit.setting == "session_timeout" and settings.heartbeat_every * 2 > allowed:
        words += [flag("heartbeat_every"), _written(timedelta(milliseconds=max(1, value // 3)))]
    bound = "at most" if limit.is_most else "at least"
    return Problem(
        limit.name,
        f"{flag(limit.setting)} is {_written(ours)}, and {limit.name} of broker {node} is {value}: it takes {bound} "
        f"{_written(allowed)}",
        f"Start with {' '.join(words)}, or: {_raise_it(limit.name, _ms(ours))}",
    )


def _written(value: timedelta) -> str:
    return duration_text(value)


def _raise_it(name: str, value: int) -> str:
    return f"set {name}={value} in server.properties of every broker, and restart them one after another"


async def fetch(admin: "Admin") -> BrokerLimits:
    """The settings of all brokers that answer. Empty ones where this user may not see them, or something goes wrong."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            described = await admin.describe_cluster()
    except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
        log.debug("the brokers could not be asked for their limits", error=type(error).__name__)
        return {}
    nodes = [int(each["node_id"]) for each in described["brokers"]]
    answers = await asyncio.gather(*(_ask(admin, node) for node in nodes))
    return dict(zip(nodes, answers, strict=True))


async def _ask(admin: "Admin", node: int) -> dict[str, int]:
    wanted = dict.fromkeys((*(limit.name for limit in LIMITS), BATCH_LIMIT, REQUEST_LIMIT), "")
    resource = ConfigResource(ConfigResourceType.BROKER, str(node), wanted)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            responses = await admin.describe_configs([resource])
    except (KafkaError, OSError) as error:
        log.debug("a broker could not be asked for its limits", node=node, error=type(error).__name__)
        return {}
    return {name: value for response in responses for name, value in _values(response.resources)}


def _values(resources: Iterable[Any]) -> Iterator[tuple[str, int]]:
    for _code, _message, _type, _name, entries in resources:
        for name, value, *_ in entries:
            if value is not None and value.lstrip("-").isdecimal():
                yield name, int(value)
