"""The summary of an alert: a sentence of an operator's, with figures in it."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from stream.core.alerts.figures import shown_name

_HOLE: Final = re.compile(r"\{(?P<name>[A-Za-z_][\w.]*)(?::(?P<format>,?(?:\.\d)?[f%]))?\}", re.ASCII)
ABSENT: Final = "none"
"""What stands for a figure that is absent, such as a rate without a denominator."""


def names_in(summary: str) -> tuple[str, ...]:
    """The figures it shows, each once."""
    return tuple(dict.fromkeys(match["name"] for match in _HOLE.finditer(summary)))


def mistakes_in(summary: str, unknown: Callable[[str], str | None]) -> list[str]:
    """``unknown`` says what is wrong with the name of a figure, or nothing."""
    found = [mistake for name in names_in(summary) if (mistake := unknown(name)) is not None]
    rest = _HOLE.sub("", summary)
    if "{" in rest or "}" in rest:
        found.append("a figure is {name}, {name:.0f}, {name:,.0f} or {name:.1%}; braces have no other use")
    return found


def fill(summary: str, values: Mapping[str, int | float]) -> str:
    def shown(match: re.Match[str]) -> str:
        value = values.get(shown_name(match["name"]))
        return ABSENT if value is None else format(value, match["format"] or "")

    return _HOLE.sub(shown, summary)
