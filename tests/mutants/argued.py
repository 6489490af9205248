"""Survivors that change nothing anybody could see, each with the reason: `argued.toml`."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

ARGUED: Final = Path(__file__).with_name("argued.toml")


@dataclass(frozen=True)
class Mutant:
    """Known by what it says, not by its number, which changes with every line before it."""

    place: str
    was: str
    now: str


@cache
def argued() -> dict[Mutant, str]:
    """With the reasons: every entry has one. An entry without ``now`` is of all mutants of its line."""
    entries = tomllib.loads(ARGUED.read_text())["mutant"]
    return {Mutant(entry["in"], entry["was"], entry.get("now", "")): entry["why"] for entry in entries}


def is_argued(mutant: Mutant) -> bool:
    return mutant in argued() or replace(mutant, now="") in argued()


def stale(survivors: Iterable[Mutant]) -> list[Mutant]:
    """Argued, and yet no survivors of a run of all."""
    there = {each for mutant in survivors for each in (mutant, replace(mutant, now=""))}
    return [mutant for mutant in argued() if mutant not in there]
