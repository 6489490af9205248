"""A message on its way to Kafka, simulated or recorded."""

from typing import NamedTuple

from stream.model.names import Kind


class Message(NamedTuple):
    """Times in milliseconds since 1970, UTC."""

    at: int
    """When it arrives."""
    kind: Kind
    key: bytes | None
    value: bytes | None
    event_time: int
    fault: str | None = None
    """The reason it will be refused for (or ``tombstone``); None when it is good."""
