"""A ranked list as JSON, with its name before it."""

from stream.core.native.buffers cimport Buffer

cdef int ranked(
    Buffer* buffer, const char* name, object clicks, object orders, str currency, const char* id_name,
    const char* money_name, const char* pins_name, object pins,
    object labels
) except -1
