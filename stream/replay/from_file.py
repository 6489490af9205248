"""A recording counted without Kafka: the worker's shards, fed from a file. Pure but for the reading of it.

``at`` of each line stands for the broker's clock, so events that are ahead of their arrival by more than ``max_future`` are
refused as live. No wall clock closes a window: the end of the file closes all that is open.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from stream.core.alerts.rules import Rules
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.alerts import Status
from stream.model.names import Kind, Outcome, Reason
from stream.model.results import Outputs, Records
from stream.replay import recording
from stream.replay.file_source import batches
from stream.replay.recording import Arrived

EVERY: Final = 20_000
"""Records of a shard between two checkpoints: what is closed until then is held."""
STEPS: Final = 1000
RUN: Final = "file"
"""In the results."""


class _Window(msgspec.Struct, frozen=True, gc=False):
    window: str
    revision: int


_window: Final = msgspec.json.Decoder(_Window).decode


@dataclass(slots=True)
class Summary:
    """What was counted. Sums are of events, whatever windows they fell into."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    refused: Counter[Reason] = field(default_factory=Counter)
    windows: Counter[str] = field(default_factory=Counter)
    """By name; each once, however often it was corrected."""
    sessions: set[bytes] = field(default_factory=set)
    """Keys of all that have totals."""
    views: int = 0
    product_clicks: int = 0
    comments: int = 0
    orders_paid: int = 0
    gmv_minor: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    """That fired, by name."""
    bad_lines: int = 0
    first: int | None = None
    """Arrival of the first message, and of the last: ms since 1970, UTC."""
    last: int | None = None

    @property
    def records(self) -> int:
        return self.outcomes.total()

    def add(self, outputs: Outputs) -> None:
        """One checkpoint."""
        tally = outputs.tally
        self.sessions.update(key for key, _ in outputs.sessions)
        for (_, outcome), number in tally.outcomes.items():
            self.outcomes[outcome] += number
        self.refused += tally.refused_records()
        for _, value in outputs.windows:
            window = _window(value)
            self.windows[window.window] += window.revision == 1
        self.views += tally.views
        self.product_clicks += tally.product_clicks
        self.comments += tally.comments
        self.orders_paid += tally.orders_paid
        self.gmv_minor += tally.gmv_minor
        for (name, status), number in tally.transitions.items():
            self.alerts[name] += number if status == Status.FIRING else 0


Take = Callable[[int, Outputs], None]
"""Told the partition number and the results of each checkpoint. The last revision of each key counts."""


class _Counting:
    """One shard, and how long ago its last checkpoint was."""

    def __init__(self, partition: int, policy: Policy, rules: Rules, take: Take) -> None:
        self.shard = Shard(policy, rules=rules, run=RUN)
        self._partition = partition
        self._take = take
        self._waiting = 0
        self._state_end = 0
        """Of a log that nobody keeps."""

    def count(self, kind: Kind, records: Records) -> None:
        self.shard.read(kind, records)
        self._waiting += len(records)
        if self._waiting >= EVERY:
            self.checkpoint()

    def checkpoint(self) -> Outputs | None:
        self._waiting = 0
        while self.shard.work(STEPS):
            pass
        outputs = self.shard.collect()
        if outputs is not None:
            self.shard.committed(outputs.checkpoint, self._state_end)
            self._state_end += len(outputs.state)
            self._take(self._partition, outputs)
        return outputs

    def finish(self) -> None:
        """Everything closes."""
        self.shard.finish()
        while (outputs := self.checkpoint()) is not None and (outputs.sessions or outputs.windows or outputs.alerts):
            pass  # totals are written in parts


def replay(
    source: Path,
    policy: Policy,
    rules: Rules,
    partitions: int,
    take: Take,
    *,
    tell: Callable[[int, int], None],
    complain: Callable[[str, int], None],
) -> Summary:
    """Counts a whole recording. ``tell`` is called with the records done, and 0: nobody knows how many there are.

    ``complain`` is told of each line that is no message, and how many there were.
    Raises UsageError for a file that cannot be read.
    """
    summary, done = Summary(), 0
    shards: dict[int, _Counting] = {}

    def messages() -> Iterator[Arrived]:
        for each in recording.arrived(source):
            if isinstance(each, str):
                summary.bad_lines += 1
                complain(each, summary.bad_lines)
            else:
                summary.first = each[0] if summary.first is None else summary.first
                summary.last = each[0]
                yield each

    def taken(partition: int, outputs: Outputs) -> None:
        summary.add(outputs)
        take(partition, outputs)

    for partition, kind, records in batches(messages(), partitions):
        if partition not in shards:
            shards[partition] = _Counting(partition, policy, rules, taken)
        shards[partition].count(kind, records)
        done += len(records)
        tell(done, 0)
    for each in shards.values():
        each.finish()
    return summary
