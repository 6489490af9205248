"""Unique viewers and buyers, as the sketch or as its bytes, whichever is at hand; see core/uniques.py."""

cimport cython

from datasketches import cpc_sketch

from stream.core.uniques import LG_K


@cython.final
@cython.no_gc
cdef class Uniques:

    cdef object unpacked(self):
        """To be read only."""
        if self.sketch is None:
            self.sketch = cpc_sketch.deserialize(self.packed)
        return self.sketch

    cdef bytes serialized(self):
        if self.packed is None:
            self.packed = bytes(self.sketch.serialize())
        return self.packed

    cdef int update(self, str text) except -1:
        self.unpacked().update(text)
        self.packed = None
        return 0


cdef Uniques uniques_of(object sketch):
    """None for None."""
    cdef Uniques uniques
    if sketch is None:
        return None
    uniques = Uniques.__new__(Uniques)
    uniques.sketch = sketch
    return uniques


cdef object to_change(Uniques uniques):
    """The sketch, for one who may update it."""
    if uniques is None:
        return None
    sketch = uniques.unpacked()
    uniques.packed = None
    return sketch


cdef Uniques nobody():
    return uniques_of(cpc_sketch(LG_K))
