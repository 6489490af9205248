"""Bytes that are written one after the other: on the stack while they are few."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

cdef enum:
    HERE = 1024        # most of what is written is smaller


cdef struct Buffer:
    uint8_t* at
    size_t size
    size_t room
    uint8_t[HERE] here


cdef inline void begin(Buffer* buffer) noexcept:
    buffer.at = buffer.here
    buffer.size = 0
    buffer.room = HERE


cdef inline void end(Buffer* buffer) noexcept:
    if buffer.at != buffer.here:
        PyMem_Free(buffer.at)


cdef inline int grow(Buffer* buffer, size_t wanted) except -1:
    cdef size_t room = 2 * buffer.room + wanted
    cdef void* at
    if buffer.at == buffer.here:
        at = PyMem_Malloc(room)
        if at != NULL:
            memcpy(at, buffer.here, buffer.size)
    else:
        at = PyMem_Realloc(buffer.at, room)
    if at == NULL:
        raise MemoryError
    buffer.at = <uint8_t*>at
    buffer.room = room
    return 0


cdef inline uint8_t* more(Buffer* buffer, size_t size) except NULL:
    """Room for so many bytes more, which count as written."""
    if buffer.room - buffer.size < size:
        grow(buffer, size)
    buffer.size += size
    return buffer.at + buffer.size - size
