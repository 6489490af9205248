"""Whether the worker lives and is ready, for /healthz and /readyz.

Live: the event loop moves; never whether a broker can be reached, since a restart mends no broker. Ready: a member of
the group, every shard of ours restored, and no reason not to be. Written by the event loop, read by the HTTP threads:
every attribute is replaced whole, never changed in place.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog

from stream.model.results import Tally
from stream.observe.bad_share import BadSharePolicy, BadShareState

STALLED_AFTER: Final = 30.0
"""Seconds without a beat after which the worker is dead."""
STARTING: Final = "starting"
BAD_EVENTS: Final = "bad_events"

log: Final = structlog.get_logger(__name__)


class Health:
    """The Health of stream/kafka/health.py, and what HTTP asks of it. ``clock``: monotonic seconds.

    Reasons have a name, by which they are cleared, and a text for people.
    """

    def __init__(self, policy: BadSharePolicy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bad = BadShareState(policy)
        self._beat = clock()
        self._reasons = {STARTING: "the group has not assigned partitions to this worker yet"}
        self._recovering: frozenset[int] = frozenset()
        self._misplaced = 0

    # written by the event loop

    def beat(self) -> None:
        """The event loop moves. Call it about once a second; it also judges the share of bad events."""
        self._beat = self._clock()
        bad = self._bad.judge(self._beat)
        if bad is not None:
            self.unready(BAD_EVENTS, bad)
        else:
            self.clear(BAD_EVENTS)

    def assigned(self, partitions: frozenset[int], kept: frozenset[int] = frozenset()) -> None:
        """The shards of this worker now; those that are not ``kept`` have to recover. None at all is ready too."""
        self._recovering = (partitions - kept) | (partitions & self._recovering)
        self.clear(STARTING)

    def recovered(self, partition: int) -> None:
        """A shard is restored and reads."""
        self._recovering -= {partition}

    def committed(self, tally: Tally) -> None:
        """A checkpoint's numbers: the share of bad events, and keys on the wrong partition."""
        self._bad.add(self._clock(), tally)
        if tally.misplaced and not self._misplaced:
            log.warning("misplaced keys", detail=_MISPLACED)
        self._misplaced += tally.misplaced

    def unready(self, name: str, text: str) -> None:
        """A reason not to be ready, until it is cleared. Logged when it is new."""
        if name not in self._reasons:
            log.warning("not ready", reason=name, detail=text)
        self._reasons = {**self._reasons, name: text}

    def clear(self, name: str) -> None:
        """The reason is gone; nothing happens when it was not there."""
        if name in self._reasons:
            log.info("no longer a reason not to be ready", reason=name)
            self._reasons = {key: text for key, text in self._reasons.items() if key != name}

    # read by the HTTP threads

    def stalled(self) -> str | None:
        """Why the worker is dead, or None."""
        seconds = self._clock() - self._beat
        return None if seconds < STALLED_AFTER else f"the event loop has not moved for {seconds:.0f} s"

    def readiness(self) -> tuple[list[str], list[str]]:
        """The problems and the notes."""
        return self.problems(), self.notes()

    def problems(self) -> list[str]:
        """Why the worker is not ready, one line each; empty when it is."""
        recovering = [f"partition {partition}: its state is being restored" for partition in sorted(self._recovering)]
        stalled = self.stalled()
        return [*self._reasons.values(), *recovering, *([stalled] if stalled else [])]

    def notes(self) -> list[str]:
        """What people should know though the worker is ready."""
        return [f"{self._misplaced} misplaced sessions: {_MISPLACED}"] if self._misplaced else []


_MISPLACED: Final = (
    "keys lie on another partition than murmur2 puts them; a producer partitions differently (librdkafka: "
    "partitioner=murmur2_random), and the topics of one session no longer meet in one shard"
)
