"""What a shard feeds: a state machine that reads some topics, writes others, and keeps a state. Any machine will do.

kafka/ moves records: it reads them in order, hands them to the machine of the shard, and writes what the machine gives
away, with its state and its positions, in one transaction. What a record means is the machine's business alone. A machine
has no clock and does no I/O; all that it is told comes through these calls.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from stream.config import Settings
from stream.core.cooperative import Steps
from stream.core.statelog import Provenance, Restored
from stream.core.timed import Timed
from stream.model.results import DeadLetter, Record

Name: TypeAlias = Any
"""Of an input, as the role has it: a text. A machine may use an enumeration of texts, which are equal to theirs."""
Placed: TypeAlias = Callable[[bytes], bool]
"""Whether a key belongs to the partition of the machine."""
Change: TypeAlias = tuple[str, object, object]
"""A setting, its value in the state, and its value now."""


class Outputs(Protocol):
    """All that one checkpoint writes."""

    @property
    def records(self) -> Mapping[str, Iterable[tuple[bytes, bytes | None]]]:
        """Key and value of each record, by output topic of the role. Dead letters and the state are not among them."""

    @property
    def dead_letters(self) -> Sequence[DeadLetter]:
        """Records that were refused. A role without a topic of dead letters has none."""

    @property
    def state(self) -> Sequence[tuple[bytes, bytes]]:
        """Key and value of the parts of the checkpoint (`core/framing.py`); the offset of the first goes to `committed`."""

    @property
    def positions(self) -> Mapping[Name, int]:
        """Next offset to read, by input."""

    @property
    def generation(self) -> int: ...
    @property
    def checkpoint(self) -> int:
        """Its number."""

    @property
    def newest_end(self) -> int | None:
        """Event time in ms up to which the newest result reaches, if that is to be measured."""

    @property
    def misplaced(self) -> int:
        """How many keys came that belong to another partition: the number of partitions may have changed."""

    @property
    def tally(self) -> Any:
        """Numbers for whoever shows this machine; they are shown once the checkpoint has committed."""


class Machine(Protocol):
    """One shard of a role, as a pure state machine.

    Who subclasses it has inputs without event time, counted as they come, until it says something else.
    """

    # -- whose it is and where it stands: kept in each checkpoint (`core/statelog.py`, Provenance)
    owner: dict[str, str]
    transactional_id: str
    partitions: int | None
    """How many each topic has, if anybody has said so."""
    moved_to: str | None
    topic_ids: dict[str, str]
    """Kafka's ids of the topics it reads and writes, by their names in the code."""
    positions: dict[Name, int]
    moved: bool
    """Something happened that the next checkpoint has to keep."""

    @property
    def generation(self) -> int:
        """0; one more each time the state was rebuilt."""

    @property
    def checkpoint(self) -> int:
        """Number of the last checkpoint that was collected; 0 before the first."""

    @property
    def kept_format(self) -> str | None:
        """That of an earlier version, in which the state was found and is continued, and what it does not hold; None when
        it is written in the newest.
        """
        return None

    def upgrade(self) -> None:
        """From the next checkpoint on the state is written in the newest format. No earlier version can go back to it."""
        return

    def begin_at(self, positions: dict[Name, int]) -> None:
        """A new machine's first offsets. The first checkpoint keeps them, also when no record ever comes."""

    def gap(self, name: Name, lost: int) -> None:
        """So many offsets of an input are lost to retention, at most."""

    # -- records come in

    def decode(self, name: Name, records: Sequence[Record]) -> tuple[Sequence[Record], Timed[Any]]:
        """What `count` takes: the records, or others that stand for them, and what is in them."""

    def count(self, name: Name, records: Sequence[Record], events: Sequence[Any]) -> None:
        """The next records of an input, in order."""

    def skip(self, name: Name, records: Sequence[Record], why: str) -> None:
        """The next records of an input, as an operator has named them: it goes on behind them. A role that has a topic of
        dead letters puts them there, with ``why``.
        """

    # -- event time, for roles whose inputs are aligned by it

    @property
    def clocks(self) -> Mapping[Name, int | None]:
        """How far each input is in event time, ms; None before its first event."""
        return {}

    @property
    def newest(self) -> int | None:
        """The newest of them."""
        return None

    @property
    def left_out(self) -> Collection[Name]:
        """Inputs that are far behind in event time, and that nothing waits for."""
        return ()

    def keep_up(self, caught_up: Collection[Name]) -> bool:  # noqa: ARG002 - nothing depends on it
        """Says of which inputs all there is has been counted. True when more is due now."""
        return False

    def far_behind(self) -> Collection[Name]:
        """Inputs that hold nothing back, since they are far behind."""
        return ()

    def exclude(self, name: Name) -> None:  # noqa: ARG002 - nothing depends on it
        """The input is caught up and silent: it holds nothing back, until its next record."""
        return

    def quiet(self, wall_ms: int) -> None:  # noqa: ARG002 - the same
        """All inputs are caught up and silent: what the wall clock has passed may be closed."""
        return

    # -- results go out

    def work(self, steps: int) -> bool:  # noqa: ARG002 - nothing is due
        """Does what is due, at most ``steps`` pieces of it. True while more is."""
        return False

    @property
    def waiting_bytes(self) -> int:
        """About how many bytes the next checkpoint will write."""
        return 0

    @property
    def slices_held(self) -> int:
        """Slices of event time that it holds: the more of them are new, the longer a checkpoint walks."""
        return 0

    def collecting(self, *, in_backlog: bool = False, now_ms: int | None = None) -> Steps[Outputs | None]:
        """All that one checkpoint has to write; None when nothing has changed. Nothing else is asked of it meanwhile.

        ``in_backlog``: what is read is old. ``now_ms``: of any clock that never goes back.
        """

    def committed(self, number: int, first_state_offset: int) -> None:
        """Checkpoint ``number`` is in the log. Called before the next is collected."""

    def viewing(self, top: int) -> Steps[Any]:
        """A look at it for people: the ``top`` largest of what it counts. Who shows it knows what it is."""


