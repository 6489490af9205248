"""A reader that is wrong in every way there is, for the tests of the hunt. Which way, its input says."""

import os
import time
from random import Random
from typing import Final

from tests.fuzz.damage import repeated
from tests.fuzz.target import Bound

WAY: Final = "FUZZ_BROKEN"
"""Of the environment: fine, raises, crashes, hangs, swells or squares."""


def make(random: Random) -> bytes:
    way = os.environ[WAY].encode()
    return repeated(random, way + b" ", largest=60_000) if way == b"squares" else way


def run(data: bytes) -> None:
    match data[:7]:
        case b"raises":
            raise KeyError("nobody expects it")
        case b"crashes":
            os.abort()
        case b"hangs":
            time.sleep(1000)
        case b"swells":
            assert bytearray(150_000_000)
        case b"squares":
            assert sum(sum(data[:at]) for at in range(0, len(data), 8))


BOUND: Final = Bound(seconds=0.3, seconds_a_byte=1e-6)
