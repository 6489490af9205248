"""`IdSet` for the judging: noting an id is a call of C."""

from libc.stdint cimport uint64_t

cdef struct Table:
    uint64_t* slots
    size_t number  # of ids in it
    size_t spread  # slots that an id may belong to
    size_t size    # all slots: what does not fit among the last of those runs on behind them

cdef class IdSet:
    cdef Table live
    cdef Table freezing
    cdef size_t thawed  # slots of `freezing` that have been merged
    cdef uint64_t* frozen
    cdef size_t frozen_number
    cdef size_t frozen_merged
    cdef uint64_t* merged
    cdef size_t merged_number
    cdef uint64_t* fresh_ids
    cdef size_t fresh_number
    cdef size_t fresh_room
    cdef bint nought

    cpdef bint note(self, uint64_t hashed) except -1
    cdef bint has(self, uint64_t hashed) noexcept
    cdef bint _note_nought(self) except -1
    cdef bint _is_apart(self, uint64_t mixed) noexcept
    cdef int _freshen(self, uint64_t hashed) except -1
    cdef int _begin_freezing(self) except -1
    cdef bint _freeze_more(self, size_t slots) noexcept
    cdef void _merge_below(self, uint64_t mixed) noexcept
    cdef void _end_freezing(self) noexcept
