"""The state as a log: each checkpoint holds what changed, and what was written N checkpoints ago once more.

So the last N checkpoints are always a whole state, no snapshot ever stalls the loop, and what a checkpoint costs is what
has changed. Two sorts of content:

- items: a key and its latest value (a pane, a session); put and drop;
- buckets: a growing set of packed entries (the ids of a pane); chunks are only added, and read as a union.

Order within a checkpoint: drops, puts, additions. A drop is never repeated: any put it must undo is older, and recovery
reads a put only together with everything after it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from stream.core.framing import Found, StateError, checkpoints, cut, framed
from stream.core.steps import Steps, pieces
from stream.core.stored import Section

SECTION: Final = 1000
"""Items encoded in one step."""
NOWHERE: Final = -1
"""Instead of the checkpoint that holds a key: it was dropped."""
CALM: Final = 500
"""Items written again in one checkpoint that are nothing to speak of; above that they are spread."""
_SIZE_BITS: Final = 32


@dataclass(slots=True)
class _Written:
    """What one checkpoint has written, kept until it is its turn to be written again."""

    number: int
    keys: list[bytes] = field(default_factory=list)
    alive: int = 0
    """How many of the keys have been neither written later nor dropped."""
    additions: list[tuple[bytes, bytes]] = field(default_factory=list)


class StateLog:
    """Writes checkpoints; knows what is alive and when it was last written. Values of items are asked for when needed."""

    def __init__(self, span: int) -> None:
        self.span = span
        self.number = 0
        """Of the last checkpoint built."""
        self.size = 0
        """Bytes of all that is alive, as last written."""
        self._ring: dict[int, _Written] = {}
        """By number of the checkpoint, oldest first."""
        self._last: dict[bytes, int] = {}
        """In one number, which takes a third of the memory of two: the checkpoint that wrote it last, and its size."""
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
        value_of: Callable[[bytes], bytes],
    ) -> Steps[list[tuple[bytes, bytes]]]:
        """Keys and values of the records of the next checkpoint. ``value_of`` gives an unchanged item anew."""
        self.number += 1
        written = _Written(self.number)
        for changed in pieces(puts.items()):
            for key, value in changed:
                self._note(written, key, len(value))
            yield
        for again in pieces(self._due()):
            for key in again:
                puts[key] = value_of(key)
                self._note(written, key, len(puts[key]))
            yield
        for addition in additions:
            written.additions.append(addition)
            self._born.setdefault(addition[0], self.number)
            yield
        written.additions += self._due_additions()
        self._append(written)
        run = bytearray()
        for section in self._sections(meta, puts, written.additions):
            run += framed(section)
            yield
        self._drops.clear()
        self._dropped_buckets.clear()
        return (yield from cut(run, self.number, self.span, self._offsets[0][1] if self._offsets else None))

    def _sections(
        self, meta: bytes, puts: dict[bytes, bytes], additions: list[tuple[bytes, bytes]]
    ) -> Iterator[Section]:
        yield Section(meta, list(self._drops), list(self._dropped_buckets))
        for items in pieces(puts.items(), SECTION):
            yield Section(puts=items)
        for addition in additions:
            yield Section(additions=[addition])

    def _append(self, written: _Written) -> None:
        self._ring[written.number] = written
        self.size += sum(len(chunk) for _, chunk in written.additions)

    def _note(self, written: _Written, key: bytes, size: int) -> None:
        self._forget(key)
        self._note_new(written, key, size)

    def _note_new(self, written: _Written, key: bytes, size: int) -> None:
        self._last[key] = written.number << _SIZE_BITS | size
        self.size += size
        written.keys.append(key)
        written.alive += 1

    def _forget(self, key: bytes) -> bool:
        stamp = self._last.pop(key, None)
        if stamp is None:
            return False
        number, size = stamp >> _SIZE_BITS, stamp & (1 << _SIZE_BITS) - 1
        self.size -= size
        if number in self._ring:
            self._ring[number].alive -= 1
        return True

    def _due(self) -> Iterator[bytes]:
        """Keys written N checkpoints ago (or longer ago, after N was made smaller), and some of those due soon.

        Many at once, as after a restart or at the turn of a minute, are so spread over the checkpoints until then.
        """
        number = self._share()
        for written in self._ring.values():
            is_due = written.number <= self.number - self.span
            while written.keys and (is_due or number > 0):
                key = written.keys.pop()
                stamp = self._last.get(key)
                if stamp is not None and stamp >> _SIZE_BITS == written.number:
                    number -= 1
                    yield key
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
            raise StateError("no complete checkpoint")
        for before, after in pairwise(found):
            if after.number != before.number + 1:
                raise StateError(f"checkpoint {before.number + 1} is missing before {after.number}")
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
        content = Restored(checkpoints=len(found))
        settled: dict[bytes, int] = {}
        gone: set[bytes] = set()
        """Buckets that were dropped later."""
        for each in reversed(found):
            drops: list[bytes] = []
            dropped_buckets: list[bytes] = []
            for section in each.sections():
                content.meta = content.meta or section.meta
                fresh = [put for put in section.puts if put[0] not in settled]
                content.items.update(fresh)
                settled.update((key, each.number) for key, _ in fresh)
                self._read_additions(content, each.number, section, gone)
                drops += section.drops
                dropped_buckets += section.dropped_buckets
            for key in drops:  # before what the same checkpoint puts, so only of what is older
                settled.setdefault(key, NOWHERE)
            gone.update(dropped_buckets)
        for key, value in content.items.items():
            self._note_new(self._ring[settled[key]], key, len(value))
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
        for key, stamp in list(self._last.items()):
            self._note(merged, key, stamp & (1 << _SIZE_BITS) - 1)
        self._born = {bucket: merged.number for bucket, _ in merged.additions}
        self._append(merged)
        self._offsets.clear()


@dataclass(slots=True)
class Restored:
    """A whole state: the newest value of each item, all chunks of each bucket, the meta of the newest checkpoint."""

    meta: bytes = b""
    items: dict[bytes, bytes] = field(default_factory=dict)
    buckets: dict[bytes, list[bytes]] = field(default_factory=dict)
    checkpoints: int = 0
