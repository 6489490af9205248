"""Survivors that change nothing anybody could see, each with the reason: `argued.toml`."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
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
    """With the reasons. Every entry has one."""
    entries = tomllib.loads(ARGUED.read_text())["mutant"]
    return {Mutant(entry["in"], entry["was"], entry["now"]): entry["why"] for entry in entries}


def stale(survivors: Iterable[Mutant]) -> list[Mutant]:
    """Argued, and yet no survivors of a run of all."""
    there = set(survivors)
    return [mutant for mutant in argued() if mutant not in there]
