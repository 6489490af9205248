"""Outages as people write them: ``30s-50s``, or ``at 30s for 20s``; several with commas between."""

import re
from datetime import timedelta
from typing import Final

from stream.durations import parse_duration

_RANGE: Final = re.compile(r"(?P<begin>\S{1,30}?)\s{0,30}(?:-|to)\s{0,30}(?P<end>\S{1,30})")
_AT: Final = re.compile(r"(?:at\s{1,30})?(?P<begin>\S{1,30})\s{1,30}for\s{1,30}(?P<length>\S{1,30})")


def parse_outages(text: str) -> tuple[tuple[int, int], ...]:
    """(from, to) in ms since the start of the traffic, for each. Raises ValueError that says how to write one."""
    return tuple(_outage(part.strip()) for part in text.split(",") if part.strip())


def _outage(text: str) -> tuple[int, int]:
    at = _AT.fullmatch(text)
    span = at or _RANGE.fullmatch(text)
    if span is None:
        raise ValueError(f"{text!r}: write 'at 30s for 20s' or 30s-50s")
    begin = _ms(span["begin"])
    end = begin + _ms(at["length"]) if at else _ms(span["end"])
    if end <= begin:
        raise ValueError(f"{text!r}: ends before it begins")
    return begin, end


def _ms(text: str) -> int:
    return parse_duration(text) // timedelta(milliseconds=1)
