"""Where each shard stands: its state's positions, held against the log and against the group's offsets, and its topics.

The worker goes by the state alone; the group's offsets are for lag tools and autoscalers, which then see something wrong.
Also: whether it can be continued at all (the worker refuses the same things at its start).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from stream.config import Settings
from stream.doctor.finding import Check, Finding, Severity, listed
from stream.kafka.partitions import Outgrown, judge
from stream.kafka.state_refused import beginning_command, keep_command
from stream.kafka.topicids import Ids, letters_made_anew, made_anew
from stream.model.names import DEAD_LETTERS, INPUTS, KINDS, STATE, Kind
from stream.sessions.role import WORKER

REBUILD: Final = "start the worker once with --rebuild to count everything anew as a new generation"


@dataclass(frozen=True, slots=True)
class StateSummary:
    """What the newest checkpoint of a partition says."""

    owner: Mapping[str, str]
    policy: Mapping[str, object]
    generation: int
    positions: Mapping[Kind, int]
    partitions: int | None = None
    """How many there were when it was counted."""
    moved_to: str | None = None
    """The prefix of the topics that have taken over."""
    topic_ids: Ids = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unusable:
    """A state that is there and cannot be continued: it ``cannot be read: …``."""

    why: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one input: the first offset, the last stable offset, and what the group had committed before and after the
    state was read (-1: nothing): a worker may have moved on meanwhile.
    """

    topic: str
    begin: int
    end: int
    before: int = -1
    after: int = -1


@dataclass(frozen=True, slots=True)
class Shard:
    """All that is known of one partition number. ``state`` None: there is none. ``traces``: there are results."""

    partition: int
    inputs: Mapping[Kind, Bounds]
    state: StateSummary | Unusable | None = None
    traces: bool = False

    @property
    def committed(self) -> bool:
        return any(bounds.after >= 0 for bounds in self.inputs.values())

    @property
    def begun(self) -> bool:
        """Somebody has worked on it."""
        return self.state is not None or self.traces or self.committed

    def position(self, kind: Kind) -> int:
        """Where reading goes on: by the state, else by the group; -1 for nowhere."""
        position = self.state.positions.get(kind) if isinstance(self.state, StateSummary) else None
        return self.inputs[kind].after if position is None else position


def judge_outgrown(shards: Sequence[Shard], counts: Mapping[str, int], settings: Settings) -> list[Finding]:
    """Whether the states are of another number of partitions, or moved elsewhere. ``counts``: partitions by topic.

    Inputs that have more than other topics are the matter of the check of topics.
    """
    states = [shard.state for shard in shards if isinstance(shard.state, StateSummary)]
    counted = max((state.partitions for state in states if state.partitions is not None), default=0)
    moved_to = next((state.moved_to for state in states if state.moved_to is not None), None)
    outgrown = judge(WORKER, settings, counts, counted) if counted and counted < min(counts.values()) else None
    if moved_to is not None:
        outgrown = Outgrown(counted, moved_to=moved_to)
    if outgrown is None:
        return []
    subject = settings.topic(STATE)
    return [Finding(Check.POSITIONS, Severity.ERROR, subject, outgrown.what(settings), outgrown.todo(settings))]


def judge_positions(shards: Sequence[Shard], owner: Mapping[str, str], state_topic: str) -> list[Finding]:
    found: list[Finding] = []
    fine: list[int] = []
    new: list[int] = []
    for shard in shards:
        wrong = _judge(shard, owner, f"{state_topic}/{shard.partition}")
        found += wrong
        if not wrong:
            (fine if shard.begun else new).append(shard.partition)
    if fine:
        what = f"partition {listed(fine)}: the state and the group's offsets agree"
        found.append(Finding(Check.POSITIONS, Severity.OK, state_topic, what))
    if new:
        what = f"partition {listed(new)}: no state yet, nobody has worked on it"
        found.append(Finding(Check.POSITIONS, Severity.INFO, state_topic, what))
    return found


def judge_ids(shards: Sequence[Shard], now: Ids, settings: Settings) -> list[Finding]:
    """Topics that are not those the states know. ``now``: the ids of those that are there."""
    states = {shard.partition: shard.state for shard in shards if isinstance(shard.state, StateSummary)}
    others: dict[str, list[int]] = {}
    for partition, state in states.items():
        for name in made_anew(WORKER, state.topic_ids, now):
            others.setdefault(name, []).append(partition)
    found = [_anew(name, now[name], partitions, settings) for name, partitions in others.items()]
    if any(letters_made_anew(WORKER, state.topic_ids, now) for state in states.values()):
        what = "was made anew: the letters in it before are gone"
        todo = "nothing: a worker goes on with it"
        found.append(Finding(Check.POSITIONS, Severity.WARNING, settings.topic(DEAD_LETTERS), what, todo))
    return found


