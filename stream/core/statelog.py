"""The state as a log: each checkpoint holds what changed, and what was written N checkpoints ago once more.

So the last N checkpoints are always a whole state, no snapshot ever stalls the loop, and what a checkpoint costs is what
has changed. Two sorts of content:

- items: a key and its latest value (a pane, a session); put and drop;
- buckets: a growing set of packed entries (the ids of a pane); chunks are only added, and read as a union.

Order within a checkpoint: drops, puts, additions. A drop is never repeated: any put it must undo is older, and recovery
reads a put only together with everything after it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeVar

import msgspec

from stream.core.cooperative import PIECE, Steps
from stream.core.framing import VERSION, Found, StateError, checkpoints, cut, first_part, framed
from stream.core.state_format import Section

SECTION: Final = 250
"""Items encoded in one step."""
NOWHERE: Final = -(2**62)
"""Instead of the number of a checkpoint: in none, or dropped. Before the first there may be others below 0."""
CALM: Final = 500
"""Items written again in one checkpoint that are nothing to speak of; above that they are spread."""


Shape = TypeVar("Shape", bound=msgspec.Struct)


class Provenance(msgspec.Struct):
    """What the meta of every state has, whatever machine it is of: whose it is, and where it stands."""

    owner: dict[str, str]
    policy: dict[str, Any]
    """The settings that decide results."""
    generation: int
    positions: dict[str, int]
    """Next offset to read, by name of the input."""
    transactional_id: str = ""
    """Of the producer that wrote it; empty of a version that did not say."""
    partitions: int | None = None
    """How many there were of each topic: keys are placed by it. None of a version that did not write it."""
    moved_to: str | None = None
    """The prefix of the topics to which what is not counted here was moved: nothing more is counted here."""
    topic_ids: dict[str, str] = {}
    """Kafka's ids of the topics read and written, by their names in the code. Empty of a version that did not ask."""


P = TypeVar("P", bound=Provenance)


class _Item(msgspec.Struct, gc=False):
    """An item that is alive, and as it was last written. One object, however often it is written."""

    key: bytes
    number: int = NOWHERE
    """Of the checkpoint that wrote it last."""
    size: int = 0


@dataclass(slots=True)
class _Written:
    """What one checkpoint has written, kept until it is its turn to be written again."""

    number: int
    items: list[_Item] = field(default_factory=list)
    """Those that have another number by now were written later, or dropped."""
    alive: int = 0
    """How many of them have not."""
    additions: list[tuple[bytes, bytes]] = field(default_factory=list)


