"""What a sample of the newest records says of the producers: keys on the wrong partition, or no events at all.

Only counts and offsets are told, never a key or a value.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from stream.core.shares import CAUSES
from stream.doctor.finding import Check, Finding, Severity
from stream.model.names import Reason

NOTEWORTHY: Final = 0.01
"""Share of rejected records from which on it is a warning."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one input partition. Records without a key are not among the misplaced, tombstones not among the rejected."""

    subject: str
    read: int = 0
    misplaced: int = 0
    first_misplaced: int = -1
    """Offset."""
    keyless: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    """What is wrong with the rejected, as their dead letters say it."""


def judge_keys(samples: Sequence[Sample], bad_share: float) -> list[Finding]:
    """``bad_share``: share of rejected records that turns the worker unready."""
    found = [each for sample in samples if sample.read for each in _judge(sample, bad_share)]
    if not any(finding.severity in (Severity.WARNING, Severity.ERROR) for finding in found):
        read = sum(sample.read for sample in samples)
        what = f"all keys of {read} sampled records are on their partitions" if read else "no record to look at"
        found.append(Finding(Check.KEYS, Severity.OK if read else Severity.INFO, "inputs", what))
    return found


def _judge(sample: Sample, bad_share: float) -> list[Finding]:
    found = []
    if sample.misplaced:
        what = (
            f"{sample.misplaced} of {sample.read} sampled records have keys of other partitions (first at offset "
            f"{sample.first_misplaced}): a session is counted in pieces"
        )
        todo = (
            "let the producers place keys as Java clients do: murmur2 of the session_id (librdkafka: "
            "partitioner=murmur2_random); partitions were perhaps added later, or set by hand"
        )
        found.append(Finding(Check.KEYS, Severity.ERROR, sample.subject, what, todo))
    if sample.keyless:
        what = f"{sample.keyless} of {sample.read} sampled records have no key: they become dead letters"
        todo = "let the producers set the session_id as key"
        found.append(Finding(Check.KEYS, Severity.WARNING, sample.subject, what, todo))
    return found + _rejected(sample, bad_share)


def _rejected(sample: Sample, bad_share: float) -> list[Finding]:
    number = sample.rejected.total()
    if not number:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in sample.rejected.most_common())
    what = f"{number} of {sample.read} sampled records are no events: {reasons}{_example(sample.details)}"
    ((most, _),) = sample.rejected.most_common(1)
    todo = f"{CAUSES[most]}; docs/dead-letters.md says of each reason what to do"
    share = number / sample.read
    severity = Severity.ERROR if share >= bad_share else Severity.WARNING if share >= NOTEWORTHY else Severity.INFO
    return [Finding(Check.KEYS, severity, sample.subject, what, todo)]


def _example(details: Counter[str]) -> str:
    """The one that is said most often: which field it is, so that nobody has to read dead letters for it."""
    return "".join(f" ({f'{count} times: ' if count > 1 else ''}{detail})" for detail, count in details.most_common(1))
