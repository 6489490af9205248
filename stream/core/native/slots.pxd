"""The fields of msgspec's structs as they lie in memory: a tenth of the time of asking for an attribute.

An offset is asked of the type itself (`slot`), so that nothing is assumed of msgspec but that its fields are members.
"""

cdef extern from "slots.h":
    Py_ssize_t slot(object descriptor) except -1
    object slot_get "slot_get"(object owner, Py_ssize_t offset)
    void slot_set "slot_set"(object owner, Py_ssize_t offset, object value)
