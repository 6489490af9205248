"""The role of a replay: the inputs of the workers, topics of its own, and no group (kafka/role.py)."""

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from stream.config import Settings
from stream.core.scope import Scope
from stream.kafka.machine import Machine, Placed
from stream.kafka.role import Role, Spec
from stream.kafka.topics import DAY_MS
from stream.replay.machine import ReplayShard
from stream.replay.plan import WRITTEN, Plan
from stream.rules.reading import kept_rules
from stream.sessions.figures import policy_of
from stream.sessions.machines import Shards
from stream.sessions.role import SPECS, WORKER

if TYPE_CHECKING:
    from stream.core.alerts.rules import Rules

KEPT_MS: Final = 7 * DAY_MS
"""So long after it was written all of a replay is gone."""
_BY_LIVE: Final = {spec.name: spec for spec in SPECS}


def replay_role(plan: Plan, rules: "Rules | None" = None) -> Role:
    """Without rules no alert is written: for whoever only reads."""
    return Role(
        name="replay",
        run=plan.id,
        inputs=WORKER.inputs,
        outputs=tuple(replace(each, topic=plan.topic(each.topic)) for each in WORKER.outputs),
        letters=plan.topic(WORKER.letters or ""),
        state=plan.topic(WORKER.state),
        specs=specs(plan),
        machines=Replayed(plan, rules),
        renamed={each.topic: plan.topic(each.topic) for each in WORKER.outputs},
        has_group=False,
    )


def specs(plan: Plan) -> tuple[Spec, ...]:
    """What its topics are created with: as the live ones, but all of it expires."""
    return tuple(_spec(plan, _BY_LIVE[live]) for live in WRITTEN)


def _spec(plan: Plan, live: Spec) -> Spec:
    cleanup = live.configs["cleanup.policy"]
    policy = cleanup if "delete" in cleanup else f"{cleanup},delete"
    return Spec(plan.topic(live.name), {**live.configs, "cleanup.policy": policy, "retention.ms": str(KEPT_MS)})


def rules_of(plan: Plan) -> "Rules":
    """The alert rules of a plan. Raises UsageError for those that this version does not know."""
    return kept_rules(plan.rules, f"the plan {plan.id}", policy_of(plan.policy).pane_ms)


def scope_of(plan: Plan) -> Scope:
    """What it writes."""
    sessions = frozenset(each.encode() for each in plan.sessions)
    return Scope(plan.from_ms, plan.to_ms, sessions, frozenset(plan.sellers))


class Replayed(Shards):
    """Its shards count under the settings of the plan, whatever those of the process."""

    def __init__(self, plan: Plan, rules: "Rules | None") -> None:
        super().__init__()
        self._policy = policy_of(plan.policy)
        self._of_its_kind: dict[str, Any] = {"run": plan.id, "scope": scope_of(plan), "rules": rules}

    def begin(self, settings: Settings, placed: Placed, generation: int) -> Machine:  # noqa: ARG002 - the plan's decide
        return ReplayShard(
            self._policy, generation=generation, placed=placed, stopwatch=time.perf_counter, **self._of_its_kind
        )

    def restore(
        self,
        settings: Settings,  # noqa: ARG002 - the plan's decide
        placed: Placed,
        records: Iterable[tuple[int, bytes]],
        *,
        vouched: bool,
    ) -> Machine:
        options = {"placed": placed, "stopwatch": time.perf_counter, **self._of_its_kind}
        return ReplayShard.restore(self._policy, records, vouched=vouched, **options)


def settings_of(plan: Plan, settings: Settings) -> Settings:
    """Those of the process, but what decides how its inputs are read is the plan's. It is in no group of anybody."""
    policy = policy_of(plan.policy)
    of_plan = {
        "max_future": policy.max_future_ms,
        "state_retention": policy.state_retention_ms,
        "delay": policy.delay_ms,
    }
    return settings.model_copy(
        update={
            **{name: timedelta(milliseconds=value) for name, value in of_plan.items()},
            "idle_after": timedelta(0),
            "group": f"replay.{plan.id}",
        }
    )
