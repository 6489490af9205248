"""Deleting dead letters, as far as Kafka can: all of a partition before an offset, and nothing else.

So a filter cannot pick letters out. It says how far may be deleted: from the oldest letter on, for as long as every one is
meant. The first that is not meant stays, and so does all behind it, meant or not.
"""

from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import NodeNotReadyError, TopicAuthorizationFailedError

from stream.config import Settings
from stream.dlq import reading
from stream.dlq.letters import Letter, Selection
from stream.errors import UsageError
from stream.kafka import client
from stream.kafka.retries import BackoffPolicy, retry
from stream.operate.shards import reading as reader_of

AGAIN: Final = BackoffPolicy(first=0.1, most=1.0)


@dataclass(slots=True)
class Cut:
    """Of one partition."""

    topic: str
    partition: int
    before: int
    """Everything below this offset is deleted: the beginning, and then what lies behind the last letter to be deleted."""
    letters: int = 0
    newest: int | None = None
    """When the last of them was written, ms."""
    kept: int = 0
    """Letters that are meant, too, but stand behind one that is not."""
    is_over: bool = False
    """Such a one was found."""

    def add(self, letter: Letter, *, meant: bool) -> None:
        """The next letter of the partition."""
        if not meant and not self.is_over:
            self.is_over = True
        elif meant and self.is_over:
            self.kept += 1
        elif meant:
            self.before = letter.offset + 1
            self.letters += 1
            self.newest = max(self.newest or 0, letter.written)


async def plan(settings: Settings, selection: Selection, found: reading.Found, tell: reading.Tell) -> list[Cut]:
    """What would be deleted, by partition. Reads all there is, and changes nothing.

    ``found`` is told what is no dead letter: such a record below the offset is deleted with the letters.
    """
    partitions = await reading.partitions_of(settings)
    async with reader_of(settings, partitions) as reader:
        ranges = await reading.stretches(reader, partitions, None)
        cuts = [Cut(each.partition.topic, each.partition.partition, each.begin) for each in ranges]
        async for letter in reading.selected(reader, ranges, Selection(), found, tell):
            cuts[letter.partition].add(letter, meant=selection.has(letter))
    return cuts


async def execute(
    settings: Settings, selection: Selection, confirmed: int, found: reading.Found, tell: reading.Tell
) -> list[Cut]:
    """Deletes them for good, if there are as many letters as were confirmed. Else UsageError says how many there are."""
    cuts = await plan(settings, selection, found, tell)
    number = sum(cut.letters for cut in cuts)
    if number != confirmed:
        raise UsageError(
            f"--confirm {confirmed}: there are {number} dead letters to delete now, so nothing was deleted"
        )
    wanted = {TopicPartition(cut.topic, cut.partition): RecordsToDelete(cut.before) for cut in cuts if cut.letters}
    if wanted:
        await _delete(settings, wanted)
    return cuts


async def _delete(settings: Settings, wanted: dict[TopicPartition, RecordsToDelete]) -> None:
    admin = client.make_admin(settings)
    await client.start(admin, settings)
    try:
        await retry(  # it may be asked for twice: the same offsets
            lambda: admin.delete_records(wanted),
            "the deletion of dead letters",
            lambda error: isinstance(error, NodeNotReadyError),
            AGAIN,
            seconds=settings.connect_timeout.total_seconds(),
        )
    except TopicAuthorizationFailedError:
        raise UsageError("this user may not delete dead letters: docs/security.md has the ACL it needs") from None
    finally:
        await client.end(admin)
