"""The keys of the state: what sorts of items and buckets there are. Each part packs the values of its own."""

from typing import Final

PANE: Final = b"p"
SESSION: Final = b"s"
IDS: Final = b"i"
CHECKOUT_KEYS: Final = b"k"
GONE: Final = b"g"
ALERTS: Final = b"a"
KNOWN: Final = b"n"
RESTING: Final = b"r"
LEDGER: Final = b"l"
PROMOTION: Final = b"m"
ITEMS: Final = frozenset({PANE, SESSION, RESTING, ALERTS, PROMOTION})
BUCKETS: Final = frozenset({IDS, CHECKOUT_KEYS, GONE, KNOWN, LEDGER})
"""The first bytes of all keys of each sort."""


def in_key(value: int) -> bytes:
    """A time or the number of a page as part of a key; panes may begin before 1970."""
    return value.to_bytes(8, "big", signed=True)


def from_key(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def pane_key(start: int, session_key: bytes) -> bytes:
    return PANE + in_key(start) + session_key


def page_key(page: int) -> bytes:
    """Of sessions at rest."""
    return RESTING + in_key(page)


def ids_bucket(place: int, start: int) -> bytes:
    """``place`` of the topic (panes.PLACE)."""
    return IDS + bytes([place]) + in_key(start)
