"""What the Kafka edge tells about being alive and ready. observe/health.py implements it; the edge knows no HTTP."""

from typing import Final, Protocol

STUCK: Final = "stuck"
BROKERS_AWAY: Final = "brokers_away"
CLOCK: Final = "clock"
KEPT_OUT: Final = "kept_out"
COMPANY: Final = "company"
PARTITIONS: Final = "partitions"
TOPICS: Final = "topics"


class Health(Protocol):
    """Called from the event loop. Whether a broker can be reached is none of its business."""

    def beat(self) -> None:
        """The event loop moves; about once a second."""

    def assigned(self, partitions: frozenset[int], kept: frozenset[int] = frozenset()) -> None:
        """The shards of this worker now; those that are not ``kept`` have to recover. None at all is ready too."""

    def recovered(self, partition: int) -> None:
        """A shard is restored and reads."""

    def refused(self, partition: int, text: str) -> None:
        """A shard of ours stays down, until it is told `recovered`; ``text`` says why, and the way out."""

    def waits(self, partition: int, text: str | None, *, fails: bool = False) -> None:
        """A shard of ours begins again and again and cannot go on: it is not being restored, ``text`` says what it waits
        for, or what it ``fails`` at. None: it has gone on, or is somebody else's.
        """

    def unready(self, name: str, text: str) -> None:
        """A reason not to be ready, until it is cleared."""

    def note(self, name: str, text: str | None) -> None:
        """What people should know though the worker is ready; None: it is over."""

    def clear(self, name: str) -> None:
        """The reason is gone."""
