"""The records of promotions that wait: for their manifest, then until their session can be replaced.

What strangers may write there is bounded in number, in bytes and in time; what is no promotion is refused, and stops
nothing. All that waits is in the state, record by record, without what was there before (only who takes a promotion back
asks for that).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from stream.core import vetting
from stream.core.figures import NAMES
from stream.core.policy import DAY, HOUR
from stream.core.state_keys import PROMOTION, from_key, in_key
from stream.core.statelog import StateLog
from stream.model import promotions
from stream.model.promotions import NOTHING, AnyRecord, Change, Manifest, Totals, TotalsChange, WindowChange

MOST: Final = 2_000
"""Promotions that wait in one shard."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all that waits in one shard: a long broadcast has 1 MB."""
MANIFEST_MS: Final = HOUR
"""After the first record its manifest has to be there: they are of one transaction."""
FINAL_MS: Final = 7 * DAY
"""So long a promotion waits until the windows of its session are final."""
ACCEPTED: Final = PROMOTION + b"accepted"
"""The item of the state that holds them. All others have 9 bytes."""
_item: Final = msgspec.msgpack.Decoder(tuple[int, bytes, bytes, bytes])
_ids: Final = msgspec.msgpack.Decoder(list[str])
_encode: Final = msgspec.msgpack.Encoder().encode
_value: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Refusal(NamedTuple):
    """Of a promotion, or of a record that is none."""

    offset: int
    key: bytes
    promotion: str
    detail: str


class Needs(NamedTuple):
    """For what a whole promotion waits. Times are event times in ms."""

    final: int
    """The last of its windows begins then: they have to be final."""
    ended: int
    """When the session has ended, by what is promoted."""
    is_whole: bool
    """Its totals can take the place of those of a session that is held."""


class Waiting:
    """One promotion. ``since``: the broker's time of its first record, in ms."""

    __slots__ = (
        *("digests", "key", "manifest", "needs", "offset", "offsets", "promotion", "refused", "since", "size"),
    )

    def __init__(self, key: bytes, promotion: str, offset: int, since: int) -> None:
        self.key = key
        self.promotion = promotion
        self.offset = offset
        """Of its newest record."""
        self.since = since
        self.offsets: list[int] = []
        """Of its changes, which are held."""
        self.digests: list[bytes] = []
        self.size = 0
        self.manifest: Manifest | None = None
        self.needs: Needs | None = None
        """Of a whole one, once it was looked into: that is not done again at each checkpoint."""
        self.refused = ""
        """Why, when it is known before the manifest is there. Nothing of it is held then."""


