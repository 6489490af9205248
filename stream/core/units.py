"""Event times in the wrong unit, told by their size.

A time in seconds lies in January 1970 when it is read as milliseconds: it would hold back the watermark of its shard.
Whether a time is refused is decided by the two bounds here, from the record alone; which unit it is, is a guess.
"""

from typing import Final

import msgspec

from stream.model.events import LEAST_MS, MOST_MS

SET_MS: Final = 10**12
"""September 2001. Only above it a broker's clock is taken to be set, so that a small event time must be wrong."""

HALF_HOUR_MS: Final = 1_800_000
MOST_HALF_HOURS: Final = 28
"""Kiritimati is 14 hours ahead of UTC."""
NEAR_MS: Final = 60_000
"""How far a difference of times may be from whole half hours: clocks differ, and records take a while."""
MOST_DIGITS: Final = 19
"""Of a time in nanoseconds."""

_UNITS: Final = (("seconds", 1000, 1), ("milliseconds", 1, 1), ("microseconds", 1, 1000), ("nanoseconds", 1, 10**6))
"""What makes milliseconds of each: multiply, then divide."""


class _Time(msgspec.Struct, frozen=True):
    event_time: int | float | str | None = None


_time_of: Final = msgspec.json.Decoder(_Time).decode


def bad_unit(event_time: int, timestamp: int) -> str | None:
    """Why a time is no time in milliseconds, though it is in the range; None when it may be one.

    ``timestamp``: of the broker, in ms. Small times are right where the broker's are small too, as in old recordings.
    """
    if event_time >= LEAST_MS or timestamp <= SET_MS:
        return None
    return (
        f"event_time: must be milliseconds since 1970; looks like {unit(event_time) or 'a time since another moment'}"
    )


def ahead(ms: int) -> str:
    """Of an event from the future. By so many hours as a time zone has, it is probably a local time."""
    half_hours = round(ms / HALF_HOUR_MS)
    is_zone = 1 < half_hours <= MOST_HALF_HOURS and abs(ms - half_hours * HALF_HOUR_MS) <= NEAR_MS
    guess = f"; looks like a local time, of UTC+{half_hours / 2:g} h" if is_zone else ""
    return f"event_time: {ms} ms ahead of the broker{guess}"


def unit(number: float) -> str:
    """The unit in which a number is a time between 1973 and 2109; empty for none."""
    for name, factor, divisor in _UNITS:
        if LEAST_MS * divisor <= number * factor <= MOST_MS * divisor:
            return name
    return ""


def of_field(value: bytes) -> str:
    """What the event time looks like that the decoder has refused; empty without a guess."""
    try:
        time = _time_of(value).event_time
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    if isinstance(time, str):
        return _of_text(time)
    found = unit(time) if time is not None else ""
    return f"{found} with a fraction or an exponent" if found and isinstance(time, float) else found


def _of_text(text: str) -> str:
    if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS:
        found = unit(int(text))
        return f"{found} in quotes" if found else ""
    return "a date as text" if text[:4].isdigit() and text[4:5] in ("-", "/") else ""
