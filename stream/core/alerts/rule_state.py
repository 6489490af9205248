"""The state machine of one rule for one session: inactive, pending, firing, kept firing, resolved. As Prometheus has it.

Times are ends of slides, in ms.
"""

from stream.model.alerts import Alert, Rule, Status


class RuleState:
    """A rule that holds, or that fires and is kept firing. An inactive one has none."""

    __slots__ = ("calm_since", "fired", "since")

    def __init__(self, since: int, fired: Alert | None = None, calm_since: int | None = None) -> None:
        self.since = since
        """When it first held."""
        self.fired = fired
        """What was told when it began to fire."""
        self.calm_since = calm_since
        """While it fires: since when it has not held."""


def judged(
    rule_state: RuleState | None, rule: Rule, end: int, *, holds: bool
) -> tuple[RuleState | None, Status | None]:
    """How it stands after a slide, and what is to be told: a standing that begins to fire still lacks its alert."""
    if rule_state is None:
        if not holds:
            return None, None
        rule_state = RuleState(end)
    if rule_state.fired is None:
        if not holds:
            return None, None
        return rule_state, Status.FIRING if end - rule_state.since >= rule.for_ms else None
    if holds:
        rule_state.calm_since = None
        return rule_state, None
    if rule_state.calm_since is None:
        rule_state.calm_since = end
    kept = end - rule_state.calm_since < rule.keep_firing_for_ms
    return (rule_state, None) if kept else (None, Status.RESOLVED)
