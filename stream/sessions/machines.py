"""The machines of the session worker: shards (core/shard.py), made as kafka/ asks for them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stream.config import Settings
from stream.core.checkpoint import read_meta
from stream.core.policy import refused_changes
from stream.core.shard import Shard
from stream.core.statelog import Provenance, Restored
from stream.kafka.machine import Change, Machine, Machines, Name, Placed
from stream.model.names import ALERTS, KINDS, PROMOTION_OUTCOMES
from stream.sessions.figures import as_counted, figures
from stream.sessions.rules_reload import ReloadedRules
from stream.sessions.written_alerts import firing
from stream.sessions.written_promotions import applied

MOST_GENERATIONS: Final = 2**31
"""No state is rebuilt so often."""


class _Written(msgspec.Struct):
    """What a rebuild asks of a result. Its key is the session's id, or begins with it."""

    session_id: str
    generation: int


_decode: Final = msgspec.json.Decoder(_Written).decode


class Shards(Machines):
    """Without rules the shards are read only, and no alert is written."""

    def __init__(self, rules: ReloadedRules | None = None) -> None:
        self._rules = rules

    def begin(self, settings: Settings, placed: Placed, generation: int) -> Machine:
        return Shard(settings.policy(), generation=generation, placed=placed, **self._of_its_own())

    def restore(
        self, settings: Settings, placed: Placed, records: Iterable[tuple[int, bytes]], *, vouched: bool
    ) -> Machine:
        return Shard.restore(settings.policy(), records, placed=placed, vouched=vouched, **self._of_its_own())

    def _of_its_own(self) -> dict[str, Any]:
        rules = None if self._rules is None else self._rules.current
        return {"rules": rules, "stopwatch": time.perf_counter}

    def refused_changes(self, settings: Settings, stored: Mapping[str, Any]) -> Sequence[Change]:
        return refused_changes(dict(stored), settings.policy().deciding())

    def changes(self, settings: Settings, stored: Mapping[str, Any]) -> Sequence[Change]:
        """A state of an earlier version does not hold every setting."""
        ours = settings.policy().deciding()
        return [
            (name, stored[name], ours[name]) for name in sorted(ours) if name in stored and stored[name] != ours[name]
        ]

    def provenance(self, content: Restored) -> Provenance:
        read_meta(content)
        return content.head(Provenance)

    def figures(
        self, placed: Placed, records: Iterable[tuple[int, bytes]], stored: Mapping[str, Any], *, vouched: bool
    ) -> Mapping[str, Any]:
        return figures(as_counted(stored, records, placed, vouched=vouched))

    def generation_of(self, record: Any) -> int | None:
        try:
            written = _decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        is_ours = (record.key or b"").partition(b"/")[0] == written.session_id.encode()
        return written.generation if is_ours and 0 <= written.generation < MOST_GENERATIONS else None

    async def rebuild(
        self, machine: Machine, reader: Any, outputs: Mapping[str, Any], ends: Mapping[Name, int]
    ) -> None:
        """No alert is told until every input has passed the end that it had; then what differs from what was told."""
        told = await firing(reader, outputs[ALERTS])
        shard = shard_of(machine)
        shard.alerting.be_silent({kind: ends[kind] for kind in KINDS}, told)
        if PROMOTION_OUTCOMES in outputs:
            shard.promotions.waiting.accept(await applied(reader, outputs[PROMOTION_OUTCOMES]))

    def follow(self, machine: Machine) -> None:
        alerting, rules = shard_of(machine).alerting, self._rules
        if rules is not None and rules.current is not alerting.rules:
            alerting.use(rules.current)

    def read_again(self) -> object:
        return None if self._rules is None else self._rules.read_again()


def shard_of(machine: Machine) -> Shard:
    """A machine of this role, as what it is."""
    assert isinstance(machine, Shard)  # noqa: S101 - the role makes no others
    return machine
