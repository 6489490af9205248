"""The configuration: one hash for the same settings, and whether a state can follow a change."""

from dataclasses import replace

import msgspec

from stream.core.policy import Policy, fingerprint
from stream.doctor.configuration import judge_configuration
from stream.doctor.finding import Severity
from tests.doctor.tools import one

POLICY = Policy()


def stored(policy: Policy) -> dict[str, object]:
    """As it comes out of a state."""
    found: dict[str, object] = msgspec.msgpack.decode(msgspec.msgpack.encode(policy.deciding()))
    return found


def test_the_hash_is_of_what_decides_and_of_nothing_else() -> None:
    assert fingerprint(stored(POLICY)) == fingerprint(dict(reversed(stored(POLICY).items())))
    assert fingerprint(stored(replace(POLICY, totals_per_checkpoint=9))) == fingerprint(stored(POLICY))
    assert fingerprint(stored(replace(POLICY, delay_ms=9))) != fingerprint(stored(POLICY))


def test_the_same_settings_are_one_line() -> None:
    found = one(judge_configuration(POLICY, {0: stored(POLICY), 1: stored(POLICY)}), Severity.OK)
    assert f"hash {fingerprint(stored(POLICY))}, the same in the state of partition 0-1" in found.what


def test_a_change_that_a_state_cannot_follow_is_an_error() -> None:
    findings = judge_configuration(replace(POLICY, currency="MYR"), {0: stored(POLICY), 3: stored(POLICY)})
    found = one(findings, Severity.ERROR)
    assert "partition 0, 3 was counted under others" in found.what
    assert "--currency was IDR, is now MYR" in found.what
    assert "--rebuild" in found.todo


def test_a_change_that_a_state_can_follow_is_told() -> None:
    findings = judge_configuration(replace(POLICY, lateness_ms=1000), {0: stored(POLICY)})
    assert "--lateness was 5m, is now 1s" in one(findings, Severity.INFO).what
