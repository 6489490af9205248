"""What a shard holds, and what all who work on it may ask: its parts, and where it stands.

What happens to it is core/shard.py, which composes those that work on it: core/collect.py, core/checkpoint.py,
core/retention.py and core/view.py know this, and not the shard.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stream.core.alerts.alerting import Alerting, Stopwatch, stopped
from stream.core.counts import Counts
from stream.core.judge import Judge
from stream.core.panes import Rows
from stream.core.policy import Policy
from stream.core.session import Session
from stream.core.sessions import Sessions
from stream.core.statelog import StateLog
from stream.core.windows import FAR_AHEAD, LONG_AGO, Windows
from stream.model.names import KINDS, Kind

if TYPE_CHECKING:
    from stream.core.alerts.rules import Rules


def anywhere(_key: bytes) -> bool:
    """Each key belongs here."""
    return True


class ShardState:
    """See `stream.core.shard.Shard`."""

    def __init__(
        self,
        policy: Policy,
        *,
        generation: int = 0,
        placed: Callable[[bytes], bool] = anywhere,
        rules: "Rules | None" = None,
        stopwatch: Stopwatch = stopped,
    ) -> None:
        self.policy = policy
        self.owner: dict[str, str] = {}
        """Who writes this state; kept in it, so that another's state is recognised."""
        self.transactional_id = ""
        """Of the producer that writes it; kept in it, so that a later version knows whom to fence."""
        self.partitions: int | None = None
        """How many each topic has, if anybody has said so: keys are placed by it, so it is kept in the state."""
        self.moved_to: str | None = None
        """The prefix of the topics to which what is not counted here was moved."""
        self.topic_ids: dict[str, str] = {}
        """Kafka's ids of the topics it reads and writes, by their names in the code: one made anew has another."""
        self.positions: dict[Kind, int] = {}
        """Next offset to read."""
        self.watermark: int | None = None
        self.rows = Rows()
        self.sessions = Sessions(policy)
        self.judge = Judge(policy, self.rows, self._session)
        self.clocks = self.judge.clocks
        self.checkout_keys = self.judge.checkout_keys
        self.windows = Windows(policy, self.rows)
        self.windows.generation = generation
        self.alerting = Alerting(policy, rules, stopwatch)
        self.windows.tally = self.alerting.emitter.tally = self.judge.tally
        self.log = StateLog(policy.checkpoint_span)
        self.gaps: dict[Kind, int | None] = {}
        """Topics that lost offsets: until which event time results are incomplete; None before the first event after."""
        self.drop_line = LONG_AGO
        """Panes that start here or earlier are needed by no window any more."""
        self.wall: int | None = None
        """The wall clock, when all topics are caught up and silent."""
        self.stale: dict[bytes, Session] = {}
        """Sessions whose own item in the state is out of date."""
        self.moved = False
        """Something happened that the next checkpoint has to keep."""
        self._placed = placed
        self.left_out: set[Kind] = set()
        """Topics that are far behind in what they say, and not waited for (`core/watermark.py`)."""

    @property
    def generation(self) -> int:
        return self.windows.generation

    @property
    def checkpoint(self) -> int:
        """Number of the last one that was collected."""
        return self.log.number

    @property
    def newest(self) -> int | None:
        """The newest clock of the shard."""
        return self.judge.newest

    def _session(self, key: bytes) -> Session:
        session, is_new = self.sessions.meet(key, self.watermark)
        if is_new:
            self.judge.tally.misplaced[self.judge.kind] += not self._placed(key)
            self.judge.tally.totals_frozen += session.frozen
        return session

    def complete(self) -> int:
        """Up to where every on-time event is in, whatever the watermark says."""
        clocks = [clock for clock in self.clocks.values() if clock is not None]
        if self.wall == FAR_AHEAD:
            return FAR_AHEAD
        return min(clocks) - self.policy.delay_ms if len(clocks) == len(KINDS) else LONG_AGO

    def totals_of(self, session: Session) -> Counts:
        """Everything counted of a session so far."""
        key, rows = session.key, self.rows.values()
        busy: list[Counts] = [pane for row in rows if (pane := row.panes.get(key)) is not None]
        quiet = {row.start: data for row in rows if (data := row.packed.get(key)) is not None}
        return session.totals(busy, quiet)
