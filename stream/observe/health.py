"""Whether the worker lives and is ready, for /healthz and /readyz.

Live: the event loop moves; never whether a broker can be reached, since a restart mends no broker. Ready: a member of
the group, every shard of ours restored, and no reason not to be. Written by the event loop, read by the HTTP threads:
every attribute is replaced whole, never changed in place.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from stream.kafka.health import BROKERS_AWAY, KEPT_OUT, PARTITIONS, STUCK, TOPICS
from stream.model.results import Tally
from stream.observe.shares import ExceededShare, SharePolicy, ShareState

STALLED_AFTER: Final = 30.0
"""Seconds without a beat after which the worker is dead."""
STARTING: Final = "starting"
BAD_EVENTS: Final = "bad_events"
RESTORING: Final = "restoring"
WAITING: Final = "waiting"
FAILING: Final = "failing"
REFUSED: Final = "refused"
STALLED: Final = "stalled"
REASONS: Final = (
    *(STARTING, RESTORING, WAITING, FAILING, REFUSED, KEPT_OUT),
    *(BROKERS_AWAY, PARTITIONS, TOPICS, STUCK, BAD_EVENTS, STALLED),
)
"""All there are."""

log: Final = structlog.get_logger(__name__)


async def heartbeat(beat: Callable[[], None], seconds: float) -> None:
    """Until cancelled: says every so often that the event loop moves."""
    while True:
        beat()
        await asyncio.sleep(seconds)


class Health:
    """The Health of stream/kafka/health.py, and what HTTP asks of it. ``clock``: monotonic seconds.

    Reasons have a name, by which they are cleared, and a text for people.
    """

    def __init__(
        self, policy: SharePolicy, *, topic: Callable[[str], str] = str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``topic``: the name on the broker of the topic that the code calls so."""
        self._clock = clock
        self._shares = ShareState(policy, topic)
        self._told: dict[str, ExceededShare] = {}
        """Shares of records above their limits, by key; bad ones are reasons instead."""
        self._beat = clock()
        self._reasons = {STARTING: "the group has not assigned partitions to this worker yet"}
        self._notes: dict[str, str] = {}
        self._recovering: frozenset[int] = frozenset()
        self._refused: dict[int, str] = {}
        self._waiting: dict[int, str] = {}
        self._failing: frozenset[int] = frozenset()
        """Those of ``_waiting`` that fail again and again."""

    # written by the event loop

    def beat(self) -> None:
        """The event loop moves. Call it about once a second; it also judges the shares of records."""
        self._beat = self._clock()
        told = self._shares.judge(self._beat)
        bad = [each.text for each in told if each.is_bad]
        if bad:
            self.unready(BAD_EVENTS, "; ".join(bad))
        else:
            self.clear(BAD_EVENTS)
        self._tell({each.key: each for each in told if not each.is_bad})

    def _tell(self, told: dict[str, ExceededShare]) -> None:
        """Logged when it is new, and when it is over."""
        for key in told.keys() - self._told.keys():
            log.warning(
                "too many records of a topic have this outcome",
                topic=told[key].topic,
                reason=told[key].name,
                detail=told[key].text,
            )
        for key in self._told.keys() - told.keys():
            log.info(
                "few enough records of a topic have this outcome again",
                topic=self._told[key].topic,
                reason=self._told[key].name,
            )
        self._told = told

    def assigned(self, partitions: frozenset[int], kept: frozenset[int] = frozenset()) -> None:
        """The shards of this worker now; those that are not ``kept`` have to recover. None at all is ready too."""
        self._refused = {partition: text for partition, text in self._refused.items() if partition in partitions}
        self._recovering = ((partitions - kept) | (partitions & self._recovering)) - self._refused.keys()
        self.clear(STARTING)

    def recovered(self, partition: int) -> None:
        """A shard is restored and reads."""
        self._recovering -= {partition}
        self._refused = {number: text for number, text in self._refused.items() if number != partition}

    def refused(self, partition: int, text: str) -> None:
        """A shard of ours stays down, until it is told `recovered`. It does not count as recovering."""
        self._recovering -= {partition}
        self._refused = {**self._refused, partition: text}

    def waits(self, partition: int, text: str | None, *, fails: bool = False) -> None:
        """What a shard of ours waits for that cannot go on, or fails at; None: it has. Meanwhile it is not said to be
        restored.
        """
        others = {number: each for number, each in self._waiting.items() if number != partition}
        self._waiting = others if text is None else {**others, partition: text}
        self._failing = self._failing - {partition} | ({partition} if text is not None and fails else set())

    def committed(self, tally: Tally) -> None:
        """A checkpoint's numbers, of which shares are made."""
        self._shares.add(self._clock(), tally)

    def unready(self, name: str, text: str) -> None:
        """A reason not to be ready, until it is cleared. Logged when it is new."""
        if name not in self._reasons:
            log.warning("not ready", reason=name, detail=text)
        self._reasons = {**self._reasons, name: text}

    def note(self, name: str, text: str | None) -> None:
        """What people should know though the worker is ready; None: it is over."""
        others = {key: value for key, value in self._notes.items() if key != name}
        self._notes = others if text is None else {**others, name: text}

    def clear(self, name: str) -> None:
        """The reason is gone; nothing happens when it was not there."""
        if name in self._reasons:
            self._reasons = {key: text for key, text in self._reasons.items() if key != name}
            if self._reasons:
                log.info("still not ready", over=name, reasons=", ".join(self._reasons))
            else:
                log.info("ready", over=name)

    # read by the HTTP threads

    def stalled(self) -> str | None:
        """Why the worker is dead, or None."""
        seconds = self._clock() - self._beat
        return None if seconds < STALLED_AFTER else f"the event loop has not moved for {seconds:.0f} s"

    def readiness(self) -> tuple[list[str], list[str]]:
        """The problems and the notes."""
        return self.problems(), self.notes()

    def reasons(self) -> frozenset[str]:
        """The names of the reasons for which the worker is not ready: of those in docs/operate/readiness.md."""
        waiting = frozenset() if BROKERS_AWAY in self._reasons else frozenset(self._waiting)
        of_shards = {
            RESTORING: self._restored(),
            WAITING: waiting - self._failing,
            FAILING: waiting & self._failing,
            REFUSED: self._refused,
            STALLED: self.stalled(),
        }
        return frozenset(self._reasons) | {reason for reason, found in of_shards.items() if found}

    def _restored(self) -> list[int]:
        """Partitions of which nothing else is to be said than that they are being restored."""
        if BROKERS_AWAY in self._reasons:  # then nothing goes on, and that it does not is no news
            return []
        return sorted(self._recovering - self._waiting.keys())

    def problems(self) -> list[str]:
        """Why the worker is not ready, one line each; empty when it is."""
        waiting = {} if BROKERS_AWAY in self._reasons else self._waiting
        recovering = [f"partition {partition}: its state is being restored" for partition in self._restored()]
        stalled = self.stalled()
        down = [text for _, text in sorted((waiting | self._refused).items())]
        return [*self._reasons.values(), *down, *recovering, *([stalled] if stalled else [])]

    def notes(self) -> list[str]:
        """What people should know though the worker is ready."""
        return [*self._notes.values(), *(told.text for told in self._told.values())]
