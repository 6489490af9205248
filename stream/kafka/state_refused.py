"""Why the state of a shard is refused. Each error says what is wrong with the state, and the way out."""

from collections.abc import Collection, Iterable, Mapping

from stream.config import Settings, changes
from stream.core.framing import LaterStateError, StateError
from stream.errors import UsageError
from stream.kafka.shard_context import ShardContext
from stream.printed import Command, command


class StateRefusedError(UsageError):
    """The state of one shard cannot be continued.

    ``everywhere``: the configuration is the cause, so every shard will be refused.
    Whoever starts the worker must know at once.
    """

    def __init__(self, text: str, *, everywhere: bool = False) -> None:
        super().__init__(text)
        self.everywhere = everywhere


def no_state(context: ShardContext, evidence: str) -> StateRefusedError:
    """``evidence`` says what shows that there was a state."""
    return StateRefusedError(
        f"partition {context.partition} has no state in {context.state.topic}, but {evidence}: it was worked on before. "
        f"Bring the state back, or count everything anew as a new generation: {_to_rebuild(context)}"
    )


def unreadable_state(context: ShardContext, error: StateError) -> StateRefusedError:
    if isinstance(error, LaterStateError):
        return StateRefusedError(
            f"the state of partition {context.partition} in {context.state.topic} cannot be continued: {error}. Start "
            "that version again, which goes on as if nothing had happened, or count everything anew: "
            f"{_to_rebuild(context)}",
            everywhere=True,
        )
    return StateRefusedError(
        f"the state of partition {context.partition} in {context.state.topic} cannot be read: {error}. "
        f"Bring back what was there (`{_command(context, 'state verify')}` says when it is right), use the "
        f"version that wrote it, or count everything anew: {_to_rebuild(context)}"
    )


def changed_settings(
    context: ShardContext, found: Iterable[tuple[str, object, object]], others: int = 0
) -> StateRefusedError:
    """``found``: setting, its value in the state, ours; ``others``: how many more partitions are refused as well."""
    more = f" (and of {others} more)" if others else ""
    return StateRefusedError(
        f"the state of partition {context.partition}{more} was counted under other settings: "
        f"{'; '.join(map(str, changes(found)))}. "
        "Put them back, or start once with --rebuild to count everything anew under the new ones",
        everywhere=True,
    )


def other_owner(context: ShardContext, owner: Mapping[str, str]) -> StateRefusedError:
    ours = context.owner
    differences = "; ".join(
        f"its {name} is {owner.get(name)}, not {ours.get(name)}"
        for name in sorted({*owner, *ours})
        if owner.get(name) != ours.get(name)
    )
    return StateRefusedError(
        f"the state of partition {context.partition} in {context.state.topic} is another's: {differences}. "
        "Give this worker its own --topic-prefix, or throw that state away and fence whoever writes it: "
        f"{_to_rebuild(context)}",
        everywhere=True,
    )


def second_writer(context: ShardContext, owner: Mapping[str, str] | None, offset: int) -> StateRefusedError:
    """``owner``: what is written at ``offset`` says so; None when that cannot be read."""
    said = "that cannot be read"
    if owner is not None:
        said = f"of another installation: its group is {owner.get('group')}, its inputs are {owner.get('topics')}"
    return StateRefusedError(
        f"the state of partition {context.partition} in {context.state.topic} is written by somebody else too: at offset "
        f"{offset} is a record {said}. This worker has stopped counting the partition, and looks again. Stop the other one; "
        f"if the state cannot be continued then, count everything anew: {_to_rebuild(context)}"
    )


def recreated_topics(context: ShardContext, names: Collection[str], *, running: bool = False) -> StateRefusedError:
    """``names``: topics, as the code calls them, whose ids are not those that the state knows."""
    topics = [context.settings.topic(name) for name in names]
    are, they, them = ("was", "it is", "it") if len(topics) == 1 else ("were", "they are", "them")
    return StateRefusedError(
        f"{', '.join(topics)} {are} made anew{' while a worker ran' if running else ''}: {they} not what the state of "
        f"partition {context.partition} was counted from or written to. {_to_adopt(context, names, them, running=running)}"
        "Or start once with --rebuild to count everything anew",
        everywhere=True,
    )


def _to_adopt(context: ShardContext, names: Collection[str], them: str, *, running: bool) -> str:
    """How a state goes on with the new topics.

    A state that was read from a topic which it does not know was copied there. A state that is only in memory has lost its
    topic (``running``).
    """
    keep = keep_command(context.settings)
    if context.role.state in names:
        if running:
            return f"Bring back what was in {context.state.topic}. "
        return (
            f"After a move to another cluster, or when {context.state.topic} was brought back, with the same offsets: stop "
            f"all workers, also those of the other cluster, and go on with {them}: `{keep}`. "
        )
    if not set(names) & set(context.role.input_topics.values()):
        return f"Stop all workers and go on with {them}, without what was written before: `{keep}`. "
    return (
        f"Stop all workers and read {them} from the beginning, besides what was counted: "
        f"`{beginning_command(context.settings)}`. After a move to another cluster, with the same offsets: `{keep}`. "
    )


def keep_command(settings: Settings) -> str:
    """Goes on with other topics at the positions of the states."""
    return command(settings, "state adopt", "--positions", "keep", "--execute")


def beginning_command(settings: Settings) -> str:
    """Goes on with other topics, from their beginning."""
    return command(settings, "state adopt", "--positions", "beginning", "--execute")


def beyond_end(context: ShardContext, name: str, position: int, end: int) -> StateRefusedError:
    return StateRefusedError(
        f"{context.inputs[name].topic}, partition {context.partition}, ends at {end}, but was read up to {position}: "
        f"the topic was made anew. Stop all workers and read it from the beginning, besides what was counted: "
        f"`{beginning_command(context.settings)}`. Or count everything anew: {_to_rebuild(context)}"
    )


def _to_rebuild(context: ShardContext) -> str:
    """One partition by hand, beside running workers; or all of them when the workers start."""
    return f"`{_command(context, 'state rebuild', '--execute')}`, or start once with --rebuild for all"


def _command(context: ShardContext, name: Command, *words: str) -> str:
    return command(context.settings, name, "--partition", str(context.partition), *words)
