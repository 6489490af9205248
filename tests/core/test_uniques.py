"""Sketches of nobody knows whom: those of ours are known, and what is not costs neither memory nor the process."""

import os
import random
import resource
from typing import Final

import pytest
from datasketches import cpc_sketch

from stream.core.uniques import LG_K, is_sketch, united

GIGABYTE: Final = 2**30


def sketch(number: int, *, merged: bool, lg_k: int = LG_K) -> bytes:
    made = cpc_sketch(lg_k)
    for viewer in range(number):
        made.update(f"v{viewer}")
    whole = united([made]) if merged else made
    assert whole is not None
    return bytes(whole.serialize())


SIZES: Final = (0, 1, 2, 100, 191, 192, 193, 1023, 1024, 1300, 6911, 6912, 9000, 60_000)
"""Around each size at which a sketch is laid out in another way."""
OURS: Final = [sketch(number, merged=merged) for number in SIZES for merged in (False, True)]


def test_every_sketch_of_ours_is_known() -> None:
    assert all(map(is_sketch, OURS))


@pytest.mark.parametrize("data", [b"", b"\0" * 8, b"\xff" * 40, sketch(50, merged=False, lg_k=12), OURS[0] + b"\0" * 4])
def test_what_is_none_of_ours_is_not(data: bytes) -> None:
    assert not is_sketch(data)


def test_no_cut_one_is_known() -> None:
    assert not any(is_sketch(data[:size]) for data in OURS for size in range(len(data)))


def test_what_is_taken_for_one_makes_the_library_ask_for_no_gigabytes() -> None:
    """Each in a child, since of one that is damaged behind its head it may crash. The bits are always the same."""
    chance = random.Random(11)
    taken = 0
    for _ in range(600):
        data = bytearray(chance.choice(OURS))
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(min(40, len(data)))] ^= 1 << chance.randrange(8)
        if is_sketch(bytes(data)):
            taken += 1
            assert not takes_too_much(bytes(data)), data.hex()
    assert taken > 100


def test_without_that_it_would() -> None:
    head = bytearray(sketch(100, merged=True))
    head[8:12] = (2**31).to_bytes(4, "little")
    window = bytearray(sketch(60_000, merged=True))
    window[12:16] = (2**32 - 1).to_bytes(4, "little")
    assert not is_sketch(bytes(head))
    assert not is_sketch(bytes(window))
    assert takes_too_much(bytes(window))


def takes_too_much(data: bytes) -> bool:
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_AS, (GIGABYTE, GIGABYTE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            united([cpc_sketch.deserialize(data)])
        except MemoryError:
            os._exit(3)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
