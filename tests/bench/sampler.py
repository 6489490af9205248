"""``python -m tests.bench.sampler OUT liveshop-arguments…``: liveshop with a look at what it is doing every 2 ms of CPU.

A sample costs some 5 us, so the measured process is slower by about 0.3 %.
"""

import atexit
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

EVERY: Final = 0.002

# The first that matches counts, from the inside of the stack out: (part of a file name, function or "", activity).
# What serves both ways (codecs, record formats) is left to its caller.
STEPS: Final = (
    ("stream/core/decode.py", "", "decode"),
    ("stream/core/shard.py", "count", "judge and count"),
    ("stream/core/shard.py", "collecting", "checkpoint: collect"),
    ("stream/core/shard.py", "committed", "checkpoint: collect"),
    ("stream/core/shard.py", "work", "close"),
    ("stream/core/look.py", "", "look"),
    ("stream/core/shard.py", "restore", "start"),
    ("stream/kafka/checkpoint.py", "", "checkpoint: write"),
    ("stream/kafka/recovery.py", "", "start"),
    ("stream/kafka/inputs.py", "", "fetch"),
    ("stream/kafka/patches/fetch.py", "", "fetch"),
    ("stream/kafka/fetched.py", "", "fetch"),
    ("stream/kafka/codecs.py", "", "fetch"),
    ("stream/core/pure/records.py", "", "fetch"),
    ("stream/observe/", "", "observe"),
    ("http/server.py", "", "observe"),
    ("aiokafka/consumer/", "", "fetch"),
    ("aiokafka/producer/", "", "checkpoint: write"),
    ("aiokafka/client.py", "", "connections"),
    ("aiokafka/conn.py", "", "connections"),
    ("stream/kafka/", "", "the loop of the shards"),
)


def step(frame: FrameType | None) -> str:
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        for part, function, found in STEPS:
            if part in file and function in ("", name):
                return found
        frame = frame.f_back
    return "else"


def main() -> None:
    out = Path(sys.argv[1])
    samples: Counter[str] = Counter()
    places: Counter[str] = Counter()

    def sample(_number: int, frame: FrameType | None) -> None:
        found = step(frame)
        samples[found] += 1
        if frame is not None:
            file = "/".join(frame.f_code.co_filename.split("/")[-2:])
            places[f"{found}: {file}:{frame.f_code.co_name}:{frame.f_lineno}"] += 1

    def reset(_number: int, _frame: FrameType | None) -> None:
        """The start is over: what is measured begins."""
        samples.clear()
        places.clear()

    def write(_number: int = 0, _frame: FrameType | None = None) -> None:
        out.write_text(json.dumps({"samples": samples, "places": dict(places.most_common(60))}))

    signal.signal(signal.SIGPROF, sample)
    signal.signal(signal.SIGUSR1, reset)
    signal.signal(signal.SIGUSR2, write)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    atexit.register(signal.setitimer, signal.ITIMER_PROF, 0)

    from stream.cli import main as liveshop

    liveshop(sys.argv[2:])


if __name__ == "__main__":
    main()
