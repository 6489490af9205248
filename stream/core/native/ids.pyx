"""Ids of one topic and pane, 16 bytes each at most while the pane is busy, 8 once it is quiet.

Both forms hold them in order: the array, and the table, in which an id belongs to the slot that its size says (half the
largest id: the middle) and stands there or, pushed on by its neighbours, behind. So a table grows, and is packed, in one
look from its beginning to its end.

Ids come from strangers, who could choose them so that all belong to one slot: they are held multiplied by a number that
is another in each process. Nothing that leaves this module depends on it.
"""

cimport cython
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from stream.core.native.scaling cimport scaled

import numpy as np

cdef uint64_t SALT = <uint64_t><Py_ssize_t>hash("ids") | 1  # odd: no two products are the same; Python's is random
cdef size_t LEAST = 8  # slots of the smallest table, and as many behind them

PIECE = 65_536
"""Slots packed in one step: about 0.2 ms."""


# -- A table. Rule 1: ids are in order, 0 is none. Rule 2: from the slot an id belongs to up to its own there is no empty
# one. Rule 3: the last slot of all is empty, so that every search ends; and so is the one before it, once room was made.

cdef inline uint64_t* place_of(const Table* table, uint64_t mixed) noexcept nogil:
    """Where it is, or would have to be. 0 - 1 is larger than any id - 1: an empty slot ends the search as well."""
    cdef uint64_t* slot = table.slots + scaled(mixed, table.spread)
    while slot[0] - 1 < mixed - 1:
        slot += 1
    return slot


cdef inline bint is_in_table(const Table* table, uint64_t mixed) noexcept nogil:
    return table.slots is not NULL and place_of(table, mixed)[0] == mixed


cdef int lay_out(Table* table, size_t spread, size_t behind) except -1:
    """The same ids over so many slots; more are added ``behind`` where they do not fit."""
    cdef size_t size = spread + behind
    cdef uint64_t* slots = <uint64_t*>calloc(size, sizeof(uint64_t))
    cdef uint64_t mixed
    cdef size_t old, place = 0
    if slots is NULL:
        raise MemoryError
    for old in range(table.size):
        mixed = table.slots[old]
        place = max(place, scaled(mixed, spread))
        if place + 2 >= size:
            free(slots)
            return lay_out(table, spread, 2 * behind)
        slots[place] = mixed
        place += mixed != 0  # no branch: whether a slot is empty cannot be foreseen
    free(table.slots)
    table.slots, table.spread, table.size = slots, spread, size
    return 0


