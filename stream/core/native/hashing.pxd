"""XXH3 of short texts, to be had by cimport; ``hash_id`` of core/ids.py is the same for any length."""

from libc.stdint cimport uint64_t

cdef extern from "hashing.h" nogil:
    size_t HASHED_AT_MOST
    uint64_t xxh3(const unsigned char* data, size_t length, uint64_t seed) noexcept
