"""Pages of metrics that are read from a worker, by ``top`` and by the parent of several: read, or a ValueError."""

from contextlib import suppress
from functools import cache
from random import Random
from typing import Final

from prometheus_client import generate_latest

from stream.cli import scrape
from stream.config import Settings
from stream.observe import merge
from stream.observe.metrics import Metrics
from tests.fuzz.damage import damaged, repeated
from tests.fuzz.target import Bound

TOKENS: Final = (
    *(
        b"{",
        b"}",
        b'"',
        b"\\",
        b"\\n",
        b",",
        b"=",
        b"#",
        b"# HELP ",
        b"# TYPE ",
        b" counter\n",
        b" histogram\n",
        b"\n",
        b" ",
    ),
    *(
        b"NaN",
        b"+Inf",
        b"-Inf",
        b"1e400",
        b"-1",
        b"le=",
        b"_total",
        b"_bucket",
        b"\xff",
        b"\x00",
        b'session_id="x"',
        b"liveshop_",
    ),
)


@cache
def page() -> bytes:
    return generate_latest(Metrics(Settings()).registry)


def make(random: Random) -> bytes:
    lines = page().splitlines(keepends=True)
    begin = random.randrange(len(lines))
    part = b"".join(lines[begin : begin + random.choice((3, 20, 60))])
    return repeated(random, part, TOKENS, 200_000) if random.random() < 0.05 else damaged(random, part, TOKENS)


def run(data: bytes) -> None:
    text = data.decode(errors="replace")
    with suppress(ValueError):
        scrape.parse([text], 0.0, 0.0)
    with suppress(ValueError):
        read = merge.read(text)
        merged = merge.Merge(3)
        merged.note(0, 1, read)
        merged.note(1, 1, read)
        merged.families([read, read])


BOUND: Final = Bound(seconds_a_byte=40e-6, memory_a_byte=400.0)
