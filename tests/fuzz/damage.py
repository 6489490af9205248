"""Ways to damage bytes: small ones, that get past the first checks, and repetition, which finds what is not linear."""

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

LARGEST: Final = 1_048_576
"""Bytes of an input that was made large: ``max_value``."""
NUMBERS: Final = (0, 1, -1, 127, 128, 255, 256, 32_767, 65_535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))
BYTES: Final = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x20, 0x22, 0x5C, 0x7B, 0x5B, 0x0A)
_WHOLE: Final = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFF_FFFF, 8: 0xFFFF_FFFF_FFFF_FFFF}
_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


def damaged(random: Random, data: bytes, tokens: Sequence[bytes] = (), most: int = 4) -> bytes:
    """With one to ``most`` small changes. ``tokens``: words that mean something there."""
    for _ in range(random.randint(1, most)):
        way = random.choice(_WAYS)
        data = _insert(random, data, random.choice(tokens)) if tokens and random.random() < 0.3 else way(random, data)
    return data


def repeated(random: Random, data: bytes, tokens: Sequence[bytes] = (), largest: int = LARGEST) -> bytes:
    """A short piece of it, or a word, very often: 1 KB to ``largest``, smaller ones more often."""
    begin = random.randrange(len(data) + 1)
    if tokens and random.random() < 0.5:
        piece, end = b"".join(random.choices(tokens, k=random.randint(1, 3))) or b"[", begin
    else:
        end = begin + random.choice((1, 1, 2, 3, 5, 8, 20, 100))
        piece = data[begin:end] or b"["
    size = int(1024 * (largest / 1024) ** random.random())
    return data[:begin] + piece * (size // len(piece) or 1) + data[end:]


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _insert(random: Random, data: bytes, what: bytes) -> bytes:
    at = _place(random, data)
    keep = at + (len(what) if random.random() < 0.3 else 0)
    return data[:at] + what + data[keep:]


def _set_byte(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    byte = random.choice(BYTES) if random.random() < 0.5 else random.randrange(256)
    return data[:at] + bytes([byte]) + data[at + 1 :]


def _flip(random: Random, data: bytes) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _set_number(random: Random, data: bytes) -> bytes:
    size = random.choice((1, 2, 4, 8))
    number = (random.choice(NUMBERS) + random.choice((0, 0, 1, -1))) & _WHOLE[size]
    packed = struct.pack(random.choice("<>") + _CODES[size], number)
    at = _place(random, data)
    return data[:at] + packed + data[at + size :]


def _noise(random: Random, data: bytes) -> bytes:
    return _insert(random, data, random.randbytes(random.randint(1, 8)))


def _delete(random: Random, data: bytes) -> bytes:
    at = _place(random, data)
    return data[:at] + data[at + random.choice((1, 1, 2, 4, 16, 100)) :]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: _place(random, data)]


def _double(random: Random, data: bytes) -> bytes:
    """A piece of it once more, somewhere else."""
    begin = _place(random, data)
    return _insert(random, data, data[begin : begin + random.choice((1, 2, 8, 40))])


_WAYS: Final[tuple[Callable[[Random, bytes], bytes], ...]] = (
    *(_set_byte, _set_byte, _flip, _flip, _set_number, _set_number, _noise, _delete, _delete, _cut, _double, _double),
)