cdef int make_room(Table* table) except -1:
    """For one more. Half again as many slots once 3 of 4 are taken: at no time are there two or more for each id."""
    if table.slots is NULL:
        lay_out(table, LEAST, LEAST)
    elif 4 * table.number >= 3 * table.spread:
        lay_out(table, table.spread + table.spread // 2, table.size - table.spread)
    elif table.slots[table.size - 2]:
        lay_out(table, table.spread, 2 * (table.size - table.spread))
    return 0


cdef inline void put(Table* table, uint64_t* slot, uint64_t mixed) noexcept nogil:
    """One that is not in it, where `place_of` says, room made; those above it in the way move on by one."""
    cdef uint64_t moved
    while mixed:
        moved, slot[0] = slot[0], mixed
        mixed = moved
        slot += 1
    table.number += 1


cdef void clear(Table* table) noexcept:
    free(table.slots)
    table.slots, table.number, table.spread, table.size = NULL, 0, 0, 0


cdef bint is_in_array(const uint64_t* ordered, size_t number, uint64_t mixed) noexcept nogil:
    cdef size_t half
    while number > 1:
        half = number // 2
        if ordered[half] <= mixed:
            ordered += half
        number -= half
    return number == 1 and ordered[0] == mixed


@cython.final
cdef class IdSet:
    """As stream.core.pure.ids.IdSet."""

    def __dealloc__(self):
        clear(&self.live)
        clear(&self.freezing)
        free(self.frozen)
        free(self.merged)
        free(self.fresh_ids)

    def __contains__(self, uint64_t hashed):
        return self.has(hashed)

    def __len__(self):
        return self.live.number + self.freezing.number + self.frozen_number + self.nought

    def __sizeof__(self):
        cdef size_t numbers = self.live.size + self.freezing.size + self.frozen_number + self.fresh_room
        return object.__sizeof__(self) + numbers * sizeof(uint64_t)

    @property
    def busy(self):
        """How many are not frozen, nor about to be."""
        return self.live.number

    cpdef bint note(self, uint64_t hashed) except -1:
        """True when it is new."""
        cdef uint64_t mixed = hashed * SALT
        cdef uint64_t* slot
        if not mixed:
            return self._note_nought()
        make_room(&self.live)
        slot = place_of(&self.live, mixed)
        if slot[0] == mixed or self._is_apart(mixed):
            return False
        self._freshen(hashed)
        put(&self.live, slot, mixed)
        return True

    cdef bint _note_nought(self) except -1:
        if self.nought:
            return False
        self._freshen(0)
        self.nought = True
        return True

    cdef bint has(self, uint64_t hashed) noexcept:
        cdef uint64_t mixed = hashed * SALT
        if not mixed:
            return self.nought
        return is_in_table(&self.live, mixed) or self._is_apart(mixed)

    cdef bint _is_apart(self, uint64_t mixed) noexcept:
        return is_in_table(&self.freezing, mixed) or is_in_array(self.frozen, self.frozen_number, mixed)

    # -- fresh

    cdef int _freshen(self, uint64_t hashed) except -1:
        cdef size_t room = self.fresh_room
        cdef uint64_t* more
        if self.fresh_number == room:
            room = 2 * room or LEAST
            more = <uint64_t*>realloc(self.fresh_ids, room * sizeof(uint64_t))
            if more is NULL:
                raise MemoryError
            self.fresh_ids, self.fresh_room = more, room
        self.fresh_ids[self.fresh_number] = hashed
        self.fresh_number += 1
        return 0

    @property
    def fresh(self):
        """Is there anything for `take_fresh`?"""
        return self.fresh_number > 0

    def take_fresh(self):
        """What was noted since the last call, in order, 8 bytes each."""
        cdef bytes taken = (<char*>self.fresh_ids)[:self.fresh_number * sizeof(uint64_t)] if self.fresh_number else b""
        free(self.fresh_ids)
        self.fresh_ids, self.fresh_number, self.fresh_room = NULL, 0, 0
        return taken

    # -- freezing

    def freeze(self):
        """Packs the set; ids that come later, or between two steps, are in a new one. Found throughout."""
        cdef size_t slots = PIECE
        while self._freeze_more(slots):  # left unfinished by somebody
            yield
        if self.live.number:
            self._begin_freezing()
            while self._freeze_more(slots):
                yield

    cdef int _begin_freezing(self) except -1:
        cdef size_t number = self.live.number + self.frozen_number
        self.merged = <uint64_t*>malloc(number * sizeof(uint64_t))
        if self.merged is NULL:
            raise MemoryError
        self.freezing = self.live
        self.live.slots = NULL
        clear(&self.live)
        self.thawed = self.frozen_merged = self.merged_number = 0
        return 0

    cdef bint _freeze_more(self, size_t slots) noexcept:
        """Merges more of the table with the array. False: there is nothing left to do."""
        cdef size_t until = min(self.freezing.size, self.thawed + slots)
        cdef uint64_t mixed
        if self.freezing.slots is NULL:
            return False
        while self.thawed < until:
            mixed = self.freezing.slots[self.thawed]
            self.thawed += 1
            if mixed:
                self._merge_below(mixed)
                self.merged[self.merged_number] = mixed
                self.merged_number += 1
        if self.thawed < self.freezing.size:
            return True
        self._end_freezing()
        return False

    cdef void _merge_below(self, uint64_t mixed) noexcept:
        while self.frozen_merged < self.frozen_number and self.frozen[self.frozen_merged] < mixed:
            self.merged[self.merged_number] = self.frozen[self.frozen_merged]
            self.merged_number += 1
            self.frozen_merged += 1

    cdef void _end_freezing(self) noexcept:
        cdef size_t rest = self.frozen_number - self.frozen_merged
        if rest:
            memcpy(self.merged + self.merged_number, self.frozen + self.frozen_merged, rest * sizeof(uint64_t))
        free(self.frozen)
        self.frozen, self.frozen_number = self.merged, self.merged_number + rest
        self.merged = NULL
        clear(&self.freezing)

    def restore(self, chunks):
        """From what `take_fresh` gave, in place of what was frozen."""
        mixed = np.frombuffer(b"".join(chunks), np.uint64) * np.uint64(SALT)
        mixed.sort()
        cdef const uint64_t[::1] ordered = mixed
        cdef uint64_t* frozen = <uint64_t*>malloc((ordered.shape[0] or 1) * sizeof(uint64_t))
        cdef size_t number = 0
        cdef Py_ssize_t place
        if frozen is NULL:
            raise MemoryError
        while self._freeze_more(self.freezing.size):  # it would merge with what was frozen
            pass
        self.nought = ordered.shape[0] > 0 and ordered[0] == 0
        for place in range(ordered.shape[0]):  # a chunk may be there twice
            if ordered[place] and (not number or ordered[place] != frozen[number - 1]):
                frozen[number] = ordered[place]
                number += 1
        free(self.frozen)
        self.frozen, self.frozen_number = frozen, number
