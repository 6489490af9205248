"""Whether the settings that decide results are those under which the state was counted."""

from collections.abc import Mapping

import orjson

from stream.config import changes
from stream.core.policy import Policy, fingerprint, refused_changes
from stream.doctor.finding import Check, Finding, Severity, listed


def judge_configuration(policy: Policy, stored: Mapping[int, Mapping[str, object]]) -> list[Finding]:
    """``stored``: what each partition's state says, by partition."""
    current = orjson.loads(orjson.dumps(policy.deciding()))  # lists instead of tuples, as in a state
    ours = fingerprint(current)
    by_hash: dict[str, list[int]] = {}
    for partition, deciding in stored.items():
        by_hash.setdefault(fingerprint(deciding), []).append(partition)
    same = by_hash.pop(ours, [])
    said = f"hash {ours}" + (f", the same in the state of partition {listed(same)}" if same else "")
    found = [Finding(Check.CONFIGURATION, Severity.OK, "settings", said)]
    return found + [_differing(stored[numbers[0]], current, name, numbers) for name, numbers in by_hash.items()]


def _differing(old: Mapping[str, object], new: Mapping[str, object], name: str, partitions: list[int]) -> Finding:
    where = f"the state of partition {listed(partitions)}"
    refused = refused_changes(dict(old), dict(new))
    if refused:
        what = f"{where} was counted under others (hash {name}): {_told(refused)}"
        todo = "put them back, or start the worker once with --rebuild to count everything anew under the new ones"
        return Finding(Check.CONFIGURATION, Severity.ERROR, "settings", what, todo)
    found = [(key, old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    what = f"{where} was last written under others (hash {name}): {_told(found)}"
    todo = "the change is allowed: it applies when the worker is restarted with these settings"
    return Finding(Check.CONFIGURATION, Severity.INFO, "settings", what, todo)


def _told(found: list[tuple[str, object, object]]) -> str:
    return "; ".join(map(str, changes(found)))
