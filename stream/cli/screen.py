"""A terminal that is drawn anew each second, without a flicker: each frame goes out in one piece, over the one before."""

import os
import sys
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType

BEGIN: Final = "\x1b[?1049h\x1b[?25l"
"""The other screen, without a cursor."""
END: Final = "\x1b[?25h\x1b[?1049l"
FRAME: Final = "\x1b[?2026h\x1b[H"
"""A terminal that knows it shows nothing until the end of the frame. Then: from the first line on."""
FRAME_END: Final = "\x1b[J\x1b[?2026l"
LINE_END: Final = "\x1b[K\r\n"
"""What is left of the line before is deleted after the new one stands, so that nothing is empty meanwhile."""


class Screen:
    """Draws on stdout. What was shown last is printed once more at the end, where the shell's own lines stand."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False)
        self._last: list[str] = []

    def __enter__(self) -> Self:
        _write(BEGIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _write(END + "".join(f"{line}\r\n" for line in self._last))

    @property
    def width(self) -> int:
        return self.console.width

    @property
    def height(self) -> int:
        return self.console.height

    def show(self, what: RenderableType) -> None:
        """Shows the frame now. Lines beyond the last one of the terminal are left out."""
        with self.console.capture() as captured:
            self.console.print(what)
        self._last = captured.get().splitlines()[: self.height]
        _write(FRAME + LINE_END.join(self._last) + "\x1b[K" + FRAME_END)


def _write(text: str) -> None:
    """In one system call, as far as the system takes it."""
    sys.stdout.flush()
    data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
