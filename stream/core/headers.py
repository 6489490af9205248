"""How many headers a record may have, and how large they may be.

A header takes two bytes of an unpacked batch, and a hundred times as much once it is an object: 4 million empty ones fit
into 832 compressed bytes. So those of a fetched record (`Headers` in core/native/records.pyx and core/pure/records.py)
stay bytes until somebody asks for them, and what goes beyond these bounds is never built.
"""

from collections.abc import Sequence
from typing import Final

Header = tuple[str, bytes | None]

MOST: Final = 1000
"""Headers of a record."""
MOST_BYTES: Final = 64 * 1024
"""Bytes of their names and values together."""


def excess(headers: Sequence[Header]) -> str | None:
    """What is too much of them; None when they are within the bounds."""
    size = size_of(headers)
    dropped: int | None = getattr(headers, "dropped", None)  # those of a batch have been measured
    if dropped == 0 if dropped is not None else len(headers) <= MOST and size <= MOST_BYTES:
        return None
    return f"headers: {len(headers) + (dropped or 0)} of {size} bytes in all, at most {MOST} of {MOST_BYTES}"


def size_of(headers: Sequence[Header]) -> int:
    """Bytes of them: as they lie in the batch where they do, else of names and values."""
    size: int | None = getattr(headers, "size", None)
    if size is not None:
        return size
    return sum(len(name.encode(errors="replace")) + len(value or b"") for name, value in headers)
