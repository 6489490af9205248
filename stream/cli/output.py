"""What commands print: text, JSON and tables. Nothing else in this package prints, and a test holds it.

Ids, texts and names come from producers, brokers and pages: they are shown as plain text (stream/plaintext.py), and are
never rich's markup.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any, Final

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from stream.plaintext import json_text, plain, plain_json, plain_lines

UNCUT: Final = 250
"""Columns of a table that goes to a file or a pipe."""


def say(text: str = "", *, err: bool = False) -> None:
    """Prints a line, or several."""
    typer.echo(plain_lines(text), err=err)


def text(value: object, style: str = "") -> Text:
    """A cell, or a line of what rich draws."""
    return Text(plain(str(value)), style)


def lines(value: str, style: str = "") -> Text:
    return Text(plain_lines(value), style)


def number_of(number: int, what: str) -> str:
    """``1 message``, ``2,000 messages``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def show_json(value: object, *, indent: bool = False) -> None:
    """Prints it on one line, or indented."""
    typer.echo(json_text(value, indent=indent))


def show_written(values: Sequence[bytes]) -> None:
    """Prints a list of what is JSON already, as a topic holds it."""
    typer.echo(plain_json(f"[{','.join(value.decode() for value in values)}]"))


def print_json(values: Sequence[Any]) -> None:
    """Prints a list, indented. Dataclasses are objects."""
    plain_values = [asdict(value) if is_dataclass(value) and not isinstance(value, type) else value for value in values]
    show_json(plain_values, indent=True)


def print_table(headers: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    """None is shown as -. Cells of several lines are those of a ``Text``."""
    table = Table(*headers, box=None)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else text("-" if cell is None else cell) for cell in row))
    draw(table)


def draw_line(*parts: Text) -> None:
    """Prints a line with styles, neither cut nor folded, so that a command in it can be copied."""
    Console(highlight=False, soft_wrap=True).print(Text.assemble(*parts))


@contextmanager
def spinning(what: str) -> Iterator[Callable[[str], None]]:
    """Something that turns, on stderr, while work goes on; to be told what is done now."""
    with Console(stderr=True).status(text(what)) as status:
        yield lambda now: status.update(text(now))


@contextmanager
def bar(what: str, every: int) -> Iterator[Callable[[int], None]]:
    """On stderr, where that is a terminal: to be told how many of all are done. It shows the rate and the time left."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    began = time.monotonic()
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()),
        *(TextColumn("{task.fields[rate]}"), TimeRemainingColumn()),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(plain(what), total=max(1, every), rate="")

        def tell(done: int) -> None:
            rate = f"{done / max(0.001, time.monotonic() - began):,.0f}/s"
            progress.update(task, completed=min(done, max(1, every)), rate=rate)

        yield tell


def draw(what: RenderableType | Callable[[int], RenderableType]) -> None:
    """Prints what rich draws, uncut where nobody looks. A function is given the width in columns."""
    console = Console(width=None if sys.stdout.isatty() else UNCUT, highlight=False, markup=False, emoji=False)
    console.print(what(console.width) if callable(what) else what)
