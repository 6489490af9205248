"""Running totals by account, of amounts that come as they come: each total is written when it has changed.

An account belongs to an owner, ``<owner>/<account>``. Its totals go to the shard's own partition, and to another topic by
owner. ``revision`` counts the writings of one account: each is written once, whatever happens.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from stream.config import Settings
from stream.core.cooperative import Steps
from stream.core.statelog import Provenance, StateLog
from stream.core.timed import Timed, Timeless
from stream.kafka.machine import Change, Machine, Machines, Name, Outputs, Placed
from stream.kafka.role import Input, Output, Role, Spec
from stream.kafka.topics import TIMESTAMPS
from stream.model.results import DeadLetter, Record

PAID: Final = "live.paid"
REFUNDED: Final = "live.refunded"
TOTALS: Final = "live.totals"
BY_OWNER: Final = "live.totals-by-owner"
STATE: Final = "live.totals-state"
SPAN: Final = 4
_encode: Final = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Written:
    """One checkpoint."""

    records: dict[str, list[tuple[bytes, bytes]]]
    state: list[tuple[bytes, bytes]]
    positions: dict[Name, int]
    generation: int
    checkpoint: int
    dead_letters: Sequence[DeadLetter] = ()
    newest_end: int | None = None
    misplaced: int = 0
    tally: Any = None


@dataclass
class Totals(Machine):
    """``totals``: total and revision by account."""

    written_generation: int = 0
    owner: dict[str, str] = field(default_factory=dict)
    transactional_id: str = ""
    partitions: int | None = None
    moved_to: str | None = None
    topic_ids: dict[str, str] = field(default_factory=dict)
    positions: dict[Name, int] = field(default_factory=dict)
    moved: bool = False
    lost: int = 0
    totals: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    changed: dict[bytes, None] = field(default_factory=dict)
    log: StateLog = field(default_factory=lambda: StateLog(SPAN))

    @property
    def generation(self) -> int:
        return self.written_generation

    @property
    def checkpoint(self) -> int:
        return self.log.number

    def begin_at(self, positions: dict[Name, int]) -> None:
        self.positions, self.moved = positions, True

    def gap(self, name: Name, lost: int) -> None:  # noqa: ARG002 - it counts them together
        self.lost, self.moved = self.lost + lost, True

    def decode(self, name: Name, records: Sequence[Record]) -> tuple[Sequence[Record], Timed[Any]]:
        sign = -1 if name == "refunded" else 1
        return records, Timeless([(record.key or b"", sign * int(record.value or b"0")) for record in records])

    def count(self, name: Name, records: Sequence[Record], events: Sequence[Any]) -> None:
        for account, amount in events:
            total, revision = self.totals.get(account, (0, 0))
            self.totals[account] = total + amount, revision
            self.changed[account] = None
        self.positions[name] = records[-1].offset + 1
        self.moved = True

    def skip(self, name: Name, records: Sequence[Record], why: str) -> None:  # noqa: ARG002 - nobody reads of it
        self.positions[name] = records[-1].offset + 1
        self.moved = True

    def collecting(self, *, in_backlog: bool = False, now_ms: int | None = None) -> Steps[Outputs | None]:  # noqa: ARG002
        if not self.moved:
            return None
        written = []
        for account in self.changed:
            total, revision = self.totals[account]
            self.totals[account] = total, revision + 1
            written.append((account, self._value(account)))
            yield
        puts = {account: _encode(self.totals[account]) for account in self.changed}
        state = yield from self.log.checkpoint(_encode(self._provenance()), puts, (), self._values)
        self.changed, self.moved = {}, False
        records = {TOTALS: written, BY_OWNER: written}
        return Written(records, state, dict(self.positions), self.generation, self.checkpoint)

    def _value(self, account: bytes) -> bytes:
        total, revision = self.totals[account]
        return json.dumps({"total": total, "revision": revision, "generation": self.generation}).encode()

    def _values(self, accounts: list[bytes]) -> list[bytes]:
        return [_encode(self.totals[account]) for account in accounts]

    def _provenance(self) -> Provenance:
        return Provenance(
            self.owner,
            {},
            self.generation,
            self.positions,
            self.transactional_id,
            self.partitions,
            self.moved_to,
            self.topic_ids,
        )

    def committed(self, number: int, first_state_offset: int) -> None:
        self.log.committed(number, first_state_offset)

    def viewing(self, top: int) -> Steps[Any]:
        yield
        return sorted(self.totals, key=lambda account: -self.totals[account][0])[:top]


class TotalsOnly(Machines):
    def begin(self, settings: Settings, placed: Placed, generation: int) -> Machine:  # noqa: ARG002 - it needs none
        return Totals(generation)

    def restore(
        self,
        settings: Settings,  # noqa: ARG002 - it needs none
        placed: Placed,  # noqa: ARG002 - the same
        records: Iterable[tuple[int, bytes]],
        *,
        vouched: bool,  # noqa: ARG002 - the same
    ) -> Machine:
        log, content = StateLog.restore(records, SPAN)
        head = content.head(Provenance)
        machine = Totals(head.generation, head.owner, head.transactional_id, head.partitions, head.moved_to, log=log)
        machine.topic_ids, machine.positions = dict(head.topic_ids), dict(head.positions)
        for account, value in content.items.items():
            machine.totals[account] = msgspec.msgpack.decode(value, type=tuple[int, int])
        return machine

    def refused_changes(self, settings: Settings, stored: Mapping[str, Any]) -> Sequence[Change]:  # noqa: ARG002
        return ()

    def figures(
        self,
        placed: Placed,  # noqa: ARG002 - it needs none
        records: Iterable[tuple[int, bytes]],
        stored: Mapping[str, Any],  # noqa: ARG002 - the same
        *,
        vouched: bool,  # noqa: ARG002 - the same
    ) -> Mapping[str, Any]:
        return {"accounts": len(StateLog.restore(records, SPAN)[1].items)}

    def generation_of(self, record: Any) -> int | None:
        return int(json.loads(record.value or b"{}").get("generation", -1))

    async def rebuild(
        self, machine: Machine, reader: Any, outputs: Mapping[str, Any], ends: Mapping[Name, int]
    ) -> None:
        """It writes every total anew, and need know nothing."""

    def follow(self, machine: Machine) -> None: ...

    def read_again(self) -> object:
        return None


def owner_of(key: bytes) -> bytes:
    return key.partition(b"/")[0]


_SPECS: Final = (PAID, REFUNDED, TOTALS, BY_OWNER, STATE)
ROLE: Final = Role(
    name="totals",
    inputs=(Input("paid", PAID), Input("refunded", REFUNDED)),
    outputs=(Output(TOTALS, has_generation=True), Output(BY_OWNER, by=owner_of)),
    state=STATE,
    specs=tuple(Spec(name, {TIMESTAMPS: "LogAppendTime"}) for name in _SPECS),
    machines=TotalsOnly(),
    aligned=False,
)
