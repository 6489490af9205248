r"""Text of data as plain text: what a producer, a page or a file says is shown, and never obeyed.

Every text that goes to a terminal, a log or a page goes through here. Whatever a terminal would obey or hide is written
as an escape, such as ``\x1b`` or ``\u202e``: control characters (the C1 ones too, which are ANSI escapes of one character),
line breaks of all kinds, directions of writing, characters of no width, halves of surrogate pairs. Markup is not known here:
who prints with rich makes a ``Text`` of what comes from here, never markup.
"""

import json
import re
import unicodedata
from dataclasses import asdict, is_dataclass
from typing import Any, Final

import orjson

LONGEST: Final = 10_000
"""Characters of one text that are shown; the longest that are meant, tracebacks aside, have a few hundred."""
MOST_LINES: Final = 100_000
"""Characters of a text of several lines."""
STACKED: Final = 4
"""Marks on one letter: no script needs more, and a pile of them covers the lines around."""

_HIDDEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Python calls printable and nobody can see: fillers, and selectors of variants."""


def plain(text: str, most: int = LONGEST) -> str:
    """One line of at most ``most`` characters and what their escapes add."""
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    if text.isascii() and text.isprintable():
        return text
    return _stacks_escaped("".join(_shown(character) for character in text))


def plain_lines(text: str, most: int = MOST_LINES) -> str:
    """The same of a text that may have lines: those of our own messages, of lists of problems, of tracebacks."""
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return "\n".join(map(plain, text.split("\n")))


def _shown(character: str) -> str:
    return character if character.isprintable() and not _HIDDEN.match(character) else _escape(character)


def _escape(character: str) -> str:
    """As Python writes it."""
    return character.encode("unicode_escape").decode()


def _stacks_escaped(text: str) -> str:
    """Marks that have no letter to stand on, or are too many on one."""
    if text.isascii():
        return text
    shown: list[str] = []
    marks = STACKED
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        shown.append(_escape(character) if marks > STACKED else character)
    return "".join(shown)


def json_text(value: object, *, indent: bool = False) -> str:
    """A value as JSON that is plain text, too: what a terminal would obey is an escape of JSON's, so that nothing is lost.

    What orjson does not take (whole numbers of more than 64 bits, halves of surrogate pairs) is written nevertheless.
    """
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        text = orjson.dumps(value, default=str, option=options).decode()
    except TypeError:
        text = json.dumps(value, default=_as_json, indent=2 if indent else None)
    return plain_json(text)


def plain_json(text: str) -> str:
    """JSON that somebody has written. Outside of its strings there is nothing to escape but line breaks of its own."""
    if text.isascii() and text.isprintable():
        return text
    return "\n".join(line if line.isprintable() else _json_escaped(line) for line in text.split("\n"))


def _json_escaped(line: str) -> str:
    return "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in line)


def _as_json(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
