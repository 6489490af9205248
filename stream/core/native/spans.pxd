"""A run of bytes inside something larger, which has to stay while it is looked at."""

from libc.stdint cimport uint32_t

ctypedef struct Span:
    const unsigned char* at
    uint32_t size
    # at == NULL: absent (or null)
