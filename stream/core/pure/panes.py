"""The pane in Python: see core/panes.py. What native/counts.pyx does the same, faster."""

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from stream.core.pure.counts import Counts

if TYPE_CHECKING:
    from stream.core.breakdown import Money
    from stream.core.sessions import Session

told_values: Final = attrgetter("events", "views", "product_clicks", "comments", "orders_paid")


class Pane(Counts):
    """What one session did in one slice, while it is counted into."""

    __slots__ = ("changed", "seed", "session", "start", "told", "told_gmv")

    def __init__(self, session: "Session", start: int) -> None:
        super().__init__()
        self.session = session
        self.seed = session.seed
        self.start = start
        self.changed = False
        """Since the last checkpoint."""
        self.told: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)
        """`told_values` as already told to the session and the metrics."""
        self.told_gmv: Money = {}

    def untold_gmv(self) -> "Money":
        """GMV counted since this was asked last."""
        before, self.told_gmv = self.told_gmv, dict(self.gmv)
        return {currency: minor - before.get(currency, 0) for currency, minor in self.gmv.items()}
