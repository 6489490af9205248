"""Whether an open transaction holds records back: nobody who reads committed records gets past its beginning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stream.doctor import commands
from stream.doctor.finding import Check, Finding, Severity

GRACE_MS: Final = 30_000
"""Coordinators look for transactions that have timed out every 10 s; so much later one has not ended it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What the transaction's coordinator knows of it."""

    transactional_id: str
    state: str
    has_partition: bool
    """Whether the coordinator will end the transaction on this partition."""
    age_ms: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that was open when we looked, and still when we looked again. ``owner`` None: nobody knows it."""

    topic: str
    partition: int
    start_offset: int
    hidden: int
    """Offsets from its start to the end of the partition."""
    producer_id: int
    quiet_ms: int
    """Since its producer has last written to this partition."""
    owner: Owner | None = None

    @property
    def subject(self) -> str:
        return f"{self.topic}/{self.partition}"


def judge_transactions(held: Sequence[OpenTransaction], looked_at: int, bootstrap: str) -> list[Finding]:
    """``looked_at`` is the number of partitions looked at."""
    found = [_hanging(each, bootstrap) if _is_hanging(each) else _open(each) for each in held]
    if not found and looked_at:
        found.append(Finding(Check.TRANSACTIONS, Severity.OK, "transactions", f"none hangs in {looked_at} partitions"))
    return found


def _is_hanging(held: OpenTransaction) -> bool:
    """Nothing will end it by itself."""
    owner = held.owner
    return owner is None or not owner.has_partition or owner.age_ms > owner.timeout_ms + GRACE_MS


def _hanging(held: OpenTransaction, bootstrap: str) -> Finding:
    owner = held.owner
    why = (
        "no coordinator knows it"
        if owner is None
        else f"the coordinator of {owner.transactional_id} ({owner.state}) "
        + ("has not ended it in time" if owner.has_partition else "has forgotten it")
    )
    what = (
        f"a transaction of producer {held.producer_id} hangs since offset {held.start_offset} "
        f"({_seconds(held.quiet_ms)} without a write): {why}; {held.hidden} offsets are hidden from every reader"
    )
    todo = f"end it, what it wrote is never seen: {commands.abort(bootstrap, held.topic, held.partition, held.start_offset)}"
    return Finding(Check.TRANSACTIONS, Severity.ERROR, held.subject, what, todo)


def _open(held: OpenTransaction) -> Finding:
    owner = held.owner
    assert owner is not None  # noqa: S101 - else it hangs
    what = (
        f"a transaction of {owner.transactional_id} is open for {_seconds(owner.age_ms)} since offset {held.start_offset}; "
        f"until it ends, {held.hidden} offsets are hidden from every reader"
    )
    todo = f"let its producer commit sooner; the broker ends it after its timeout of {_seconds(owner.timeout_ms)}"
    return Finding(Check.TRANSACTIONS, Severity.WARNING, held.subject, what, todo)


def _seconds(ms: int) -> str:
    return f"{max(0, ms) / 1000:.0f} s"
