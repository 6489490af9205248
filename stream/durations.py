"""Durations and windows as people write them: ``10s``, ``5m``, ``1m,5m/1m``. Imports nothing but the policy's words."""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from stream.core.policy import WindowSpec

UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
"""Units a duration is written in, in milliseconds."""

LONGEST: Final = timedelta(days=36_500)

_PART: Final = re.compile(r"(0|[1-9][0-9]{0,19})(ms|s|m|h|d)", re.ASCII)
_BARE: Final = re.compile(r"[0-9.]{1,20}", re.ASCII)


def parse_duration(value: object) -> timedelta:
    """``"10s"``, ``"5m"``, ``"500ms"``, ``"5m30s"``: whole numbers and their units, larger units first; at most `LONGEST`.

    Raises ValueError.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    parts = _PART.findall(text)
    if "".join(map("".join, parts)) != text:  # something stands between or around them
        parts = []
    sizes = [UNITS[unit] for _, unit in parts]
    if not parts or sizes != sorted(set(sizes), reverse=True):
        if _BARE.fullmatch(text):
            raise ValueError(f"a duration needs a unit: write {text}s for seconds ({', '.join(UNITS)} are known)")
        raise ValueError(f"not a duration: write whole numbers and units ({', '.join(UNITS)}), such as 10s or 5m30s")
    ms = sum(int(number) * UNITS[unit] for number, unit in parts)
    if ms > LONGEST // timedelta(milliseconds=1):
        raise ValueError(f"a duration is at most {LONGEST.days}d")
    return timedelta(milliseconds=ms)


def duration_text(value: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads as ``value``: ``10s`` and not ``10000ms``."""
    ms = value // timedelta(milliseconds=1)
    unit = max((unit for unit, size in UNITS.items() if ms % size == 0), key=UNITS.__getitem__) if ms else "s"
    return f"{ms // UNITS[unit]}{unit}"


def parse_windows(text: str) -> tuple[WindowSpec, ...]:
    """``"1m,5m/1m"``: size, and after a slash how often one begins. The name is the text before the slash."""
    return tuple(_window(part.strip()) for part in text.split(",") if part.strip())


def windows_text(windows: Iterable[Sequence[Any]]) -> str:
    """The text that ``parse_windows`` reads as ``windows``, each given as name, size and slide in milliseconds."""
    return ",".join(map(_window_text, windows))


def _window_text(window: Sequence[Any]) -> str:
    name, size_ms, slide_ms = window
    return str(name) if slide_ms == size_ms else f"{name}/{duration_text(timedelta(milliseconds=slide_ms))}"


def _window(text: str) -> WindowSpec:
    size, slash, slide = text.partition("/")
    try:
        lengths = [parse_duration(part) // timedelta(milliseconds=1) for part in (size, slide if slash else size)]
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    return WindowSpec(size.strip(), *lengths)
