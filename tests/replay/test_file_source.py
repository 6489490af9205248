"""A recording comes in batches as the topics' partitions would hold it."""

from collections import defaultdict

from aiokafka.partitioner import murmur2

from stream.model.messages import Message
from stream.model.names import Kind
from stream.replay.file_source import TURN_MS, batches
from stream.sandbox.traffic import Plan, Traffic
from tests.replay.tools import START, arriving


def test_each_message_is_in_the_partition_of_its_key_and_in_order() -> None:
    messages = Traffic(Plan(rate=800, sessions=30, bad=0.05), START).step(START + 15_000)
    found: defaultdict[tuple[int, Kind], list[tuple[bytes | None, bytes | None, int]]] = defaultdict(list)
    for partition, kind, records in batches(arriving(messages), 3):
        assert records.oldest_ms == min(record.timestamp for record in records)
        found[partition, kind] += [(record.key, record.value, record.timestamp) for record in records]
    expected: defaultdict[tuple[int, Kind], list[tuple[bytes | None, bytes | None, int]]] = defaultdict(list)
    for message in messages:
        place = (murmur2(message.key) & 0x7FFFFFFF) % 3 if message.key else 0
        expected[place, message.kind].append((message.key, message.value, message.at))
    assert found == expected
    assert len(found) == 9


def test_topics_take_turns_so_that_none_runs_hours_ahead() -> None:
    """A quiet recording: a view and a comment each minute. All views at once would be a day ahead of the first comment."""
    hour = 3_600_000
    kinds = (Kind.VIEWS, Kind.COMMENTS)
    messages = [Message(at, kind, b"7", b"", at) for at in range(START, START + hour, 60_000) for kind in kinds]
    newest: dict[Kind, int] = {}
    for _, kind, records in batches(arriving(messages), 1):
        newest[kind] = records[-1].timestamp
        assert max(newest.values()) - min(newest.values()) <= 60_000 + TURN_MS
    assert newest == dict.fromkeys(kinds, START + hour - 60000)
