"""Ids that went through a float: numbers of 2^53 and above, whose last digits became zeros.

JavaScript, pandas and spreadsheets read an id that is a number as a float. It then has 15 to 17 digits that are right,
and two sessions, or products, may have become one. Who sends ids as strings all the way is safe.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, get_args

import msgspec

from stream.doctor.events import Sampled
from stream.doctor.finding import Check, Finding, Severity
from stream.model.events import Checkout, Comment, Common, Id, View

EXACT: Final = 2**53
"""Below it a float holds every whole number."""
LEAST: Final = 3
"""Ids that end in 000 below which chance may have made them."""
SHARE: Final = 0.05
"""Of the ids that are large numbers. One in a thousand ends in 000 by chance; of 18 digits and rounded, one in ten."""
TODO: Final = (
    "they were read as numbers on their way, which keeps 15 to 17 digits, so two ids may have become one: send ids as "
    "strings from where they come from, and read them as strings on the way (JavaScript, pandas, spreadsheets)"
)

_IDS: Final = {
    made: tuple(field.name for field in msgspec.structs.fields(made) if Id in (field.type, *get_args(field.type)))
    for made in (View, Comment, Checkout)
}
_MOST_DIGITS: Final = 30
"""An id of more digits is no number of any platform."""


def judge_rounded(sample: Iterable[Sampled]) -> list[Finding]:
    """A warning for each field whose ids look rounded. Each id is looked at once, however many records have it."""
    large: defaultdict[str, set[str]] = defaultdict(set)
    for record in sample:
        for name, value in _ids(record):
            if is_large(value):
                large[name].add(value)
    rounded = {name: sum(value.endswith("000") for value in values) for name, values in large.items()}
    return [
        _finding(name, rounded[name], len(values))
        for name, values in sorted(large.items())
        if rounded[name] >= max(LEAST, SHARE * len(values))
    ]


def is_large(value: str) -> bool:
    """Whether an id is a whole number that a float may not hold."""
    return len(value) <= _MOST_DIGITS and value.isascii() and value.isdigit() and int(value) >= EXACT


def _ids(record: Sampled) -> Iterator[tuple[str, str]]:
    event = record.event
    if not isinstance(event, Common):
        return
    for name in _IDS[type(event)]:
        if value := getattr(event, name):
            yield name, value
    for value in record.products:
        yield "product_id", value


def _finding(name: str, rounded: int, large: int) -> Finding:
    what = f"{rounded} of {large} different ids of 2^53 and above end in 000: they look rounded by a float"
    return Finding(Check.EVENTS, Severity.WARNING, name, what, TODO)
