"""All targets, by name: each is a module of this package, with ``make``, ``run`` and ``BOUND``."""

from importlib import import_module
from typing import Final

from tests.fuzz.target import Target

NAMES: Final = (
    "batches",
    "values",
    "shard",
    "state",
    "panes",
    "rules",
    "configuration",
    "requests",
    "pages",
    "recordings",
)


def target(name: str) -> Target:
    """Imported when it is asked for."""
    module = import_module(f"tests.fuzz.{name}")
    return Target(name, module.make, module.run, module.BOUND)
