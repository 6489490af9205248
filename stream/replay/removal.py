"""Deleting a replay: the topics it has written, and nothing else. That it was there stays known (replay/audit.py)."""

from typing import Final

from aiokafka.errors import for_code

from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.kafka import client
from stream.replay import audit
from stream.replay import plan as plans
from stream.replay.audit import Entry, RunOutcome

_GONE: Final = 3
"""UNKNOWN_TOPIC_OR_PARTITION."""
_MAY_NOT: Final = 29
"""TOPIC_AUTHORIZATION_FAILED."""


async def topics_of(settings: Settings, plan_id: str) -> list[str]:
    """As the broker calls them, sorted. An id has no dot, so what begins with it and a dot is of no other replay."""
    begin = settings.topic(plans.topic_of(plans.check_id(plan_id), ""))
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        return sorted(name for name in await admin.list_topics() if name.startswith(begin))
    finally:
        await client.end(admin)


async def delete(settings: Settings, plan_id: str, by: str) -> list[str]:
    """Deletes them, and says so in its entry, where there is one. The names of those that were there.

    Raises UsageError where this user may not, FailedError for what a broker refuses.
    """
    names = await topics_of(settings, plan_id)
    if names:
        await _delete(settings, names)
    if await audit.find(settings, plan_id) is not None:
        await audit.change(settings, plan_id, lambda entry: _deleted(entry, by))
    return names


def _deleted(entry: Entry | None, by: str) -> Entry:
    if entry is None:
        raise FailedError("its entry was deleted meanwhile")
    return audit.changed(entry, outcome=RunOutcome.DELETED, detail=f"deleted by {by}")


async def _delete(settings: Settings, names: list[str]) -> None:
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        answer = await admin.delete_topics(names)
    finally:
        await client.end(admin)
    for name, code in answer.topic_error_codes:
        if code == _MAY_NOT:
            raise UsageError(f"this user may not delete {name}: docs/security.md has the ACL it needs")
        if code not in {0, _GONE}:
            raise FailedError(f"{name} could not be deleted: {for_code(code).__name__}")
