"""Panes: the smallest slices of event time that are counted, one per session; a row holds those of all sessions."""

from operator import attrgetter
from typing import Final

from stream.core.breakdown import Money
from stream.core.counts import Counts
from stream.core.ids import IdSet
from stream.core.sessions import Session
from stream.model.names import KINDS, Kind

PLACE: Final = {kind: place for place, kind in enumerate(KINDS)}
"""Where a topic's id set stands in a row."""


told_values: Final = attrgetter("events", "views", "product_clicks", "comments", "orders_paid")


class Pane(Counts):
    """What one session did in one slice. A pane without events may exist to hold the marks of windows that start here."""

    __slots__ = ("changed", "marks", "seed", "session", "start", "told", "told_gmv")

    def __init__(self, session: Session, start: int) -> None:
        super().__init__()
        self.session = session
        self.seed = session.seed
        self.start = start
        self.changed = False
        """Since the last checkpoint."""
        self.marks: dict[int, tuple[int, int]] = {}
        """By window kind: (revision, events counted in it when it was written) of the window that starts here."""
        self.told: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
        """`told_values` as already told to the session and the metrics."""
        self.told_gmv: Money = {}

    def untold_gmv(self) -> Money:
        """GMV counted since this was asked last."""
        before, self.told_gmv = self.told_gmv, dict(self.gmv)
        return {currency: minor - before.get(currency, 0) for currency, minor in self.gmv.items()}


class Row:
    """All panes of one slice of event time, and the ids seen in it by topic."""

    __slots__ = ("ids", "panes", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.panes: dict[bytes, Pane] = {}
        self.ids = [IdSet() for _ in KINDS]

    def ids_of(self, kind: Kind) -> IdSet:
        return self.ids[PLACE[kind]]

    def forget_ids(self, kind: Kind) -> None:
        self.ids[PLACE[kind]] = IdSet()
