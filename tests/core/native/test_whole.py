"""Everything that a shard writes without any of the native modules is what it writes with them, byte by byte."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from stream.core.counts import Counts
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.replay.file_source import batches
from stream.sandbox.traffic import Plan, Traffic
from tests.replay.tools import arriving
from tests.support import PATIENCE

ROOT: Final = Path(__file__).parents[3]
START: Final = 1_760_000_000_000
WITHOUT: Final = "import stream.core.native as native; native.__path__ = []; "
TELL: Final = "from tests.core.native.test_whole import told; print(told())"


def told() -> str:
    """A hash of all that three minutes of traffic leave, and which version of the counts it was."""
    shard, found = Shard(Policy(max_ids=5)), hashlib.sha256()
    # so few at a time that the batches are the same for both
    messages = Traffic(Plan(seed=7, rate=40, sessions=12, bad=0.03), START).step(START + 180_000)
    for number, (_, kind, records) in enumerate([*batches(arriving(messages), 1), (0, None, [])]):
        if kind is None:
            shard.finish()
        else:
            shard.read(kind, records)
        shard.work(10_000 if kind is None else 20)
        if kind is None or number % 50 == 0:
            outputs = shard.collect()
            assert outputs is not None
            found.update(
                repr(
                    (
                        outputs.windows,
                        outputs.sessions,
                        outputs.state,
                        sorted(map(repr, outputs.tally.outcomes.items())),
                    )
                ).encode()
            )
            shard.committed(outputs.checkpoint, number)
    return f"{Counts.__module__} {found.hexdigest()}"


def asked(program: str) -> list[str]:
    env = {**os.environ, "PYTHONHASHSEED": "0"}  # the order of windows is that of a set
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_without_native_modules_every_byte_is_the_same() -> None:
    pytest.importorskip("stream.core.native.judging", reason="built without a C compiler")
    native, pure = asked(TELL), asked(WITHOUT + TELL)
    assert (native[0], pure[0]) == ("stream.core.native.counts", "stream.core.pure.counts")
    assert native[1] == pure[1]
