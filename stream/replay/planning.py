"""Makes the plan of a replay: bounds are resolved to offsets once, and frozen. Reads only; nothing of it reaches Kafka.

A record whose event time counts was appended at that time or later, but for ``max_future``. So views and comments are read
from a lead before the range on, so that clocks stand and alerts decide as they did; and from the lead before the first event
of each session that was on air at the beginning. Checkouts are read from a day before, so that one that a shop sends again
is known. How far reading goes is said by the topics' clocks, but never beyond what there was when the plan was made.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
from aiokafka.partitioner import murmur2

from stream import __version__
from stream.config import Settings, changes
from stream.core.alerts.rules import Rules
from stream.core.policy import DAY, Policy, fingerprint
from stream.durations import parse_windows
from stream.errors import UsageError
from stream.kafka import preflight
from stream.model.names import STATE
from stream.replay import plan as plans
from stream.replay.backtest import lead_ms
from stream.replay.identity import Identity, identity
from stream.replay.overlapping import OnAir, Tell, Wanted, on_air, untold
from stream.replay.plan import PartitionPlan, Plan
from stream.replay.resolving import Bounds, Stretch, resolved
from stream.rules.reading import kept_rules, load_rules, rules_text
from stream.sessions import topics
from stream.sessions.role import WORKER


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an operator asks for. Times are ms."""

    from_ms: int
    to_ms: int
    now_ms: int
    id: str | None = None
    windows: str | None = None
    """Instead of those of the workers."""
    rules: str | None = None
    sessions: tuple[str, ...] = ()
    sellers: tuple[str, ...] = ()
    count_late: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what people should know of it."""

    plan: Plan
    stretches: list[Stretch]
    sessions: list[OnAir] | None
    """None: there is no live.sessions."""
    beyond: list[OnAir]
    """Began so long before that their beginning is not read."""
    changed: list[str]
    """Settings of the workers' states that differ from those given."""


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What is decided before anything is asked of Kafka."""

    policy: Policy
    rules: str
    lead_ms: int


def _freeze(settings: Settings, asked: Asked) -> _Frozen:
    """Raises UsageError for what cannot be."""
    if asked.id is not None:
        plans.check_id(asked.id)
    _check_times(asked)
    policy = _policy(settings, asked)
    if not any(_first_start(asked.from_ms, spec.slide_ms) + spec.size_ms <= asked.to_ms for spec in policy.windows):
        raise UsageError("--to: no window lies wholly between --from and --to, so nothing would be written")
    rules, text = _rules(settings, asked, policy)
    span = policy.longest_ms + policy.delay_ms + policy.lateness_ms + policy.pane_ms
    lead = max(lead_ms(policy, rules), span)
    return _Frozen(_counting_late(policy, asked) if asked.count_late else policy, text, lead)


def _check_times(asked: Asked) -> None:
    if asked.from_ms == asked.to_ms:
        raise UsageError("--from and --to are the same moment: nothing lies between")
    if asked.from_ms > asked.to_ms:
        raise UsageError("--to must lie behind --from")
    if asked.to_ms > asked.now_ms:
        raise UsageError("--to lies in the future: only what was recorded can be replayed")


def _policy(settings: Settings, asked: Asked) -> Policy:
    """The workers', but for the windows; panes are held as long as those need it."""
    live = settings.policy()
    if asked.windows is None:
        return live
    try:
        windows = parse_windows(asked.windows)
        least = max((spec.size_ms for spec in windows), default=0) + live.delay_ms + live.lateness_ms
        return replace(live, windows=windows, state_retention_ms=max(live.state_retention_ms, least))
    except ValueError as error:
        raise UsageError(f"--windows: {error}") from None


def _counting_late(policy: Policy, asked: Asked) -> Policy:
    """No event of the range is late until a day after it."""
    lateness = max(policy.lateness_ms, asked.to_ms - asked.from_ms + DAY)
    least = policy.longest_ms + policy.delay_ms + lateness
    return replace(policy, lateness_ms=lateness, state_retention_ms=max(policy.state_retention_ms, least))


