"""One rule and one session, slide by slide: pending, firing, kept firing, resolved."""

import pytest

from stream.core.alerts.rule_state import RuleState, judged
from stream.model.alerts import Alert, Rule, Severity, Status

FIRED = Alert(
    alert="a", session_id="s", seller_id="x", status=Status.FIRING, severity=Severity.PAGE, since=0, at=0, run="live",
    summary="", runbook="", values={}, id="0" * 16,
)  # fmt: skip


def played(holds: str, *, for_: int = 0, keep: int = 0) -> str:
    """By slide: ``.`` inactive, ``p`` pending, ``F`` begins to fire, ``f`` fires, ``R`` resolved; 1 holds, 0 does not."""
    rule = Rule(
        alert="a", window_ms=1, when="", for_ms=for_, keep_firing_for_ms=keep, severity=Severity.PAGE, summary="",
        runbook="",
    )  # fmt: skip
    rule_state: RuleState | None = None
    shown = ""
    for end, each in enumerate(holds):
        rule_state, told = judged(rule_state, rule, end, holds=each == "1")
        if told is Status.FIRING:
            assert rule_state is not None
            rule_state.fired = FIRED
        letter = "." if rule_state is None else "p" if rule_state.fired is None else "f"
        shown += {Status.FIRING: "F", Status.RESOLVED: "R", None: letter}[told]
    return shown


@pytest.mark.parametrize(
    ("holds", "for_", "keep", "shown"),
    [
        ("0110", 0, 0, ".FfR"),
        ("0111010", 2, 0, ".ppFRp."),  # interrupted, it begins again
        ("0110110", 2, 0, ".pp.pp."),
        ("0100010", 0, 2, ".FffRFf"),  # kept for two slides after the first that does not hold
        ("0101000", 0, 2, ".FffffR"),
        ("01000100000", 0, 3, ".FfffffffR."),
        ("010", 0, 0, ".FR"),
        ("000", 1, 1, "..."),
    ],
)
def test_how_it_stands(holds: str, for_: int, keep: int, shown: str) -> None:
    assert played(holds, for_=for_, keep=keep) == shown


def test_it_holds_since_the_slide_in_which_it_first_held() -> None:
    rule = Rule(alert="a", window_ms=1, when="", for_ms=5, severity=Severity.PAGE, summary="", runbook="")
    rule_state, _ = judged(None, rule, 10, holds=True)
    rule_state, told = judged(rule_state, rule, 15, holds=True)
    assert (rule_state and rule_state.since, told) == (10, Status.FIRING)
