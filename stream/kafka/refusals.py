"""Why a shard is not started: each says what is the matter with its state, and the way out."""

from collections.abc import Mapping

from stream.core.framing import StateError
from stream.core.persist import StateRefusedError
from stream.errors import UsageError
from stream.kafka.place import Place
from stream.model.names import Kind


def stateless(place: Place, trace: str) -> UsageError:
    """``trace`` is what shows that there was a state."""
    return UsageError(
        f"partition {place.partition} has no state in {place.state.topic}, but {trace}: it was worked on before. "
        "Bring the state back, or start once with --rebuild to count everything anew as a new generation"
    )


def unreadable(place: Place, error: StateError) -> UsageError:
    return UsageError(
        f"the state of partition {place.partition} in {place.state.topic} cannot be read: {error}. "
        "Use the version that wrote it, or start once with --rebuild to count everything anew"
    )


def refused(place: Place, error: StateRefusedError) -> UsageError:
    changes = "; ".join(f"{name} was {old}, is now {new}" for name, old, new in error.changes)
    return UsageError(
        f"the state of partition {place.partition} was counted under other settings: {changes}. "
        "Put them back, or start once with --rebuild to count everything anew under the new ones"
    )


def foreign(place: Place, owner: Mapping[str, str]) -> UsageError:
    ours = place.owner
    differences = "; ".join(
        f"its {name} is {owner.get(name)}, not {ours.get(name)}"
        for name in sorted({*owner, *ours})
        if owner.get(name) != ours.get(name)
    )
    return UsageError(
        f"the state of partition {place.partition} in {place.state.topic} is another's: {differences}. "
        "Give this worker its own --topic-prefix, or start once with --rebuild to throw that state away"
    )


def beyond(place: Place, kind: Kind, position: int, end: int) -> UsageError:
    return UsageError(
        f"{place.inputs[kind].topic}, partition {place.partition}, ends at {end}, but was read up to {position}: "
        "the topic was made anew. Start once with --rebuild to count from its beginning"
    )
