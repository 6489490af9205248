"""The picture of ``liveshop run`` in the README: ``python -m tests.docs.picture`` makes it anew, from a real run.

It starts the command that the README shows on a terminal of its own, with a fixed size, and draws the last frame in which
an alert fires. A run takes some two minutes, since rules are asked at the end of a minute.
"""

import argparse
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from tests.live import PROJECT

PICTURE: Final = PROJECT / "docs" / "pictures" / "run.svg"
COMMAND: Final = ("run", "--sessions", "12", "--outage", "at 5s for 10m")
WIDTH: Final = 100
HEIGHT: Final = 26
SECONDS: Final = 240.0
"""Until an alert has to fire."""
FIRES: Final = re.compile(r"firing \w+ \d")
_CONTROL: Final = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)")


class Screen:
    """What a terminal shows of lines that are written, and written over from their beginning. Colours stay as codes."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self._row = 0
        self._over = False
        """The cursor is at the beginning of a line: what comes next replaces it."""

    def feed(self, text: str) -> None:
        end = 0
        for found in _CONTROL.finditer(text):
            self._write(text[end : found.start()])
            self._obey(found)
            end = found.end()
        self._write(text[end:])

    def _obey(self, found: re.Match[str]) -> None:
        numbers, letter, back, down = found.groups()
        if down:
            self._go(self._row + 1)
        elif back:
            self._over = True
        elif letter == "A":
            self._go(self._row - int(numbers or 1))
        elif letter == "H":
            self._go(0)
        elif letter == "J":
            del self.lines[self._row + 1 :]
        elif letter == "K" and (numbers == "2" or self._over):
            self.lines[self._row] = ""
        elif letter == "m":
            self._write(found[0])

    def _go(self, row: int) -> None:
        self._row, self._over = max(0, row), True
        self.lines += [""] * (self._row + 1 - len(self.lines))

    def _write(self, text: str) -> None:
        if text:
            self.lines[self._row] = text if self._over else self.lines[self._row] + text
            self._over = False

    def __str__(self) -> str:
        return "\n".join(self.lines).rstrip()


def drawn(frame: str, title: str) -> str:
    """The frame as SVG. It has fonts of the reader's machine only, and the same bytes each time."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(frame))
    svg = console.export_svg(title=title, unique_id="liveshop")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def watched(command: list[str], seconds: float) -> str:
    """The last frame with an alert that ``command`` shows, or the last of all after ``seconds``. Ends it as Ctrl-C does."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    env = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=env, cwd=PROJECT)
    os.close(theirs)
    try:
        return _last_frame(ours, time.monotonic() + seconds)
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(60)
        os.close(ours)


def _last_frame(terminal: int, deadline: float) -> str:
    """A frame is whole when nothing follows it for a moment."""
    screen = Screen()
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            screen.feed(os.read(terminal, 65536).decode(errors="replace"))
        elif FIRES.search(Text.from_ansi(str(screen)).plain):
            break
    return str(screen)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, default=PICTURE, help="file (docs/pictures/run.svg)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="until an alert has to fire (240)")
    asked = parser.parse_args(arguments)
    frame = watched([sys.executable, "-m", "stream.cli", *COMMAND], asked.seconds)
    if not FIRES.search(Text.from_ansi(frame).plain):
        print(f"no alert fired:\n{frame}", file=sys.stderr)  # noqa: T201
        return 1
    asked.to.write_text(drawn(frame, f"liveshop {' '.join(COMMAND[:3])} --outage '{COMMAND[-1]}'"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
