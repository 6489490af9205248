"""What a query of Prometheus asks for, and whether a real scrape has it: for rules, and for panels."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

KEYWORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR: Final = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(?:\{([^{}]*)\})?(?!\s*\(|[\w:])")
_MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_TEXT: Final = re.compile(r',\s*"(?:[^"\\]|\\.)*"')
"""An argument, as label_replace has them; matchers have an operator before theirs."""
_RANGE: Final = re.compile(r"\[[^\]]*\]|\boffset\s+-?\w+")

Exported = Mapping[str, Iterable[Mapping[str, str]]]
"""The labels of each series that there is, by name."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric, and what is asked of its labels: name, operator and value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(query: str) -> Iterator[Selector]:
    for name, labels in _SELECTOR.findall(_RANGE.sub("", _TEXT.sub("", _GROUPING.sub("", query)))):
        if name not in KEYWORDS:
            yield Selector(name, tuple(_MATCHER.findall(labels)))


def grouped_by(query: str) -> set[str]:
    """Labels that aggregations and matchings name."""
    return {label.strip() for labels in _GROUPING.findall(query) for label in labels.split(",") if label.strip()}


def missing(query: str, exported: Exported) -> list[str]:
    """What of it is nowhere: a metric, a label, or a label's value that is asked for by name.

    Values behind ``!=`` and regular expressions are not looked for; nor are those of which ``$`` is a part, a variable's.
    """
    found: list[str] = []
    labels: set[str] = {"le", "job", "instance"}
    for selector in selectors(query):
        series = list(exported.get(selector.name, ()))
        if not series:
            found.append(f"there is no metric {selector.name}")
            continue
        there = {label for each in series for label in each}
        labels |= there
        for label, operator, value in selector.matchers:
            if label not in there:
                found.append(f"{selector.name} has no label {label}")
            elif operator == "=" and "$" not in value and all(each.get(label) != value for each in series):
                found.append(f'no {selector.name} has {label}="{value}"')
    return found + [f"no metric of the query has the label {label}" for label in sorted(grouped_by(query) - labels)]
