"""Commands of ours as messages print them: with the settings of whoever prints, so that each works as it stands.

Secrets are not among them: whoever types the command has those in the environment or in the file, as the worker has.
"""

import shlex
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from stream.config import CONNECTION, DECIDING, Settings

Command: TypeAlias = Literal[
    "topics create",
    "topics grow",
    "topics clean",
    "state verify",
    "state rebuild",
    "state adopt",
    "offsets skip",
    "doctor",
    "worker",
]

_TOPICS: Final = (*CONNECTION, "topic_prefix")
_STATES: Final = (*_TOPICS, "group", "transaction_timeout", *DECIDING)
_WORKERS: Final = (*_STATES, "session_timeout")
TAKES: Final[Mapping[Command, tuple[str, ...]]] = {
    "topics create": _TOPICS,
    "topics grow": (*_STATES, "rules"),
    "topics clean": CONNECTION,
    "state verify": _STATES,
    "state rebuild": _STATES,
    "state adopt": _STATES,
    "offsets skip": _STATES,
    "doctor": _WORKERS,
    "worker": _WORKERS,
}
"""The settings that decide what a command does. Those that are defaults are left out."""


def command(settings: Settings, name: Command, *words: str) -> str:
    """One line for a shell."""
    return shlex.join(["liveshop", *name.split(), *settings.as_flags(TAKES[name]), *words])
