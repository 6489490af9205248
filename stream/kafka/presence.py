"""Whether a topic is there that must not be taken for empty only because it cannot be read now."""

from collections.abc import Mapping, Sequence
from typing import Any

from stream.config import Settings
from stream.errors import FailedError
from stream.kafka import client
from stream.kafka.requests import is_hidden


async def is_there(settings: Settings, name: str, unknown: str) -> bool:
    """``name`` on the broker. ``unknown``: what is not known without it, for the message.

    Raises FailedError for a topic that cannot be read now.
    """
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        listed = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
        hidden = name not in listed and await is_hidden(admin, name)
    finally:
        await client.end(admin)
    return is_readable(name, listed.get(name), unknown, hidden=hidden)


def is_readable(name: str, partitions: Sequence[Mapping[str, Any]] | None, unknown: str, *, hidden: bool) -> bool:
    """The same, of what a broker says."""
    if hidden:
        raise FailedError(f"this user may not see {name}, {unknown}: docs/security.md has the ACLs it needs")
    if partitions is None:
        return False
    if not partitions or any(each["leader"] < 0 for each in partitions):
        raise FailedError(f"{name} has no leader now, {unknown}: start its brokers, then type the same command again")
    return True