class WaitingRecords:
    """All of one shard. ``refuse`` hears of what is refused."""

    def __init__(self, refuse: Callable[[Refusal], None]) -> None:
        self._refuse = refuse
        self.open: dict[bytes, Waiting] = {}
        """By session: those whose manifest is not there."""
        self.ready: dict[bytes, deque[Waiting]] = {}
        """By session, in order: those that are whole."""
        self.accepted: set[str] = set()
        """Promotions that were applied before a rebuild."""
        self.newest = 0
        """The broker's time of the newest record."""
        self.size = 0
        """Bytes that are held."""
        self._items: dict[bytes, bytes] = {}
        self._puts: dict[bytes, None] = {}
        self._drops: list[bytes] = []

    def __len__(self) -> int:
        return len(self.open) + sum(map(len, self.ready.values()))

    # -- records come in

    def take(self, offset: int, timestamp: int, key: bytes | None, value: bytes | None) -> None:
        """The next record. A tombstone is nothing."""
        self.newest = max(self.newest, timestamp)
        if value is None:
            return
        try:
            record = promotions.read(value)
        except ValueError as error:
            self._refuse(Refusal(offset, key or b"", "", str(error)[:200]))
            return
        if key != record.session_id.encode():
            self._refuse(Refusal(offset, key or b"", record.promotion, "its key is not its session"))
            return
        if isinstance(record, Manifest):
            self._complete(offset, timestamp, record)
        else:
            self._collect(offset, timestamp, record, promotions.digest(value))

    def _collect(self, offset: int, timestamp: int, change: Change, digest: bytes) -> None:
        waiting = self._opened(change, offset, timestamp)
        if waiting is None or waiting.refused:
            return
        data = promotions.written(_bare(change))
        waiting.refused = _faults(change)
        if self.size + len(data) > MOST_BYTES:
            waiting.refused = f"more than {MOST_BYTES:,} bytes wait here: promote fewer sessions at a time"
        if waiting.refused:
            self._let_go(waiting)
            return
        waiting.offsets.append(offset)
        waiting.digests.append(digest)
        waiting.size += len(data)
        self.size += len(data)
        self._put(offset, _encode((timestamp, waiting.key, digest, data)))

    def _opened(self, record: AnyRecord, offset: int, timestamp: int) -> Waiting | None:
        """The one to which a record belongs; None when there are too many for another one."""
        key = record.session_id.encode()
        waiting = self.open.get(key)
        if waiting is not None and waiting.promotion != record.promotion:
            self._fail(waiting, "another one began before its manifest was there")
            waiting = None
        if waiting is None:
            if len(self) >= MOST:
                too_many = f"{MOST:,} promotions wait here: promote fewer sessions at a time"
                self._refuse(Refusal(offset, key, record.promotion, too_many))
                return None
            waiting = self.open[key] = Waiting(key, record.promotion, offset, timestamp)
        waiting.offset = offset
        return waiting

    def _complete(self, offset: int, timestamp: int, manifest: Manifest) -> None:
        waiting = self._opened(manifest, offset, timestamp)
        if waiting is None:
            return
        fault = waiting.refused or self._fault_of(waiting, manifest)
        if fault:
            self._fail(waiting, fault)
            return
        del self.open[waiting.key]
        if any(other.promotion == waiting.promotion for other in self.ready.get(waiting.key, ())):
            self._let_go(waiting)  # what becomes of the one that waits is told once
            return
        waiting.manifest = manifest
        self.ready.setdefault(waiting.key, deque()).append(waiting)
        self._put(offset, _encode((timestamp, waiting.key, b"", promotions.written(manifest))))

    def _fault_of(self, waiting: Waiting, manifest: Manifest) -> str:
        if manifest.records != len(waiting.digests):
            return f"its manifest says {manifest.records} records, and there are {len(waiting.digests)}"
        if manifest.hash != promotions.hash_of(waiting.digests):
            return "its records are not those of its manifest"
        totals = sum(isinstance(change, TotalsChange) for change in self.changes(waiting))
        return "" if totals == 1 else f"it has the totals {totals} times"

    def expire(self, newest: int | None) -> None:
        """``newest``: the newest clock of the shard. What has waited too long is refused."""
        for waiting in [each for each in self.open.values() if each.since + MANIFEST_MS < self.newest]:
            self._fail(waiting, "its manifest never came")
        late = [each for each in self.whole() if each.since + FINAL_MS < (newest or 0)]
        for waiting in late:
            self.drop(waiting)
            self._refuse(
                Refusal(waiting.offset, waiting.key, waiting.promotion, "its windows were not final for 7 days")
            )

    def whole(self) -> Iterator[Waiting]:
        """Those that have their manifest."""
        for waiting in self.ready.values():
            yield from waiting

    # -- what is in them

    def changes(self, waiting: Waiting) -> Iterator[Change]:
        """In order, without what was before."""
        for offset in waiting.offsets:
            record = promotions.read(_item.decode(self._items[_item_key(offset)])[3])
            assert not isinstance(record, Manifest)  # noqa: S101 - those are not among its offsets
            yield record

    # -- letting go

    def drop(self, waiting: Waiting) -> None:
        """A whole one is done with."""
        line = self.ready[waiting.key]
        line.remove(waiting)
        if not line:
            del self.ready[waiting.key]
        self._let_go(waiting)
        self._remove(_item_key(waiting.offset))
        if waiting.promotion in self.accepted:
            self.accept(self.accepted - {waiting.promotion})

    def _fail(self, waiting: Waiting, detail: str) -> None:
        del self.open[waiting.key]
        self._let_go(waiting)
        self._refuse(Refusal(waiting.offset, waiting.key, waiting.promotion, detail))

    def _let_go(self, waiting: Waiting) -> None:
        for offset in waiting.offsets:
            self._remove(_item_key(offset))
        self.size -= waiting.size
        waiting.size = 0
        waiting.offsets.clear()

    def _remove(self, key: bytes) -> None:
        self._items.pop(key, None)
        self._puts.pop(key, None)
        self._drops.append(key)

    # -- the state

    def accept(self, ids: Iterable[str]) -> None:
        """These are applied without asking."""
        self.accepted = set(ids)
        self._remove(ACCEPTED)
        if self.accepted:
            self._items[ACCEPTED] = _encode(sorted(self.accepted))
            self._puts[ACCEPTED] = None

    def _put(self, offset: int, item: bytes) -> None:
        self._items[_item_key(offset)] = item
        self._puts[_item_key(offset)] = None

    @property
    def waiting_bytes(self) -> int:
        """Of the next checkpoint, about."""
        return sum(len(self._items[key]) for key in self._puts)

    def collect(self, log: StateLog, puts: dict[bytes, bytes]) -> None:
        for key in self._drops:
            log.drop(key)
        puts.update((key, self._items[key]) for key in self._puts)
        self._drops, self._puts = [], {}

    def value(self, key: bytes) -> bytes:
        """Of an item, by its key in the state."""
        return self._items[key]

    def restore(self, items: Mapping[bytes, bytes]) -> None:
        """Raises ValueError for what cannot be read."""
        ours = sorted(key for key in items if key[:1] == PROMOTION)
        for key in ours:
            self._items[key] = items[key]
            if key == ACCEPTED:
                self.accepted = set(_ids.decode(items[key]))
            else:
                self._take_back(from_key(key[1:]), *_item.decode(items[key]))

    def _take_back(self, offset: int, timestamp: int, key: bytes, digest: bytes, data: bytes) -> None:
        record = promotions.read(data)
        self.newest = max(self.newest, timestamp)
        waiting = self.open.get(key)
        if waiting is None:
            waiting = self.open[key] = Waiting(key, record.promotion, offset, timestamp)
        waiting.offset = offset
        if isinstance(record, Manifest):
            waiting.manifest = record
            self.ready.setdefault(key, deque()).append(self.open.pop(key))
        else:
            waiting.offsets.append(offset)
            waiting.digests.append(digest)
            waiting.size += len(data)
            self.size += len(data)