def _rules(settings: Settings, asked: Asked, policy: Policy) -> tuple[Rules, str]:
    setting = settings.rules if asked.rules is None else asked.rules
    load_rules(setting, policy.pane_ms)  # with the lines of its mistakes
    text = rules_text(setting)
    return kept_rules(text, setting, policy.pane_ms), text


def _first_start(time: int, slide: int) -> int:
    """Of the windows that begin at or after a time."""
    return -(-time // slide) * slide


# -- what Kafka is asked


async def make(settings: Settings, asked: Asked, tell: Tell = untold) -> Planned:
    """Raises UsageError for what cannot be, before anything is read; also for inputs that are missing.

    ``tell`` is called with the records of live.sessions that were read, and all.
    """
    frozen = _freeze(settings, asked)
    found = await identity(settings)
    sessions = await on_air(settings, (asked.from_ms, asked.to_ms), Wanted(asked.sessions, asked.sellers), tell)
    bounds = Bounds((asked.from_ms, asked.to_ms), frozen.policy, frozen.lead_ms, sessions or [])
    stretches = await resolved(settings, bounds, _numbers(asked, sessions or [], found.partitions))
    return Planned(
        _plan(settings, asked, frozen, found, stretches),
        stretches,
        sessions,
        [each for each in sessions or [] if each.first_event < bounds.earliest],
        await _changed(settings),
    )


def _numbers(asked: Asked, sessions: Collection[OnAir], partitions: int) -> list[int]:
    """Partitions in which anything that is meant may lie: where a session was counted, and where its key belongs."""
    if asked.sellers or not asked.sessions:
        return list(range(partitions))
    by_key = {(murmur2(each.encode()) & 0x7FFFFFFF) % partitions for each in asked.sessions}
    return sorted(by_key | {each.partition for each in sessions if each.partition < partitions})


async def _changed(settings: Settings) -> list[str]:
    """How the settings differ from those under which the workers count, for people."""
    if STATE not in await topics.configs(settings):
        return []
    number = (await topics.counts(settings, (STATE,)))[settings.topic(STATE)]
    states = await preflight.newest_states(WORKER, settings, number)
    ours = msgspec.json.decode(msgspec.json.encode(settings.policy().deciding()))  # lists for tuples, as in a state
    return sorted({text for _, newest in states if newest for text in _differences(newest.meta.policy, ours)})


def _differences(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    differ = sorted(name for name in old.keys() & new if old[name] != new[name])
    return list(map(str, changes((name, old[name], new[name]) for name in differ)))


# -- the plan itself


def _plan(settings: Settings, asked: Asked, frozen: _Frozen, found: Identity, stretches: Collection[Stretch]) -> Plan:
    plan = Plan(
        id="",
        from_ms=asked.from_ms,
        to_ms=asked.to_ms,
        lead_ms=frozen.lead_ms,
        sessions=sorted({*asked.sessions}),
        sellers=sorted({*asked.sellers}),
        policy=frozen.policy.deciding(),
        live_policy=fingerprint(settings.policy().deciding()),
        rules=frozen.rules,
        count_late=asked.count_late,
        cluster=found.cluster,
        topic_prefix=settings.topic_prefix,
        topic_ids=dict(found.topic_ids),
        partitions=found.partitions,
        parts=[_part(number, stretches) for number in sorted({each.partition for each in stretches})],
        planned_ms=asked.now_ms,
        version=__version__,
    )
    return plans.sealed(msgspec.structs.replace(plan, id=asked.id or _id(plan)))


def _id(plan: Plan) -> str:
    """Such as ``r20261120-1100-3f9a1c``: of the beginning, UTC, and of all that is planned."""
    begin = datetime.fromtimestamp(plan.from_ms / 1000, UTC)
    return f"r{begin:%Y%m%d-%H%M}-{plans.sealed(plan).hash[:6]}"


def _part(number: int, stretches: Collection[Stretch]) -> PartitionPlan:
    own = [each for each in stretches if each.partition == number]
    return PartitionPlan(
        partition=number,
        begins={each.input: each.begin for each in own},
        ends={each.input: each.end for each in own},
        expected={each.input: each.expected for each in own},
        expected_bytes=sum(each.bytes or 0 for each in own),
        lost={each.input: each.lost for each in own if each.lost},
    )
