"""How deep JSON is nested, in time linear in its size, before any parser walks down into it.

Rule: no loop in Python over the bytes of a value, and no regular expression: one that skips strings takes time
quadratic in the number of quotes where the last string does not end (111 bytes, unpacked to 1 MB, took an hour).
"""

from typing import Final

import numpy as np

MAX_DEPTH: Final = 200
"""Deeper JSON is refused. A limit of our own, since the decoder's depends on the depth of the caller's stack."""

_QUOTE, _OPEN, _CLOSE = 0, 1, 0xFF
_MARKS: Final = bytes(
    _OPEN if byte in b"[{" else _CLOSE if byte in b"]}" else _QUOTE if byte in b'"' else byte for byte in range(256)
)
_OTHERS: Final = bytes(set(range(256)) - set(b'[]{}"'))


def is_deep(value: bytes) -> bool:
    """Whether brackets are more than ``MAX_DEPTH`` deep. Of what is no JSON some answer; both lead to the same reason."""
    if value.count(b"[") + value.count(b"{") <= MAX_DEPTH:
        return False
    # A run of backslashes escapes from its left: without its pairs, what is left before a quote escapes that.
    bare = value.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = np.frombuffer(bare.translate(_MARKS, _OTHERS), np.int8)
    inside = np.cumsum(marks == _QUOTE, dtype=np.uint8) & 1  # wraps at 256, and stays odd or even
    depths = np.cumsum(marks * (inside == 0), dtype=np.int32)
    return bool(depths.max() > MAX_DEPTH)


def refuse_deep(value: bytes) -> None:
    """Raises RecursionError, as the decoder would that is asked to go as deep as its caller's stack allows."""
    if is_deep(value):
        raise RecursionError