class Machines(Protocol):
    """Makes the machines of a role, and knows what only they can tell."""

    def begin(self, settings: Settings, placed: Placed, generation: int) -> Machine:
        """One that has counted nothing."""

    def restore(
        self, settings: Settings, placed: Placed, records: Iterable[tuple[int, bytes]], *, vouched: bool
    ) -> Machine:
        """From the records (offset, value) of the state. ``vouched``: each had its checksum.

        Raises StateError for records that are no state, ChangedSettingsError for one counted under other settings. It is
        called in a thread of its own.
        """

    def refused_changes(self, settings: Settings, stored: Mapping[str, Any]) -> Sequence[Change]:
        """Settings of a state that keep a machine under ours from going on with it."""

    def changes(self, settings: Settings, stored: Mapping[str, Any]) -> Sequence[Change]:  # noqa: ARG002 - it has none
        """All settings of a state that are not ours."""
        return ()

    def provenance(self, content: Restored) -> Provenance:
        """What a state says of itself. Raises StateError for one that this version cannot go on with."""
        return content.head(Provenance)

    def figures(
        self,
        placed: Placed,  # noqa: ARG002 - it has none
        records: Iterable[tuple[int, bytes]],  # noqa: ARG002 - the same
        stored: Mapping[str, Any],  # noqa: ARG002 - the same
        *,
        vouched: bool,  # noqa: ARG002 - the same
    ) -> Mapping[str, Any]:
        """What a state holds, for people. It is read under the settings ``stored`` in it. Raises StateError."""
        return {}

    def generation_of(self, record: Any) -> int | None:
        """What a record of an output says of its generation; None for what is no result of the role."""

    async def rebuild(
        self, machine: Machine, reader: Any, outputs: Mapping[str, Any], ends: Mapping[Name, int]
    ) -> None:
        """Before a new machine counts everything anew: what it has to know of what was written before.

        ``reader`` is assigned to the ``outputs``, partitions by topic; ``ends``: where the inputs end now.
        """

    def follow(self, machine: Machine) -> None:
        """Called all the time while a machine runs: hands it what has changed in the configuration of the process."""

    def read_again(self) -> object:
        """The operator asks for configuration to be read again (SIGHUP)."""
