"""Kafka's ids of our topics. A topic that was deleted and made anew under its name is another one, and has another id.

Each state knows the ids of the topics it was counted from and written to. Positions mean nothing in another topic, however
long it is: so it is refused, by a worker that starts and by one that runs, until somebody says what is to be done. Of dead
letters nobody reads back what was written: when that topic was made anew, it is said, and work goes on.
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import Final

import structlog
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, KafkaTimeoutError, NodeNotReadyError, StaleMetadata

from stream.config import Settings
from stream.kafka import client
from stream.kafka.client import Admin, Reader
from stream.kafka.patches import access
from stream.kafka.requests import TopicMetadata, topic_metadata
from stream.kafka.role import Role

log: Final = structlog.get_logger()

Ids = Mapping[str, str]
"""By the topics' names in the code. An id is written as Kafka's own tools write it."""
Answers = list[dict[str, TopicMetadata]]
"""What each broker that answers says, by names on the broker."""

QUICK_SECONDS: Final = 0.5
ASK_SECONDS: Final = 5.0
"""For all brokers to answer, and for one if none has been quick."""
AGREE_TRIES: Final = 10
AGREE_PAUSE: Final = 0.3
"""Seconds until brokers that do not agree are asked again: one hears of a change before another."""
_NONE: Final = bytes(16)


def as_text(topic_id: bytes) -> str:
    """22 letters."""
    return base64.urlsafe_b64encode(topic_id).decode().rstrip("=")


def as_bytes(topic_id: str) -> bytes:
    return base64.urlsafe_b64decode(topic_id + "==")


# -- asking


async def fetch(role: Role, asker: Admin | Reader, settings: Settings) -> dict[str, str]:
    """Of those of our topics that are there and may be seen. Empty where brokers know no ids (before Kafka 3.1).

    All brokers are asked, and must agree. KafkaError: they do not, or nobody answers.
    """
    for _ in range(AGREE_TRIES):
        try:
            found = agreed(role, settings, await fetch_all(role, asker, settings))
        except IncompatibleBrokerVersion:
            return {}
        if found is not None:
            return found
        await asyncio.sleep(AGREE_PAUSE)
    raise StaleMetadata("the brokers do not agree on the ids of the topics")


async def current(role: Role, settings: Settings) -> dict[str, str]:
    """The same for who has no connection yet. Empty, too, where nobody answers in time."""
    admin = client.make_admin(settings)
    try:
        await client.start(admin, settings)
        return await fetch(role, admin, settings)
    except (KafkaError, OSError) as error:
        log.warning("the ids of the topics are not known yet", error=type(error).__name__)
        return {}
    finally:
        await client.end(admin)


async def fetch_all(role: Role, asker: Admin | Reader, settings: Settings) -> Answers:
    """What each broker says of our topics; none is created by asking. KafkaError when nobody answers.

    When some have answered, the others are not waited for any longer: a machine that is gone answers nobody.
    """
    nodes = access.nodes(asker)
    if not nodes:
        raise NodeNotReadyError("no broker is known")
    names = [settings.topic(name) for name in role.topics]
    asking = [asyncio.ensure_future(topic_metadata(asker, names, node)) for node in nodes]
    try:
        for seconds in (QUICK_SECONDS, ASK_SECONDS):
            done, _ = await asyncio.wait(asking, timeout=seconds)
            if answers := [each.result() for each in done if each.exception() is None]:
                return answers
        raise next(
            (each.exception() or KafkaError() for each in done), KafkaTimeoutError("no broker tells of the topics")
        )
    finally:
        for each in asking:
            each.cancel()


# -- judging


def agreed(role: Role, settings: Settings, answers: Answers) -> dict[str, str] | None:
    """The ids when all say the same, else None."""
    first, *others = ({name: topic.topic_id for name, topic in answer.items()} for answer in answers)
    if any(other != first for other in others):
        return None
    found = {name: first.get(settings.topic(name), _NONE) for name in role.topics}
    return {name: as_text(topic_id) for name, topic_id in found.items() if topic_id != _NONE}


def made_anew(role: Role, known: Ids, now: Ids) -> list[str]:
    """Topics that are others now than those a state knows. One that it does not know, or that is missing, is none."""
    return [name for name in known if name != role.letters and _differs(name, known, now)]


def letters_made_anew(role: Role, known: Ids, now: Ids) -> bool:
    """The same of the topic of dead letters."""
    return role.letters is not None and _differs(role.letters, known, now)


def _differs(name: str, known: Ids, now: Ids) -> bool:
    return name in known and name in now and now[name] != known[name]


def adopted(role: Role, known: Ids, now: Ids) -> dict[str, str]:
    """What a state is to know from now on: of topics that it does not know, and of dead letters, what is there."""
    letters = {name: topic_id for name, topic_id in now.items() if name == role.letters}
    return {**now, **known, **letters}
