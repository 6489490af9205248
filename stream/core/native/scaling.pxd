"""Where in a table something belongs, by a hash that is spread evenly over 64 bits."""

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    /* value / 2^64 * size */
    static inline size_t liveshop_scaled(uint64_t value, size_t size) {
        return (size_t)(((unsigned __int128)value * size) >> 64);
    }
    """
    size_t scaled "liveshop_scaled"(uint64_t value, size_t size) noexcept nogil