def _anew(name: str, topic_id: str, partitions: Sequence[int], settings: Settings) -> Finding:
    what = f"was made anew: its id is {topic_id}, and the state of partition {listed(partitions)} knows another one"
    keep = keep_command(settings)
    todo = f"stop all workers and go on with it: `{keep}`"
    if name in INPUTS.values():
        begin = beginning_command(settings)
        todo = f"stop all workers and read it from the beginning: `{begin}`; after a move to another cluster: `{keep}`"
    if name == STATE:  # a state that was read from another topic than its own was copied there
        todo = f"after a move to another cluster, or when the state was brought back: `{keep}`; else {REBUILD}"
    return Finding(Check.POSITIONS, Severity.ERROR, settings.topic(name), what, todo)


def _judge(shard: Shard, owner: Mapping[str, str], subject: str) -> list[Finding]:
    match shard.state:
        case None:
            return _stateless(shard, subject)
        case Unusable(why):
            todo = f"bring the state back, use the version that wrote it, or {REBUILD}"
            return [Finding(Check.POSITIONS, Severity.ERROR, subject, f"the state {why}", todo)]
        case StateSummary() as summary:
            return _foreign(summary, owner, subject) or [
                each for kind in KINDS for each in _against_the_log(shard, kind) or _against_the_group(shard, kind)
            ]
        case _:
            assert_never(shard.state)


def _foreign(summary: StateSummary, owner: Mapping[str, str], subject: str) -> list[Finding]:
    differing = [name for name in sorted({*owner, *summary.owner}) if owner.get(name) != summary.owner.get(name)]
    if not differing:
        return []
    whose = "; ".join(f"its {name} is {summary.owner.get(name)}, not {owner.get(name)}" for name in differing)
    todo = f"give the doctor and the worker the settings that belong to this state, or {REBUILD}, which throws it away"
    return [Finding(Check.POSITIONS, Severity.ERROR, subject, f"the state is another's: {whose}", todo)]


def _stateless(shard: Shard, subject: str) -> list[Finding]:
    traces = ["the group has offsets"] * shard.committed + ["there are results"] * shard.traces
    if not traces:
        return []
    what = f"there is no state, but {' and '.join(traces)}: it was worked on before"
    return [Finding(Check.POSITIONS, Severity.ERROR, subject, what, f"bring the state back, or {REBUILD}")]


def _against_the_log(shard: Shard, kind: Kind) -> list[Finding]:
    position, bounds = shard.position(kind), shard.inputs[kind]
    subject = f"{bounds.topic}/{shard.partition}"
    if position > bounds.end:
        what = f"ends at {bounds.end}, but the state has read up to {position}: the topic was made anew"
        return [Finding(Check.POSITIONS, Severity.ERROR, subject, what, REBUILD)]
    if 0 <= position < bounds.begin:
        what = (
            f"begins at {bounds.begin}, but the state has only read up to {position}: up to {bounds.begin - position} "
            "records were deleted unread, and their windows will be marked incomplete"
        )
        todo = "start the worker soon, and give the topic a longer retention.ms"
        return [Finding(Check.POSITIONS, Severity.ERROR, subject, what, todo)]
    return []


def _against_the_group(shard: Shard, kind: Kind) -> list[Finding]:
    position, bounds = shard.position(kind), shard.inputs[kind]
    subject = f"{bounds.topic}/{shard.partition}"
    if bounds.after < 0:
        if position <= bounds.begin:
            return []  # the worker has read nothing of it
        what = f"the group has no offset, the state has {position}: it has expired, and lag tools see nothing"
        todo = "start the worker: its next checkpoint writes it anew"
        return [Finding(Check.POSITIONS, Severity.WARNING, subject, what, todo)]
    if position > bounds.after:
        what = f"the group's offset {bounds.after} is behind the state's {position}: somebody has set it back"
        todo = "nothing is counted twice, the worker goes by the state; its next checkpoint mends what lag tools see"
        return [Finding(Check.POSITIONS, Severity.WARNING, subject, what, todo)]
    if position < bounds.before:
        what = (
            f"the state's position {position} is behind the group's offset {bounds.before}: somebody else commits for "
            "this group, or the state has lost checkpoints"
        )
        todo = (
            "find out which; the worker goes by the state. If it has lost checkpoints (an unclean election, a topic brought "
            f"back from a copy), {REBUILD}"
        )
        return [Finding(Check.POSITIONS, Severity.ERROR, subject, what, todo)]
    return []
