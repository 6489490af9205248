"""Tokens of JSON, as far as they are plain. Each function is given where it begins and where the bytes end, reads nothing
at or behind the end, and gives where its token ends; NULL for anything it cannot tell.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from stream.core.native.spans cimport Span

cdef extern from *:
    """
    #define liveshop_first_byte(bits) (__builtin_ctzll(bits) >> 3)
    """
    int first_byte "liveshop_first_byte"(uint64_t bits) noexcept nogil

ctypedef const unsigned char* Place

cdef enum:
    DIGITS = 18  # always fit an int64


cdef inline Place past_space(Place at, Place end) noexcept nogil:
    while at < end and at[0] <= c' ' and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\r' or at[0] == c'\t'):
        at += 1
    return at


cdef inline uint64_t word_at(Place at, Place end) noexcept nogil:
    """8 bytes, the first the lowest; zeros for what is behind the end."""
    cdef uint64_t word = 0
    if end - at >= 8:
        memcpy(&word, at, 8)
    else:
        memcpy(&word, at, <size_t>(end - at))
    return word


cdef inline uint64_t unusual(uint64_t word) noexcept nogil:
    """The lowest bit set is in the first byte that is a quote, a backslash, a slash, or no printable ASCII; 0: none.

    Of bytes below 0x80, plus one sets the highest bit of DEL alone, minus 0x20 that of control characters, and minus one
    that of the zero which a byte leaves where it is the one looked for. From 0x80 on it is set by the byte itself. Only
    above the first found, bits may be set for nothing: a borrow or carry goes on.
    """
    cdef uint64_t ones = 0x0101010101010101ULL
    return ones * 0x80 & (
        word | (word + ones) | (word - ones * 0x20)
        | ((word ^ ones * c'"') - ones) | ((word ^ ones * c'\\') - ones) | ((word ^ ones * c'/') - ones)
    )


cdef inline Place next_unusual(Place at, Place end) noexcept nogil:
    """``end`` when there is none: zeros are unusual."""
    cdef uint64_t found = unusual(word_at(at, end))
    while not found:
        at += 8
        found = unusual(word_at(at, end))
    return at + first_byte(found)


cdef inline Place past_plain(Place at, Place end, bint slashes, Span* text) noexcept nogil:
    """A string of printable ASCII without escapes, and only where allowed with slashes."""
    if at >= end or at[0] != c'"':
        return NULL
    text.at = at + 1
    at = next_unusual(text.at, end)
    while slashes and at < end and at[0] == c'/':
        at = next_unusual(at + 1, end)
    if at >= end or at[0] != c'"':
        return NULL
    text.size = <unsigned int>(at - text.at)
    return at + 1


cdef inline Place past_text(Place at, Place end) noexcept nogil:
    """A string of UTF-8 without escapes and control characters."""
    if at >= end or at[0] != c'"':
        return NULL
    at = next_unusual(at + 1, end)
    while at < end and at[0] != c'"':
        if at[0] < 0x20 or at[0] == c'\\':
            return NULL
        at = at + 1 if at[0] < 0x80 else past_character(at, end)
        if at is NULL:
            return NULL
        at = next_unusual(at, end)
    return at + 1 if at < end else NULL


cdef inline Place past_character(Place at, Place end) noexcept nogil:
    """One of two to four bytes: none in more bytes than it needs, no half of a surrogate pair, none above U+10FFFF."""
    cdef unsigned char first = at[0]
    cdef int more = 1 if first < 0xe0 else 2 if first < 0xf0 else 3
    cdef unsigned char least = 0xa0 if first == 0xe0 else 0x90 if first == 0xf0 else 0x80
    cdef unsigned char most = 0x9f if first == 0xed else 0x8f if first == 0xf4 else 0xbf
    cdef int place
    if first < 0xc2 or first > 0xf4 or end - at <= more or not least <= at[1] <= most:
        return NULL
    for place in range(2, more + 1):
        if not 0x80 <= at[place] <= 0xbf:
            return NULL
    return at + more + 1


cdef inline Place past_whole(Place at, Place end, int64_t* number) noexcept nogil:
    """A whole number, not negative. A longer one ends in the middle of its digits, where no token may follow."""
    cdef Place begin = at
    cdef Place stop = begin + DIGITS if end - begin > DIGITS else end
    cdef int64_t sum = 0
    while at < stop and c'0' <= at[0] <= c'9':
        sum = 10 * sum + (at[0] - c'0')
        at += 1
    number[0] = sum
    if at == begin or (begin[0] == c'0' and at - begin > 1):
        return NULL
    return at


cdef inline Place past_number(Place at, Place end) noexcept nogil:
    """Any short one without an exponent."""
    cdef int64_t ignored
    cdef Place begin
    if at < end and at[0] == c'-':
        at += 1
    at = past_whole(at, end, &ignored)
    if at is NULL or at >= end or at[0] != c'.':
        return at
    begin = at = at + 1
    while at < end and at - begin < DIGITS and c'0' <= at[0] <= c'9':
        at += 1
    return at if at > begin else NULL


cdef inline Place past_word(Place at, Place end, const char* word, Py_ssize_t size) noexcept nogil:
    return at + size if end - at >= size and memcmp(at, word, size) == 0 else NULL


cdef inline Place past_any(Place at, Place end) noexcept nogil:
    """A value of no interest: a plain string, a number, true, false or null."""
    cdef Span ignored
    if at >= end:
        return NULL
    if at[0] == c'"':
        return past_plain(at, end, True, &ignored)
    if at[0] == c't':
        return past_word(at, end, b"true", 4)
    if at[0] == c'f':
        return past_word(at, end, b"false", 5)
    if at[0] == c'n':
        return past_word(at, end, b"null", 4)
    return past_number(at, end)
