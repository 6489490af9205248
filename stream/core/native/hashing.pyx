"""XXH3 of short texts: for other modules by cimport, and for the tests."""

from libc.stdint cimport uint64_t


def hash_short(bytes data not None, uint64_t seed):
    """Of at most 128 bytes."""
    if len(data) > <Py_ssize_t>HASHED_AT_MOST:
        raise ValueError("more than 128 bytes")
    return xxh3(<const unsigned char*>data, len(data), seed)