def _item_key(offset: int) -> bytes:
    return PROMOTION + in_key(offset)


def _bare(change: Change) -> Change:
    before: Any = NOTHING if isinstance(change, WindowChange) else Totals()
    return msgspec.structs.replace(change, before=before)


def _faults(change: Change) -> str:
    """What is wrong with it; empty when nothing is."""
    try:
        if isinstance(change, WindowChange):
            _check(change.after, session_id=change.session_id, window=change.window, start=change.start, end=change.end)
        else:
            _check(change.after.value, session_id=change.session_id)
            _check_packed(change.after)
    except ValueError as error:
        return str(error)
    return ""


def _check(value: msgspec.Raw, **expected: Any) -> None:
    if bytes(value) == b"null":
        return
    try:
        fields = _value(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"a value that is no result: {error}") from None
    for name, field in expected.items():
        if name not in fields or msgspec.json.decode(fields[name]) != field:
            raise ValueError(f"a value of another {name}")


def _check_packed(totals: Totals) -> None:
    if not totals.packed:
        return
    if totals.figures != NAMES[: len(totals.figures)]:
        raise ValueError("its totals were packed by another version of liveshop")
    if not vetting.is_packed(totals.packed):
        raise ValueError("its totals cannot be unpacked")


__all__: Sequence[str] = ("ACCEPTED", "Refusal", "Waiting", "WaitingRecords")
