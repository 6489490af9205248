"""Hashes with a number each, 32 bytes at most for each of many; pure/hashtable.py is the definition.

Open addressing: an entry stands in the slot that its hash belongs to, or behind it with no empty slot between. The hashes
are of what strangers choose, so the slot depends on a number that is another in each process. Nothing that leaves this
module depends on it.
"""

cimport cython
from libc.stdint cimport INT64_MIN, int64_t, uint64_t
from libc.stdlib cimport free, malloc

from stream.core.native.scaling cimport scaled

import numpy as np

cdef uint64_t SALT = <uint64_t><Py_ssize_t>hash("hashes") | 1
cdef size_t LEAST = 8
"""Slots of the smallest table."""

cdef struct Slot:
    uint64_t hashed
    int64_t number  # INT64_MIN: empty


@cython.final
cdef class HashTable:
    """As stream.core.pure.hashtable.HashTable."""

    cdef Slot* slots
    cdef size_t size
    cdef size_t used

    def __cinit__(self):
        self._lay_out(LEAST)

    def __dealloc__(self):
        free(self.slots)

    def __len__(self):
        return self.used

    def __sizeof__(self):
        return object.__sizeof__(self) + self.size * sizeof(Slot)

    cpdef int64_t get(self, uint64_t hashed, int64_t default) noexcept:
        cdef Slot* slot = &self.slots[self._find(hashed)]
        return default if slot.number == INT64_MIN else slot.number

    cpdef int put(self, uint64_t hashed, int64_t number) except -1:
        cdef Slot* slot
        if number == INT64_MIN:
            raise ValueError("the smallest number is not for use")
        if 4 * self.used >= 3 * self.size:
            self._lay_out(self.size + self.size // 2)
        slot = &self.slots[self._find(hashed)]
        self.used += slot.number == INT64_MIN
        slot.hashed, slot.number = hashed, number
        return 0

    cpdef int remove(self, uint64_t hashed) except -1:
        """Whoever was pushed on by it moves back."""
        cdef size_t gap = self._find(hashed), place = gap, home
        if self.slots[gap].number == INT64_MIN:
            raise KeyError(hashed)
        while True:
            place = 0 if place + 1 == self.size else place + 1
            if self.slots[place].number == INT64_MIN:
                break
            home = scaled(self.slots[place].hashed * SALT, self.size)
            if (gap < home <= place) if gap <= place else (home > gap or home <= place):
                continue  # it would stand before the slot it belongs to
            self.slots[gap] = self.slots[place]
            gap = place
        self.slots[gap].number = INT64_MIN
        self.used -= 1
        return 0

    def forget_below(self, int64_t limit):
        """Entries with a smaller number."""
        cdef size_t place, left = 0
        for place in range(self.size):
            if self.slots[place].number < limit:
                self.slots[place].number = INT64_MIN
            else:
                left += 1
        self.used = left
        self._lay_out(max(LEAST, left + left // 2 + 1))

    def pairs(self, int64_t first, int64_t end):
        """Those with a number in ``[first, end)``: hash and number, 16 bytes each, in the order of the hashes."""
        cdef size_t place, at = 0
        cdef int64_t number
        for place in range(self.size):
            number = self.slots[place].number
            at += number != INT64_MIN and first <= number < end
        found = np.empty((at, 2), np.uint64)
        cdef uint64_t[:, ::1] into = found
        at = 0
        for place in range(self.size):
            number = self.slots[place].number
            if number != INT64_MIN and first <= number < end:
                into[at, 0], into[at, 1] = self.slots[place].hashed, <uint64_t>number
                at += 1
        return found[found[:, 0].argsort(kind="stable")].tobytes()

    cdef size_t _find(self, uint64_t hashed) noexcept:
        """Where it is, or would be put. There is always an empty slot."""
        cdef size_t place = scaled(hashed * SALT, self.size)
        while self.slots[place].number != INT64_MIN and self.slots[place].hashed != hashed:
            place = 0 if place + 1 == self.size else place + 1
        return place

    cdef int _lay_out(self, size_t size) except -1:
        """The same entries in so many slots."""
        cdef Slot* before = self.slots
        cdef size_t place, was = self.size
        cdef Slot* slots = <Slot*>malloc(size * sizeof(Slot))
        if slots is NULL:
            raise MemoryError
        for place in range(size):
            slots[place].number = INT64_MIN
        self.slots, self.size = slots, size
        for place in range(was):
            if before[place].number != INT64_MIN:
                self.slots[self._find(before[place].hashed)] = before[place]
        free(before)
        return 0
