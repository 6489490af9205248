"""Breakdowns by source and by id, counted and added up in C; core/breakdown.py is the definition.

The structs are those of Python, their fields read and set where they lie. Whatever is of another type is left to their
own methods.
"""

from stream.core.native.slots cimport slot, slot_get, slot_set

from stream.core.breakdown import Clicks, Orders, Sales, Source

cdef Py_ssize_t SOURCE_VIEWS = slot(Source.views)
cdef Py_ssize_t SOURCE_CLICKS = slot(Source.clicks)
cdef Py_ssize_t SOURCE_ORDERS = slot(Source.orders)
cdef Py_ssize_t SOURCE_GMV = slot(Source.gmv)
cdef Py_ssize_t CLICKS_NAMED = slot(Clicks.named)
cdef Py_ssize_t CLICKS_BEYOND = slot(Clicks.beyond)
cdef Py_ssize_t CLICKS_SPILLED = slot(Clicks.spilled)
cdef Py_ssize_t ORDERS_NAMED = slot(Orders.named)
cdef Py_ssize_t ORDERS_BEYOND = slot(Orders.beyond)
cdef Py_ssize_t ORDERS_SPILLED = slot(Orders.spilled)
cdef Py_ssize_t SALES_ORDERS = slot(Sales.orders)
cdef Py_ssize_t SALES_MONEY = slot(Sales.money)


cdef add_sources(dict into, dict sources):
    for name, more in sources.items():
        mine = into.get(name)
        if mine is None:
            into[name] = Source(more.views, more.clicks, more.orders, dict(more.gmv))
        elif type(mine) is Source and type(more) is Source:
            _add_source(mine, more)
        else:
            mine.add(more)


cdef _add_source(object mine, object more):
    cdef dict gmv = slot_get(more, SOURCE_GMV)
    slot_set(mine, SOURCE_VIEWS, slot_get(mine, SOURCE_VIEWS) + slot_get(more, SOURCE_VIEWS))
    slot_set(mine, SOURCE_CLICKS, slot_get(mine, SOURCE_CLICKS) + slot_get(more, SOURCE_CLICKS))
    slot_set(mine, SOURCE_ORDERS, slot_get(mine, SOURCE_ORDERS) + slot_get(more, SOURCE_ORDERS))
    if gmv:
        add_money(slot_get(mine, SOURCE_GMV), gmv)


cdef merged(object mine, object more, object only, str name):
    cdef object named = None if only is None else only[name]
    if mine is None:
        mine = type(more)()
    if type(more) is Clicks and type(mine) is Clicks and _is_named(slot_get(more, CLICKS_NAMED), named):
        _merge_clicks(mine, more, named)
    elif type(more) is Orders and type(mine) is Orders and _is_named(slot_get(more, ORDERS_NAMED), named):
        _merge_orders(mine, more, named)
    else:
        mine.merge(more, named)
    return mine


cdef bint _is_named(dict figures, object only) except -1:
    """None of the ids is another than ``only``, where there is such a bound."""
    if only is not None:
        for id_ in figures:
            if id_ not in only:
                return False
    return True


cdef _merge_clicks(object mine, object more, object only):
    """As `Clicks.merge`, of what is named."""
    cdef dict named = slot_get(mine, CLICKS_NAMED)
    cdef dict spilled = slot_get(more, CLICKS_SPILLED)
    beyond = slot_get(more, CLICKS_BEYOND)
    add_money(named, slot_get(more, CLICKS_NAMED))
    if spilled:
        if only is None:
            beyond += sum(spilled.values())
        else:
            add_money(named, spilled)
    if beyond:
        slot_set(mine, CLICKS_BEYOND, slot_get(mine, CLICKS_BEYOND) + beyond)


cdef _merge_orders(object mine, object more, object only):
    """As `Orders.merge`, of what is named."""
    cdef dict named = slot_get(mine, ORDERS_NAMED)
    cdef dict spilled = slot_get(more, ORDERS_SPILLED)
    _add_sales_by_id(named, slot_get(more, ORDERS_NAMED))
    if spilled and only is not None:
        _add_sales_by_id(named, spilled)
    elif spilled:
        for sales in spilled.values():
            _add_sales(slot_get(mine, ORDERS_BEYOND), sales)
    _add_sales(slot_get(mine, ORDERS_BEYOND), slot_get(more, ORDERS_BEYOND))


cdef _add_sales_by_id(dict into, dict more):
    for id_, sales in more.items():
        mine = into.get(id_)
        if mine is None:
            into[id_] = Sales(sales.orders, dict(sales.money))
        else:
            _add_sales(mine, sales)


cdef _add_sales(object mine, object more):
    if type(mine) is not Sales or type(more) is not Sales:
        mine.add(more.orders, more.money)
        return
    orders = slot_get(more, SALES_ORDERS)
    money = slot_get(more, SALES_MONEY)
    if orders:
        slot_set(mine, SALES_ORDERS, slot_get(mine, SALES_ORDERS) + orders)
    if money:
        add_money(slot_get(mine, SALES_MONEY), money)


cdef settled_of(object figures):
    """Of a breakdown alone: what is spilled is unnamed in a window."""
    if figures is None or not figures.spilled:
        return figures
    settled = type(figures)()
    settled.merge(figures, None)
    return settled


cdef add_money(dict into, dict more):
    """Numbers by text, whatever they are of."""
    if not into:
        into.update(more)
        return
    for currency, minor in more.items():
        into[currency] = into.get(currency, 0) + minor


cdef add_one(object source, Py_ssize_t slot):
    """To a figure of what `Pane.source_of` has found."""
    slot_set(source, slot, slot_get(source, slot) + 1)


cdef bint count_click(object clicks, str id_, Py_ssize_t limit, object session, str name) except -1:
    """As `Clicks.count`, of a pane's clicks; True when the session names the id from now on."""
    cdef dict named
    cdef object known
    if type(clicks) is Clicks:
        named = slot_get(clicks, CLICKS_NAMED)
        number = named.get(id_)
        if number is not None:
            named[id_] = number + 1
            return False
    known = session.named[name]
    if type(clicks) is not Clicks or type(known) is not set or len(named) >= limit:
        return clicks.count(id_, limit, known)
    named[id_] = 1
    if id_ in <set>known or len(<set>known) >= limit:
        return False
    (<set>known).add(id_)
    return True