class StateLog:
    """Writes checkpoints; knows what is alive and when it was last written. Values of items are asked for when needed."""

    def __init__(self, span: int) -> None:
        self.span = span
        self.version = VERSION
        """In which checkpoints are written."""
        self.number = 0
        """Of the last checkpoint built."""
        self.size = 0
        """Bytes of all that is alive, as last written."""
        self._ring: dict[int, _Written] = {}
        """By number of the checkpoint, oldest first."""
        self._items: dict[bytes, _Item] = {}
        self._born: dict[bytes, int] = {}
        self._drops: dict[bytes, None] = {}
        self._dropped_buckets: dict[bytes, None] = {}
        self._offsets: deque[tuple[int, int]] = deque()

    def drop(self, key: bytes) -> None:
        if self._forget(key):
            self._drops[key] = None

    def drop_bucket(self, bucket: bytes) -> None:
        if self._born.pop(bucket, None) is not None:
            self._dropped_buckets[bucket] = None

    def buckets(self) -> list[bytes]:
        """Those alive."""
        return list(self._born)

    def checkpoint(
        self,
        meta: bytes,
        puts: dict[bytes, bytes],
        additions: Iterable[tuple[bytes, bytes]],
        values_of: Callable[[list[bytes]], list[bytes]],
    ) -> Steps[list[tuple[bytes, bytes]]]:
        """Keys and values of the records of the next checkpoint. ``values_of`` gives unchanged items anew, by their keys.

        It takes everything out of ``puts``, and lets go of it bit by bit: at the turn of a minute that is 20 MB.
        """
        self.number += 1
        written = _Written(self.number)
        content: list[tuple[bytes, bytes]] = []
        while puts:
            changed = [puts.popitem() for _ in range(min(PIECE, len(puts)))]
            self._note(written, [self._item(key) for key, _ in changed], changed)
            content += changed
            yield
        for items in self._due():
            keys = [item.key for item in items]
            again = list(zip(keys, values_of(keys), strict=True))
            self._note(written, items, again)
            content += again
            yield
        for addition in additions:
            written.additions.append(addition)
            self._born.setdefault(addition[0], self.number)
            yield
        written.additions += self._due_additions()
        self._append(written)
        run = bytearray()
        for section in self._sections(meta, content, written.additions):
            run += framed(section)
            yield
        self._drops.clear()
        self._dropped_buckets.clear()
        first = self._offsets[0][1] if self._offsets else None
        return (yield from cut(run, self.version, self.number, self.span, first))

    def _sections(
        self, meta: bytes, content: list[tuple[bytes, bytes]], additions: list[tuple[bytes, bytes]]
    ) -> Iterator[Section]:
        yield Section(meta, list(self._drops), list(self._dropped_buckets))
        while content:
            section = Section(puts=content[-SECTION:])
            del content[-SECTION:]
            yield section
        for addition in additions:
            yield Section(additions=[addition])

    def _append(self, written: _Written) -> None:
        self._ring[written.number] = written
        self.size += sum(len(chunk) for _, chunk in written.additions)

    def _item(self, key: bytes) -> _Item:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(key)
        return item

    def _note(self, written: _Written, items: list[_Item], content: Sequence[tuple[bytes, bytes]]) -> None:
        """Thousands of them at each checkpoint: hence everything in locals."""
        ring, number, size = self._ring, written.number, self.size
        for item, (_, value) in zip(items, content, strict=True):
            older = ring.get(item.number)
            if older is not None:
                older.alive -= 1
            size += len(value) - item.size
            item.number, item.size = number, len(value)
        self.size = size
        written.items += items
        written.alive += len(items)

    def _forget(self, key: bytes) -> bool:
        item = self._items.pop(key, None)
        if item is None:
            return False
        self.size -= item.size
        older = self._ring.get(item.number)
        if older is not None:
            older.alive -= 1
        item.number = NOWHERE
        return True

    def _due(self) -> Iterator[list[_Item]]:
        """Those written N checkpoints ago (or longer ago, after N was made smaller), and some of those due soon.

        Many at once, as after a restart or at the turn of a minute, are so spread over the checkpoints until then.
        """
        number = self._share()
        for written in self._ring.values():
            is_due = written.number <= self.number - self.span
            while written.items and (is_due or number > 0):
                size = PIECE if is_due else min(PIECE, number)
                piece = written.items[-size:]
                del written.items[-size:]
                alive = [item for item in piece if item.number == written.number]
                number -= len(alive)
                if alive:
                    yield alive
            if not is_due and number <= 0:
                return

    def _share(self) -> int:
        """How many to write now, so that no later checkpoint has to write more."""
        most = before = 0
        for written in self._ring.values():
            before += written.alive
            left = max(1, written.number + self.span - self.number + 1)
            most = max(most, (before + left - 1) // left)
        return most if most > CALM else 0

    def _due_additions(self) -> list[tuple[bytes, bytes]]:
        """What was added N checkpoints ago, once more."""
        due = [number for number in self._ring if number <= self.number - self.span]
        return [addition for number in due for addition in self._still_alive(self._ring.pop(number))]

    def _still_alive(self, due: _Written) -> list[tuple[bytes, bytes]]:
        """The due additions, those to one bucket joined, so that a quiet bucket ends in at most N chunks."""
        self.size -= sum(len(chunk) for _, chunk in due.additions)
        joined: dict[bytes, list[bytes]] = {}
        for bucket, chunk in due.additions:
            if self._born.get(bucket, due.number + 1) <= due.number:
                joined.setdefault(bucket, []).append(chunk)
        return [(bucket, b"".join(chunks)) for bucket, chunks in joined.items()]

    def written_in(self, key: bytes) -> str:
        """The checkpoint that wrote an item, for people."""
        item = self._items.get(key)
        offsets = dict(self._offsets)
        if item is None or item.number not in offsets:
            return "an older checkpoint"
        return f"checkpoint {item.number} (from offset {offsets[item.number]} on)"

    def committed(self, number: int, offset: int) -> None:
        """Checkpoint ``number`` is in the log, its first part at ``offset``. The next one needs the last N - 1 of them."""
        self._offsets.append((number, offset))
        while self._offsets[0][0] < number + 1 - self.span + 1 and len(self._offsets) > 1:
            self._offsets.popleft()

    @classmethod
    def restore(cls, records: Iterable[tuple[int, bytes]], span: int) -> "tuple[StateLog, Restored]":
        """From the records (offset, value) that `first_needed` asks for, to the end."""
        log = cls(span)
        found = list(checkpoints(records))
        if not found:
            raise StateError("there is no complete checkpoint")
        for before, after in pairwise(found):
            if after.number != before.number + 1:
                raise StateError(f"checkpoint {before.number + 1} is missing: after {before} comes {after}")
        log.number = found[-1].number
        log._ring = {each.number: _Written(each.number) for each in found}
        content = log._read(found)
        for each in found:
            log.committed(each.number, each.offset)
        if found[-1].span != span:
            log._rewrite_all()
        return log, content

    def _read(self, found: list[Found]) -> "Restored":
        """The newest first: of a key, most of what the older ones hold is out of date, and never looked at."""
        content = Restored(checkpoints=len(found), version=found[-1].version)
        gone: set[bytes] = set()
        gone_buckets: set[bytes] = set()
        for each in reversed(found):
            written = self._ring[each.number]
            dropped: list[bytes] = []
            dropped_buckets: list[bytes] = []
            for section in each.sections():
                content.meta = content.meta or section.meta
                fresh = [put for put in section.puts if put[0] not in content.items and put[0] not in gone]
                content.items.update(fresh)
                self._note(written, [self._item(key) for key, _ in fresh], fresh)
                self._read_additions(content, each.number, section, gone_buckets)
                dropped += section.drops
                dropped_buckets += section.dropped_buckets
            gone.update(dropped)  # before what the same checkpoint puts, so only what is older
            gone_buckets.update(dropped_buckets)
        return content

    def _read_additions(self, content: "Restored", number: int, section: Section, gone: set[bytes]) -> None:
        for bucket, chunk in section.additions:
            self._ring[number].additions.append((bucket, chunk))
            self.size += len(chunk)
            if bucket not in gone:
                content.buckets.setdefault(bucket, []).append(chunk)
                self._born[bucket] = number

    def _rewrite_all(self) -> None:
        """N has changed: the next checkpoint is a whole state and needs no older one, whatever slots it overwrites."""
        merged = _Written(self.number + 1 - self.span)
        for written in self._ring.values():
            merged.additions += self._still_alive(written)
        self._ring.clear()
        merged.items = list(self._items.values())
        merged.alive = len(merged.items)
        for item in merged.items:
            item.number = merged.number
        self._born = {bucket: merged.number for bucket, _ in merged.additions}
        self._append(merged)
        self._offsets.clear()


def newest_provenance(records: Iterable[tuple[int, bytes]], shape: type[P]) -> P:
    """What the last of these checkpoints says of itself, without reading what else it holds. Raises StateError."""
    found = list(checkpoints(records))
    if not found:
        raise StateError("there is no complete checkpoint")
    return _head_of(found[-1]).head(shape)


def provenance_of(value: bytes, offset: int) -> Provenance:
    """What the first part of a checkpoint says of it, whether or not the others are there. Raises StateError."""
    return _head_of(first_part(value, offset)).head(Provenance)


def _head_of(found: Found) -> "Restored":
    return Restored(meta=next(found.sections(), Section()).meta)


@dataclass(slots=True)
class Restored:
    """A whole state: the newest value of each item, all chunks of each bucket, the meta of the newest checkpoint."""

    meta: bytes = b""
    items: dict[bytes, bytes] = field(default_factory=dict)
    buckets: dict[bytes, list[bytes]] = field(default_factory=dict)
    checkpoints: int = 0
    version: int = VERSION
    """Of the newest checkpoint."""

    def head(self, shape: type[Shape]) -> Shape:
        """The meta, read as a shape. Raises StateError."""
        try:
            return msgspec.msgpack.decode(self.meta, type=shape)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise StateError(f"the head of its newest checkpoint cannot be read: {error}") from error
