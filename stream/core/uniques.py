"""Unique viewers and buyers: CPC sketches, whose unions are estimated by the set alone."""

import struct
from collections.abc import Iterable
from typing import Final

from datasketches import cpc_sketch, cpc_union

LG_K: Final = 11
"""CPC sketches of 2^11 rows: relative standard error ln(2) / sqrt(2^11) = 1.53 %, at most about 1.3 KB."""


def united(sketches: Iterable[cpc_sketch | None]) -> cpc_sketch | None:
    """The union of sketches, None where there is nothing in them."""
    some = [sketch for sketch in sketches if sketch is not None]
    if not some:
        return None
    union = cpc_union(LG_K)
    for sketch in some:
        union.update(sketch)
    return union.get_result()


def estimate(united_sketch: cpc_sketch | None) -> int:
    """Unique values in the result of a union: that estimate depends on the set alone, not on the order of updates."""
    return 0 if united_sketch is None else round(united_sketch.get_estimate())


_EMPTY: Final = bytes(cpc_sketch(LG_K).serialize())
_LARGEST: Final = 4096
"""Bytes of a serialized sketch: there is none of more than some 1,300."""
_COMPRESSED, _HIP, _TABLE, _WINDOW = 2, 4, 8, 16
"""Flags: compressed as all are; how it was updated; pairs of row and column; a window of 8 columns."""


def is_sketch(data: bytes) -> bool:
    """Whether bytes are laid out as a serialized sketch, with sizes that go together.

    The library believes what it is given. (p: of 1,500 sketches with a few bits of the first 40 bytes changed it took more
    than 2 GB for 40, and crashed of 20.) This keeps it from asking for gigabytes; what is wrong in the compressed words
    nobody can tell but the library itself, and it may write beyond its memory. So it is never given bytes of which neither
    our checksum nor that of a batch of Kafka says that they are those that it has made.
    """
    size = len(data)
    if size > _LARGEST or size % 4 or size < len(_EMPTY) or data[1:4] != _EMPTY[1:4] or data[6:8] != _EMPTY[6:8]:
        return False
    flags = data[5]
    if flags & ~(_COMPRESSED | _HIP | _TABLE | _WINDOW) or not flags & _COMPRESSED:
        return False
    return size == data[0] * 4 == len(_EMPTY) if not flags & (_TABLE | _WINDOW) else _has_sizes(data, flags)


def _has_sizes(data: bytes, flags: int) -> bool:
    """Preamble: 8 bytes, coupons, with both parts the number of pairs, words of the table, of the window; two doubles."""
    table, window = bool(flags & _TABLE), bool(flags & _WINDOW)
    head = 3 + 4 * bool(flags & _HIP) + table + window + (table and window)
    words = struct.unpack(f"<{len(data) // 4}I", data)
    if data[0] != head or len(words) < head:
        return False
    coupons = words[2]
    sizes_at = (4 + 4 * bool(flags & _HIP)) if table and window else 3
    pairs = words[3] if table and window else coupons
    in_table = words[sizes_at] if table else 0
    in_window = words[sizes_at + table] if window else 0
    return (
        0 < coupons <= 64 << LG_K
        and window == (2 * coupons >= 1 << LG_K)
        and head + in_table + in_window == len(words)
        and (not table or 0 < pairs <= 16 * in_table)  # a pair takes at least two bits, a byte of the window one
        and (not window or 32 * in_window >= 1 << LG_K)
    )
