"""Breakdowns: by source, of which there are few, and by an unbounded id (product, affiliate), exact up to a bound.

The names of products are kept by id, too (`Labels`), with a bound of their own: they decide no figure. The names that a host
gives to the broadcast, its seller and its creator are `Labels` as well, by the field of the event that says them.

The bound is per session and pane, and once more per session, separately for ids from views (`Clicks`) and from
checkouts (`Orders`): which ids are named is then a function of one log, whatever the interleaving of the topics.

A window adds the named and unnamed sums of its panes. A session's own bound needs more: an id that a full pane cannot
name may be one that the session knows from an earlier pane. Such counts are kept by id as ``spilled``: a window adds
them to its unnamed sum, the session to its named ones.
"""

from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from stream.core.figures import NEVER

Money = dict[str, int]
"""Minor units by currency."""


def add_money(into: Money, more: Money) -> None:
    for currency, minor in more.items():
        into[currency] = into.get(currency, 0) + minor


class Source(msgspec.Struct, array_like=True, gc=False):
    """Figures of one source of viewers."""

    views: int = 0
    clicks: int = 0
    orders: int = 0
    gmv: Money = {}

    def add(self, other: "Source") -> None:
        self.views += other.views
        self.clicks += other.clicks
        self.orders += other.orders
        if other.gmv:
            add_money(self.gmv, other.gmv)


class Clicks(msgspec.Struct, array_like=True, gc=False):
    """A number by id, such as clicks: the view side of a breakdown."""

    named: dict[str, int] = {}
    beyond: int = 0
    spilled: dict[str, int] = {}

    def count(self, id_: str, limit: int, known: set[str]) -> bool:
        """Adds a click. ``known`` are the ids the session names; True when this is one more of them."""
        named = self.named
        if id_ in named:
            named[id_] += 1
        elif len(named) < limit:
            named[id_] = 1
            return _make_known(id_, limit, known)
        elif id_ in known:
            self.spilled[id_] = self.spilled.get(id_, 0) + 1
        else:
            self.beyond += 1
        return False

    def name(self, id_: str, limit: int, known: set[str]) -> bool:
        """Names an id without a click, where there is room: as `count` but for the click."""
        if id_ in self.named or len(self.named) >= limit:
            return False
        self.named[id_] = 0
        return _make_known(id_, limit, known)

    def count_as(self, bound: "Clicks", id_: str, known: set[str]) -> None:
        """Adds one of an id where ``bound`` has put it: one bound for several figures of the same ids."""
        if id_ in bound.named:
            self.named[id_] = self.named.get(id_, 0) + 1
        elif id_ in known:
            self.spilled[id_] = self.spilled.get(id_, 0) + 1
        else:
            self.beyond += 1

    def merge(self, other: "Clicks", only: AbstractSet[str] | None = None) -> None:
        """Adds ``other`` to a window's; with ``only``, the ids that it names, to a session's."""
        more = other.named
        if only is not None and not more.keys() <= only:
            self.beyond += sum(clicks for id_, clicks in more.items() if id_ not in only)
            more = {id_: clicks for id_, clicks in more.items() if id_ in only}
        self._add(more)
        if other.spilled:
            if only is None:
                self.beyond += sum(other.spilled.values())
            else:
                self._add(other.spilled)
        self.beyond += other.beyond

    def _add(self, more: dict[str, int]) -> None:
        named = self.named
        if not named:
            named.update(more)
            return
        for id_, clicks in more.items():
            named[id_] = named.get(id_, 0) + clicks


class Sales(msgspec.Struct, array_like=True, gc=False):
    """Number of orders and their money."""

    orders: int = 0
    money: Money = {}

    def add(self, orders: int, money: Money) -> None:
        self.orders += orders
        mine = self.money
        for currency, minor in money.items():
            mine[currency] = mine.get(currency, 0) + minor


