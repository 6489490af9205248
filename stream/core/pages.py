"""Sessions at rest: packed, 64 to a page, and compressed, since they are much alike: 20 to 60 bytes each.

A page is never changed, neither in memory nor in the state. Who is taken out of it or let go stays in it as a dead copy:
the index knows better. After a restart a copy is dead when something newer is known of its session: an item of its own, a
page of a higher number, or that it was let go. So a session that comes back costs the state no page. A page of which half
is dead is merged with others like it, and one without a living copy is dropped.
"""

import heapq
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from stream.core.cooperative import Steps, pieces
from stream.core.framing import StateError
from stream.core.hashtable import HashTable
from stream.core.ids import hash_id
from stream.core.state_keys import page_key
from stream.core.statelog import StateLog

PAGE: Final = 64
"""Sessions in a page. To find one of them its whole page is unpacked: 20 us."""
LARGEST: Final = 1024
"""Bytes of a packed session that goes into a page. Of 8 events at most it seldom has more than 300."""

_HEAD: Final = struct.Struct(">HHq")
"""Bytes of the key, bytes of the packed session, when it is let go."""
_OFFSET_BITS: Final = 20
_MOST: Final = 1 << _OFFSET_BITS
"""Bytes of an unpacked page that are never reached."""
_LEVEL: Final = 1
"""Of compression: the highest saves a tenth more, at five times the CPU."""
_NOWHERE: Final = -1
_encode: Final = msgspec.msgpack.Encoder().encode
_page_item: Final = msgspec.msgpack.Decoder(tuple[bool, bytes])


class Resting(NamedTuple):
    """A packed session. ``due``: the watermark at which it is let go, in ms."""

    key: bytes
    due: int
    data: bytes


class _Page:
    __slots__ = ("alive", "data", "incomplete", "number")

    def __init__(self, data: bytes, number: int, *, incomplete: bool = False) -> None:
        self.data = data
        """Compressed."""
        self.number = self.alive = number
        """Of copies: in all, and living ones."""
        self.incomplete = incomplete
        """Offsets were lost since: everybody in it is to be told as incomplete."""


