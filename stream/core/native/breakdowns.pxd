"""Counting into and adding up the structs of core/breakdown.py, and where their fields lie (slots.pxd)."""

cdef Py_ssize_t SOURCE_VIEWS, SOURCE_CLICKS, SOURCE_ORDERS, SOURCE_GMV
cdef Py_ssize_t CLICKS_NAMED, CLICKS_BEYOND, CLICKS_SPILLED
cdef Py_ssize_t ORDERS_NAMED, ORDERS_BEYOND, ORDERS_SPILLED
cdef Py_ssize_t SALES_ORDERS, SALES_MONEY

cdef add_sources(dict into, dict sources)
cdef merged(object mine, object more, object only, str name)
cdef settled_of(object figures)
cdef add_money(dict into, dict more)
cdef add_one(object source, Py_ssize_t slot)
cdef bint count_click(object clicks, str id_, Py_ssize_t limit, object session, str name) except -1
