"""Which letters are sent again, and as which records; and why the others are not. Pure.

Only what would be counted is sent: a record that would come back as a dead letter tells nobody anything new.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from aiokafka.partitioner import murmur2

from stream.core.deadletters import DROPPED, ORIGIN, REDRIVES, originals
from stream.core.decode import Rejected
from stream.core.headers import MOST, MOST_BYTES, Header
from stream.dlq.fixes import Fix, FixError, fixed
from stream.dlq.letters import Letter
from stream.dlq.outlook import Clocks, outlook
from stream.dlq.verdict import decoded
from stream.model.names import Kind, Outcome, Reason

OWN_HEADERS: Final = 2
OWN_BYTES: Final = 1024
"""Room for headers of ours beside the original ones, so that these do not become too many by them."""


class Left(StrEnum):
    """Why a letter is not sent again."""

    REDRIVEN = "redriven"
    """It was sent already."""
    LOOP = "loop"
    """It has come back too often."""
    CUT = "cut"
    """The original is not here as a whole."""
    BATCH = "batch"
    TOMBSTONE = "tombstone"
    NO_INPUT = "no_input"
    """It came from a topic that is none of this installation's inputs."""
    UNFIXABLE = "unfixable"
    REFUSED = "refused"
    """A worker would refuse it again, for what it is."""
    FUTURE = "future"
    LATE = "late"
    PANE_GONE = "pane_gone"


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to send. ``outlook``: counted or total_only."""

    letter: Letter
    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]
    outlook: Outcome

    @property
    def timestamp(self) -> int:
        return self.letter.timestamp

    @property
    def size(self) -> int:
        return (
            len(self.key or b"") + len(self.value or b"") + sum(len(name) + len(v or b"") for name, v in self.headers)
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """``detail`` names a field and quotes no value."""

    left: Left
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """What letters are judged by. ``clocks``: by number of the partition."""

    kinds: Mapping[str, Kind]
    """By the inputs' names on the broker."""
    partitions: int
    """Of each input."""
    clocks: Sequence[Clocks]
    fixes: tuple[Fix, ...] = ()
    max_redrives: int = 3

    def judge(self, letter: Letter, now_ms: int) -> Draft | Refusal:
        """``now_ms``: as it would be sent."""
        kind = self.kinds.get(letter.origin.topic)
        if kind is None:
            return Refusal(Left.NO_INPUT)
        if (refusal := self._not_whole(letter)) is not None:
            return refusal
        try:
            key, value = fixed(letter, self.fixes)
        except FixError as error:
            return Refusal(Left.UNFIXABLE, str(error))
        partition = self.place(key, letter.origin.partition)
        clocks = self.clocks[partition]
        draft = Draft(letter, letter.origin.topic, partition, key, value, headers_of(letter), Outcome.COUNTED)
        event = decoded(clocks.policy, kind, _Record(letter.offset, now_ms, key, value, draft.headers))
        if isinstance(event, Rejected):
            return Refusal(Left.REFUSED, f"{event.reason}: {event.detail}")
        if event is None:
            return Refusal(Left.TOMBSTONE)
        found = outlook(clocks, kind, event, now_ms)
        if isinstance(found, Reason):
            return Refusal(Left(found.value))
        return Draft(letter, draft.topic, partition, key, value, draft.headers, found)

    def _not_whole(self, letter: Letter) -> Refusal | None:
        if letter.records is not None:
            return Refusal(Left.BATCH)
        if letter.is_cut:
            return Refusal(Left.CUT)
        if letter.redrives >= self.max_redrives:
            return Refusal(Left.LOOP)
        return None

    def place(self, key: bytes | None, original: int) -> int:
        """By murmur2, as Java clients place it; what has no key goes where it was."""
        return original % self.partitions if not key else (murmur2(key) & 0x7FFFFFFF) % self.partitions


@dataclass(frozen=True, slots=True)
class _Record:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


def headers_of(letter: Letter) -> list[Header]:
    """The original ones, how often it was sent, and where it lay first. Those that were too many stay out."""
    kept = [each for each in originals(letter.headers, MOST_BYTES - OWN_BYTES) if each[0] != DROPPED]
    own = [(REDRIVES, b"%d" % (letter.redrives + 1)), (ORIGIN, letter.own[ORIGIN].encode())]
    return [*kept[: MOST - OWN_HEADERS], *own]


MOST_DETAILS: Final = 100


@dataclass(slots=True)
class Tally:
    """Letters by what becomes of them."""

    meant: int = 0
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Would be, in a dry run: by topic and outlook."""
    left: Counter[str] = field(default_factory=Counter)
    details: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of what is left: by why and detail."""

    def note(self, judged: Draft | Refusal) -> None:
        self.meant += 1
        if isinstance(judged, Draft):
            self.sent[judged.topic, judged.outlook] += 1
            return
        self.left[judged.left] += 1
        key = (judged.left.value, judged.detail)
        if judged.detail and (key in self.details or len(self.details) < MOST_DETAILS):
            self.details[key] += 1
