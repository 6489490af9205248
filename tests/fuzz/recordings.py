"""Files of recorded traffic: each line is a message, or a text says why it is none."""

from random import Random
from typing import Final

from stream.replay import recording
from tests.fuzz.damage import damaged, repeated
from tests.fuzz.target import Bound, scratch_file

LINES: Final = (
    b'{"topic": "live.views", "key": "7301", "at": 1760000000123, "value": {"event_id": "e", "event_time": 1760000000123}}\n'
    b'{"topic": "live.comments", "key": null, "at": 1760000000130, "raw": "PGV2ZW50Pg=="}\n\n'
    b'{"topic": "live.checkouts", "key": "k", "at": 0, "value": null}\n'
    b'{"topic": "live.views", "raw_key": "/w==", "at": 1, "raw": ""}\n'
)
TOKENS: Final = (
    b'"',
    b"\\",
    b"{",
    b"[",
    b"}",
    b"]",
    b"\n",
    b'"raw":',
    b'"value":',
    b"null",
    b"\xff",
    b"\\ud800",
    b"1e400",
    b"-1",
    b"9" * 30,
)


def make(random: Random) -> bytes:
    return repeated(random, LINES, TOKENS, 3_000_000) if random.random() < 0.05 else damaged(random, LINES, TOKENS)


def run(data: bytes) -> None:
    file = scratch_file(".ndjson")
    file.write_bytes(data)
    for message in recording.read(file):
        if isinstance(message, str):
            assert len(message) < 500
        else:
            recording.moved(message, 1000)


BOUND: Final = Bound()
