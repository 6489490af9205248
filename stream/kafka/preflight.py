"""Before a worker joins its group: could it go on with the states that are there?

To join is to take shards away from healthy workers. One that was started with other settings would take them, refuse
their states, and leave them to be restored. So it compares first: it reads the newest checkpoint of each partition, and
fences nobody.
"""

import asyncio
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.core.framing import StateError
from stream.core.policy import refused_changes
from stream.core.stored import Meta
from stream.kafka import client, refusals, statereader
from stream.kafka.discarded import Discarded, Discards
from stream.kafka.place import Place

log: Final = structlog.get_logger()

Refused = list[tuple[Place, list[tuple[str, object, object]]]]
"""Where a state does not follow our settings, and the changes: setting, its value in the state, ours."""


async def check_states(settings: Settings, partitions: int, discards: Discards) -> None:
    """Raises RefusedError when every state there is would be refused under these settings, or is another's.

    When only some are, the worker joins, and those stay down with a message: the others are worked on. What cannot be
    read is for recovery to tell, and a partition without a state has no settings. States of ``discards`` are to be thrown
    away, and not judged.
    """
    metas = await _newest(settings, partitions, discards)
    foreign = [place for place, meta in metas if meta.owner != place.owner]
    if foreign and len(foreign) == len(metas):
        raise refusals.foreign(foreign[0], metas[0][1].owner)
    ours = settings.policy().deciding()
    refused = [(place, found) for place, meta in metas if (found := refused_changes(meta.policy, ours))]
    if refused and len(refused) == len(metas):
        raise refusals.refused(*refused[0], others=len(refused) - 1)


async def _newest(settings: Settings, partitions: int, discards: Discards) -> list[tuple[Place, Meta]]:
    """What each state that would be continued says of itself. A broker's trouble is no reason not to join."""
    found: list[tuple[Place, Meta]] = []
    places = [Place(settings, number, partitions) for number in range(partitions)]
    reader = client.make_reader(settings, wait_ms=50)
    await client.start(reader, settings)
    try:
        reader.assign([place.state for place in places])
        async with asyncio.timeout(settings.connect_timeout.total_seconds()):
            for place in places:
                newest = await _checkpoint(reader, place)
                if newest is not None and not _is_discarded(newest, discards.get(place.partition)):
                    found.append((place, newest.meta))
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("the settings could not be compared with every state", error=type(error).__name__)
    finally:
        await client.end(reader)
    return found


def _is_discarded(newest: statereader.Newest, discard: Discarded | None) -> bool:
    return discard is not None and discard.holds(newest.offset, newest.meta.generation)


async def _checkpoint(reader: client.Reader, place: Place) -> statereader.Newest | None:
    try:
        return await statereader.newest_checkpoint(reader, place.state)
    except StateError:
        return None
