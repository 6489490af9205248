"""Sketches that remember their bytes until the next update."""


cdef class Uniques:
    """A sketch, and its bytes while they are known: either may be missing, never both."""

    cdef object sketch
    cdef bytes packed

    cdef object unpacked(self)
    cdef bytes serialized(self)
    cdef int update(self, str text) except -1


cdef Uniques uniques_of(object sketch)
cdef object to_change(Uniques uniques)
cdef Uniques nobody()