class Orders(msgspec.Struct, array_like=True, gc=False):
    """Orders and their money by id: the checkout side of a breakdown."""

    named: dict[str, Sales] = {}
    beyond: Sales = msgspec.field(default_factory=Sales)
    spilled: dict[str, Sales] = {}

    def count(self, id_: str, money: Money, limit: int, known: set[str]) -> bool:
        """Adds an order. ``known`` are the ids the session names; True when this is one more of them."""
        made_known = False
        if id_ in self.named:
            sales = self.named[id_]
        elif len(self.named) < limit:
            sales = self.named[id_] = Sales()
            made_known = _make_known(id_, limit, known)
        elif id_ in known:
            sales = self.spilled.setdefault(id_, Sales())
        else:
            sales = self.beyond
        sales.add(1, money)
        return made_known

    def merge(self, other: "Orders", only: AbstractSet[str] | None = None) -> None:
        """Adds ``other`` to a window's; with ``only``, the ids that it names, to a session's."""
        named, beyond = self.named, self.beyond
        for id_, sales in other.named.items():
            if only is not None and id_ not in only:
                beyond.add(sales.orders, sales.money)
            elif id_ in named:
                named[id_].add(sales.orders, sales.money)
            else:
                named[id_] = Sales(sales.orders, dict(sales.money))
        for id_, sales in other.spilled.items():
            (beyond if only is None else named.setdefault(id_, Sales())).add(sales.orders, sales.money)
        beyond.add(other.beyond.orders, other.beyond.money)


LABEL_BYTES: Final = 40
"""What a label takes in the state, besides the id and the name."""


class Label(msgspec.Struct, array_like=True, gc=False):
    """What a product is called, or what a field of the host says, for display.

    Name and number stand each on its own, with the event time that said it.
    """

    name_at: int = NEVER
    name: str = ""
    """Empty: not known."""
    number_at: int = NEVER
    number: int = 0
    """In the basket; 0: not known."""

    def take(self, time: int, name: str, number: int) -> int:
        """What an event says. Each is of the latest event that says it, ties to the greater: whatever comes first.

        Gives how many bytes longer the name is now.
        """
        more = 0
        if name and time >= self.name_at and (time > self.name_at or name > self.name):
            self.name_at = time
            if name != self.name:
                more = len(name.encode()) - len(self.name.encode())
                self.name = name
        if number and time >= self.number_at and (time > self.number_at or number > self.number):
            self.number_at, self.number = time, number
        return more


class Labels(msgspec.Struct, array_like=True, gc=False):
    """Labels by id, from views. What is beyond the bound is not known: there is nothing to add up."""

    named: dict[str, Label] = {}
    spilled: dict[str, Label] = {}

    def label(self, id_: str, limit: int, known: set[str]) -> Label | None:
        """Of an id that is not named yet; None beyond the bound. ``known`` are the ids the session names."""
        if len(self.named) < limit:
            _make_known(id_, limit, known)
            self.named[id_] = Label()
            return self.named[id_]
        return self.spilled.setdefault(id_, Label()) if id_ in known else None

    def size(self) -> int:
        """About how many bytes it takes in the state."""
        both = (*self.named.items(), *self.spilled.items())
        return sum(LABEL_BYTES + len(id_.encode()) + len(label.name.encode()) for id_, label in both)

    def merge(self, other: "Labels", only: AbstractSet[str] | None = None) -> None:
        """Adds ``other`` to a window's; with ``only``, the ids that it names, to a session's."""
        for id_, label in other.named.items():
            if only is None or id_ in only:
                _put(self.named, id_, label)
        if only is not None:
            for id_, label in other.spilled.items():
                _put(self.named, id_, label)


def _put(labels: dict[str, Label], id_: str, label: Label) -> None:
    mine = labels.get(id_)
    if mine is None:
        mine = labels[id_] = Label()
    mine.take(label.name_at, label.name, 0)
    mine.take(label.number_at, "", label.number)


def _make_known(id_: str, limit: int, known: set[str]) -> bool:
    """An id that is new to a pane: the session names it too, while it has room."""
    if id_ in known or len(known) >= limit:
        return False
    known.add(id_)
    return True