class Pages:
    """Sessions by key. What it gives out is a copy; who is taken out is not in it any more."""

    def __init__(self, size: int = PAGE) -> None:
        self.size = size
        """Of a page, in sessions."""
        self.stale: dict[int, None] = {}
        """Pages whose item in the state is out of date, by number."""
        self.gone: list[int] = []
        """Pages dropped since the last checkpoint."""
        self._pages: dict[int, _Page] = {}
        self._places = HashTable()
        """Of each living copy, by the hash of its key: number of the page and offset in it."""
        self._dues: list[tuple[int, int]] = []
        """When the first of each page is let go, and the page's number: a heap."""
        self._sparse: dict[int, None] = {}
        """Pages of which half is dead."""
        self._next = 0
        self._unpacked: tuple[int, bytes] = (_NOWHERE, b"")
        """The page that was looked into last."""

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return self._places.get(hash_id(key), _NOWHERE) != _NOWHERE

    # -- in and out

    def add(self, sessions: Sequence[Resting]) -> None:
        """As one page. None of them is in a page yet, nor is another of the same hash."""
        run, number = bytearray(), self._next
        self._next += 1
        for each in sessions:
            self._places.put(hash_id(each.key), number << _OFFSET_BITS | len(run))
            run += _HEAD.pack(len(each.key), len(each.data), each.due) + each.key + each.data
        self._pages[number] = _Page(zlib.compress(run, _LEVEL), len(sessions))
        self.stale[number] = None
        heapq.heappush(self._dues, (min(each.due for each in sessions), number))

    def find(self, key: bytes) -> tuple[bytes, bool] | None:
        """A session packed, and whether it is to be told as incomplete. It stays where it is."""
        place = self._places.get(hash_id(key), _NOWHERE)
        if place == _NOWHERE:
            return None
        number, offset = place >> _OFFSET_BITS, place % _MOST
        found, _ = _read(self._open(number), offset)
        return (found.data, self._pages[number].incomplete) if found.key == key else None

    def take(self, key: bytes) -> tuple[bytes, bool] | None:
        """The same, and it is not in here any more."""
        found = self.find(key)
        if found is not None:
            self._remove(hash_id(key))
        return found

    def let_go(self, watermark: int) -> Iterator[Resting]:
        """Those that are due, which are then not in here any more."""
        untold: list[tuple[int, int]] = []
        while self._dues and self._dues[0][0] <= watermark:
            due, number = heapq.heappop(self._dues)
            living = list(self._living(number))
            if living and self._pages[number].incomplete:
                untold.append((due, number))
                continue
            left = [resting.due for _, resting in living if resting.due > watermark]
            if left:
                heapq.heappush(self._dues, (min(left), number))
            for hashed, resting in living:
                if resting.due <= watermark:
                    self._remove(hashed)
                    yield resting
        for each in untold:
            heapq.heappush(self._dues, each)

    def each(self) -> Iterator[tuple[int, Resting, bool]]:
        """All of them: number of the page, and whether it is to be told as incomplete."""
        for number in list(self._pages):
            for _, resting in self._living(number):
                yield number, resting, self._pages[number].incomplete

    def _remove(self, hashed: int) -> None:
        number = self._places.get(hashed, _NOWHERE) >> _OFFSET_BITS
        self._places.remove(hashed)
        page = self._pages[number]
        page.alive -= 1
        if not page.alive:
            self._drop(number)
        elif 2 * page.alive <= page.number:
            self._sparse[number] = None

    def _drop(self, number: int) -> None:
        del self._pages[number]
        self._sparse.pop(number, None)
        self.stale.pop(number, None)
        self.gone.append(number)

    def merge(self) -> bool:
        """Makes one page of several that are half dead. False when there are too few of them."""
        sparse = [number for number in self._sparse if not self._pages[number].incomplete]
        if sum(self._pages[number].alive for number in sparse) < self.size:
            return False
        moving: list[Resting] = []
        for number in sparse:
            if len(moving) < self.size:
                moving += [resting for _, resting in self._living(number)]
                self._drop(number)
        self.add(moving)
        return True

    # -- lost offsets

    def mark_incomplete(self) -> None:
        """Everybody in here is to be told once more."""
        for number, page in self._pages.items():
            page.incomplete = True
            self.stale[number] = None

    def take_incomplete(self) -> list[Resting]:
        """All of one page that is marked; none when no page is."""
        number = next((number for number, page in self._pages.items() if page.incomplete), None)
        if number is None:
            return []
        taken = list(self._living(number))
        for hashed, _ in taken:
            self._remove(hashed)
        return [resting for _, resting in taken]

    # -- the state

    def collect(self, log: StateLog, puts: dict[bytes, bytes]) -> Steps[None]:
        """Adds the items of pages that are out of date in the state, and drops those of pages that are gone."""
        for number in self.gone:
            log.drop(page_key(number))
        for piece in pieces(self.stale):
            puts.update((page_key(number), self.value(number)) for number in piece)
            yield
        self.gone, self.stale = [], {}

    def value(self, number: int) -> bytes:
        """A page's item."""
        page = self._pages[number]
        return _encode((page.incomplete, page.data))

    def restore(self, values: Mapping[int, bytes], is_dead: Callable[[int, Resting], bool]) -> Iterator[Resting]:
        """From the items of all pages; gives each living session. ``is_dead``, asked with the hash of the key, knows of an
        item of its own, or that it was let go. Raises StateError.
        """
        self._next = max(values, default=_NOWHERE) + 1
        for number in sorted(values, reverse=True):
            incomplete, data = _page_item.decode(values[number])
            page = self._pages[number] = _Page(data, 0, incomplete=incomplete)
            dues = []
            for offset, resting in _all(self._open(number)):
                page.number += 1
                hashed = hash_id(resting.key)
                if self._places.get(hashed, _NOWHERE) == _NOWHERE and not is_dead(hashed, resting):
                    self._places.put(hashed, number << _OFFSET_BITS | offset)
                    dues.append(resting.due)
                    yield resting
            page.alive = len(dues)
            if not dues:
                self._drop(number)
                continue
            heapq.heappush(self._dues, (min(dues), number))
            if 2 * page.alive <= page.number:
                self._sparse[number] = None

    # -- inside of a page

    def _open(self, number: int) -> bytes:
        if self._unpacked[0] != number:
            unpacking = zlib.decompressobj()
            try:
                self._unpacked = number, unpacking.decompress(self._pages[number].data, _MOST)
            except zlib.error as error:
                raise StateError(f"a page of sessions cannot be unpacked: {error}") from error
            if not unpacking.eof:
                raise StateError("a page of sessions is cut off, or too large")
        return self._unpacked[1]

    def _living(self, number: int) -> Iterator[tuple[int, Resting]]:
        """Each living copy, with the hash of its key."""
        if number not in self._pages:
            return
        for offset, resting in _all(self._open(number)):
            hashed = hash_id(resting.key)
            if self._places.get(hashed, _NOWHERE) == number << _OFFSET_BITS | offset:
                yield hashed, resting


def _read(run: bytes, offset: int) -> tuple[Resting, int]:
    """What begins there, and where it ends."""
    key, data, due = _HEAD.unpack_from(run, offset)
    begin = offset + _HEAD.size
    end = begin + key + data
    return Resting(run[begin : begin + key], due, run[begin + key : end]), end


def _all(run: bytes) -> Iterator[tuple[int, Resting]]:
    offset = 0
    while offset < len(run):
        resting, end = _read(run, offset)
        yield offset, resting
        offset = end
