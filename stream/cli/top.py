"""``liveshop top``: a live table from the metrics of running workers."""

import sys
import time
from datetime import timedelta
from typing import Annotated, Final

import typer

from stream.cli import scrape, table
from stream.cli.output import draw, lines, say, show_json
from stream.cli.screen import Screen
from stream.durations import parse_duration
from stream.errors import FailedError, UsageError

ROWS: Final = 15
DEFAULT_URL: Final = "http://127.0.0.1:9464/metrics"


def command(
    urls: Annotated[
        list[str] | None,
        typer.Option("--url", help=f"address of a worker's metrics; may be given again  [default: {DEFAULT_URL}]"),
    ] = None,
    *,
    rows: Annotated[
        int | None,
        typer.Option(
            "--sessions",
            min=0,
            help="sessions to show; the others are summed. Default: as many as fit the terminal, 15 without one. "
            "A worker has metrics for its --top-sessions busiest sessions",
        ),
    ] = None,
    every: Annotated[str, typer.Option(metavar="TIME", help="time between two scrapes")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="scrape once and exit")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, one line for each scrape")] = False,
) -> None:
    """Show the busiest live sessions right now: views, clicks, orders, GMV, conversion and comments a minute.

    Scrapes the /metrics of one or more workers until Ctrl-C, and sums their counts.
    """
    addresses = urls or [DEFAULT_URL]
    seconds = _seconds(every)
    if once:
        _once(addresses, ROWS if rows is None else rows, as_json=as_json)
    elif sys.stdout.isatty() and not as_json:
        _table(addresses, table.MOST_ROWS if rows is None else rows, seconds)
    else:
        _lines(addresses, ROWS if rows is None else rows, seconds, as_json=as_json)


def _seconds(text: str) -> float:
    try:
        return max(0.1, parse_duration(text) / timedelta(seconds=1))
    except ValueError as error:
        raise UsageError(f"--every: {error}") from None


def _scrape(urls: list[str]) -> scrape.Snapshot:
    try:
        return scrape.scrape(urls)
    except (OSError, ValueError) as error:
        raise FailedError(str(error)) from None


def _once(urls: list[str], rows: int, *, as_json: bool) -> None:
    snapshot = _scrape(urls)
    if as_json:
        show_json(table.as_dict(snapshot, None, rows))
    else:
        draw(lambda width: table.render(snapshot, None, rows, width=width))


def _lines(urls: list[str], rows: int, seconds: float, *, as_json: bool) -> None:
    pace = scrape.Pace()
    while True:
        snapshot = _scrape(urls)
        rate = pace.note(snapshot)
        if as_json:
            show_json(table.as_dict(snapshot, rate, rows))
        else:
            say(table.line(snapshot, rate))
        time.sleep(seconds)


def _table(urls: list[str], rows: int, seconds: float) -> None:
    """Stays when a worker is away for a while: says so, and shows it again when it is back."""
    pace = scrape.Pace()
    notes = [*urls, "Ctrl-C ends this table"]
    with Screen() as screen:
        while True:
            try:
                snapshot = scrape.scrape(urls)
                screen.show(
                    table.screenful(snapshot, pace.note(snapshot), console=screen.console, notes=notes, most=rows)
                )
            except (OSError, ValueError) as error:
                screen.show(lines(f"{error}\ntrying again; Ctrl-C ends this"))
            time.sleep(seconds)
