"""The pane in Python: see core/panes.py. What native/counts.pyx does the same, faster."""

from operator import attrgetter, sub
from typing import TYPE_CHECKING, Final

from datasketches import cpc_sketch

from stream.core.breakdown import Clicks, Source
from stream.core.pure.counts import Counts
from stream.core.uniques import LG_K
from stream.model.events import OTHER, SOURCES, UNKNOWN

if TYPE_CHECKING:
    from stream.core.breakdown import Money
    from stream.core.session import Session

told_values: Final = attrgetter("events", "views", "product_clicks", "comments", "orders_paid")


class Pane(Counts):
    """What one session did in one slice, while it is counted into."""

    __slots__ = ("changed", "name_bytes", "seed", "session", "start", "told", "told_gmv", "topics")

    def __init__(self, session: "Session", start: int) -> None:
        super().__init__()
        self.session = session
        self.seed = session.seed
        self.start = start
        self.changed = False
        """Since the last checkpoint."""
        self.name_bytes = 0
        """About what its names take in the state: of products, and those that a host gives."""
        self.topics = 0
        """A bit for each topic (its `PLACE`) that has counted here since the pane was opened, and so knows the session."""
        self.told: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
        """`told_values` as already told to the session and the metrics."""
        self.told_gmv: Money = {}

    def tell(self) -> tuple[int, int, int, int, int] | None:
        """What of `told_values` was not told yet, and now is; None when nothing."""
        before, now = self.told, told_values(self)
        if before == now:
            return None
        self.told = now
        events, views, clicks, comments, orders = map(sub, now, before)
        return events, views, clicks, comments, orders

    def untold_gmv(self) -> "Money":
        """GMV counted since this was asked last."""
        before, self.told_gmv = self.told_gmv, dict(self.gmv)
        return {currency: minor - before.get(currency, 0) for currency, minor in self.gmv.items()}

    # -- counting into the breakdowns

    def note_viewer(self, viewer: str, source: str | None) -> None:
        """One enters. ``source`` is None where the event names none."""
        self._note_unique("viewers", viewer)
        self.source_of(source).views += 1

    def note_buyer(self, viewer: str) -> None:
        self._note_unique("buyers", viewer)

    def _note_unique(self, name: str, viewer: str) -> None:
        sketch = getattr(self, name)
        if sketch is None:
            sketch = cpc_sketch(LG_K)
            setattr(self, name, sketch)
        sketch.update(viewer)

    def note_click(self, source: str | None, product: str | None, affiliate: str | None, limit: int) -> None:
        """A click on a product. What is None the event does not name."""
        self.source_of(source).clicks += 1
        if product is not None:
            self._note_id("product_clicks_by", product, limit)
        if affiliate is not None:
            self._note_id("affiliate_clicks", affiliate, limit)

    def _note_id(self, name: str, id_: str, limit: int) -> None:
        clicks = getattr(self, name)
        if clicks is None:
            clicks = Clicks()
            setattr(self, name, clicks)
        if clicks.count(id_, limit, self.session.named[name]):
            self.session.stale = True

    def source_of(self, name: str | None) -> Source:
        """The figures of a source; None where the event names none."""
        known = UNKNOWN if name is None else name if name in SOURCES else OTHER
        if self.sources is None:
            self.sources = {}
        source = self.sources.get(known)
        if source is None:
            source = self.sources[known] = Source()
        return source
