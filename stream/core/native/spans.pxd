"""Bytes that lie in a buffer which somebody else keeps."""

from libc.stdint cimport uint32_t


ctypedef struct Span:
    const unsigned char* at     # NULL: there is none (or it is null)
    uint32_t size
