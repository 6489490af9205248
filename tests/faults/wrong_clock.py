"""``python -m tests.faults.wrong_clock worker …``: liveshop whose wall clock is wrong by the seconds that a file says.

The monotonic clock is right, as it is on a machine whose time was set. (libfaketime does the same to any program, but in
three of seven starts it left uvloop spinning.)
"""

import os
import time
from pathlib import Path
from typing import Final

from stream import cli

FILE: Final = Path(os.environ["WRONG_CLOCK_FILE"])
_time, _time_ns = time.time, time.time_ns


def _ahead() -> int:
    return int(FILE.read_text())


time.time = lambda: _time() + _ahead()
time.time_ns = lambda: _time_ns() + _ahead() * 1_000_000_000

if __name__ == "__main__":
    cli.main()
