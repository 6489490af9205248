"""What a worker of today would say of a dead letter's record, looked at by itself. Pure."""

from stream.core.decode import Decoded, Rejected, decode_one
from stream.core.policy import Policy
from stream.dlq.letters import Letter
from stream.model.names import Kind
from stream.model.results import Record


def decoded(policy: Policy, kind: Kind, record: Record) -> Decoded:
    """As a worker decodes it. Clocks, repeats and sessions are not looked at: only the worker knows those."""
    return decode_one(kind, record, policy.max_value)


def verdict(policy: Policy, kind: Kind | None, letter: Letter) -> str:
    """For people. Quotes no value."""
    if letter.records is not None:
        return "a batch, which has no events that can be read"
    if letter.is_cut:
        return "only its beginning is here"
    if kind is None:
        return "of a topic that is no input here"
    found = decoded(policy, kind, letter)
    if isinstance(found, Rejected):
        return f"refused: {found.reason}: {found.detail}"
    return "a tombstone" if found is None else "a right event, as far as it says itself"
