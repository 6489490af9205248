"""Whether each topic's settings are those it needs: those of stream/kafka/topics.py, and some that must not be there.

More than is needed (a longer retention, larger messages) is no finding. What differs is an error where records or the
state would be lost or refused, else a warning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from stream.core.deadletters import LEAST_LETTER
from stream.doctor import commands
from stream.doctor.finding import Check, Finding, Severity
from stream.doctor.topics import Topic
from stream.durations import duration_text
from stream.kafka.role import Spec
from stream.kafka.topic_requirements import MIN_BATCH_BYTES
from stream.kafka.topics import MAX_BYTES, TIMESTAMPS
from stream.model.names import DEAD_LETTERS, INPUTS, STATE

FOREVER: Final = -1


@dataclass(frozen=True, slots=True)
class Needs:
    """A topic and what it should be like. ``least_kept``: unread records must be there so long at least."""

    topic: Topic
    spec: Spec
    least_kept: timedelta
    trust_producer_time: bool = False

    @property
    def is_input(self) -> bool:
        return self.spec.name in INPUTS.values()


Verdict: TypeAlias = tuple[Severity, str] | None
"""How bad, and why."""


def judge_settings(needs: Sequence[Needs], bootstrap: str) -> list[Finding]:
    """Topics that are missing, or whose settings may not be seen, are not judged."""
    found = [each for need in needs if need.topic.configs for each in _judge(need, bootstrap)]
    judged = sum(bool(need.topic.configs) for need in needs)
    if judged and not any(finding.severity in (Severity.ERROR, Severity.WARNING) for finding in found):
        found.append(Finding(Check.SETTINGS, Severity.OK, "topics", f"those of {judged} topics are as they should be"))
    return found


def _judge(need: Needs, bootstrap: str) -> list[Finding]:
    return _differing(need, bootstrap) + _unwanted(need, bootstrap)


def _differing(need: Needs, bootstrap: str) -> list[Finding]:
    found = []
    wanted = {MAX_BYTES: str(MIN_BATCH_BYTES), **need.spec.configs}
    if need.is_input:
        del wanted[MAX_BYTES]  # the producers' business
    for key, value in wanted.items():
        actual = need.topic.configs.get(key)
        verdict = None if actual in (None, value) else _RULES[key](need, str(actual), value)
        if verdict:
            severity, why = verdict
            what = f"{key} is {_shown(key, str(actual))}, should be {_shown(key, value)}: {why}"
            todo = commands.set_config(bootstrap, need.topic.name, key, value)
            found.append(Finding(Check.SETTINGS, severity, need.topic.name, what, todo))
    return found


def _shown(key: str, value: str) -> str:
    if key.endswith(".ms") and int(value) >= 0:
        return duration_text(timedelta(milliseconds=int(value)))
    return value


def _cleanup(need: Needs, actual: str, _wanted: str) -> Verdict:
    if need.is_input and "compact" in actual:
        return Severity.ERROR, "compaction deletes all events of a session but the last"
    if need.spec.name == STATE and "delete" in actual:
        return Severity.ERROR, "retention deletes the state, and the worker then refuses to start"
    return Severity.WARNING, "it grows without end, or keeps what is outdated"


def _timestamps(need: Needs, _actual: str, _wanted: str) -> Verdict:
    if not need.is_input:
        return (
            Severity.WARNING,
            "retention goes by the clocks of the workers' machines: a wrong one deletes results early",
        )
    why = "the producers' clocks judge what lies in the future, not the broker's: one wrong clock makes others' events late"
    if need.trust_producer_time:
        return Severity.WARNING, f"{why}. trust_producer_time allows it"
    return Severity.ERROR, f"{why}. The worker refuses to start without trust_producer_time"


def _retention(need: Needs, actual: str, wanted: str) -> Verdict:
    kept = int(actual)
    if kept == FOREVER or kept >= int(wanted):
        return None
    if need.is_input and timedelta(milliseconds=kept) < need.least_kept:
        return Severity.ERROR, "records may be deleted before a worker that stood still has read them"
    return Severity.WARNING, "an outage or a replay may reach further back" if need.is_input else "results go earlier"


def _at_least(need: Needs, actual: str, wanted: str) -> Verdict:
    if int(actual) >= int(wanted):
        return None
    if need.spec.name == DEAD_LETTERS and int(actual) >= LEAST_LETTER:
        return Severity.WARNING, "of a larger record only the beginning becomes a dead letter, with its size and hash"
    return Severity.ERROR, "the worker refuses to start: its records could not be written"


def _at_most(need: Needs, actual: str, wanted: str) -> Verdict:
    if float(actual) <= float(wanted):
        return None
    longer = "reading the state takes longer" if need.spec.name == STATE else "it grows"
    return Severity.WARNING, f"an active segment is neither compacted nor deleted, so {longer}"


_RULES: Final[Mapping[str, Callable[[Needs, str, str], Verdict]]] = {
    "cleanup.policy": _cleanup,
    TIMESTAMPS: _timestamps,
    "retention.ms": _retention,
    MAX_BYTES: _at_least,
    "segment.ms": _at_most,
    "segment.bytes": _at_most,
    "min.cleanable.dirty.ratio": _at_most,
}
"""By setting; tests/doctor holds that each of `stream.kafka.topics.SPECS` has one."""


def _unwanted(need: Needs, bootstrap: str) -> list[Finding]:
    configs, name, found = need.topic.configs, need.topic.name, []
    if configs.get("retention.bytes", "-1") != "-1" and "delete" in configs.get("cleanup.policy", ""):
        what = f"retention.bytes is {configs['retention.bytes']}: much traffic deletes records early, read or not"
        todo = commands.delete_config(bootstrap, name, "retention.bytes")
        found.append(Finding(Check.SETTINGS, Severity.WARNING, name, what, todo))
    if configs.get("compression.type", "producer") != "producer":
        what = f"compression.type is {configs['compression.type']}: the broker compresses every batch once more"
        todo = commands.set_config(bootstrap, name, "compression.type", "producer")
        found.append(Finding(Check.SETTINGS, Severity.INFO, name, what, todo))
    return found
