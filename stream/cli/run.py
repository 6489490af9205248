"""``liveshop run``: everything in one go, for a first look."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from shutil import get_terminal_size
from types import FrameType
from typing import Annotated, Final

import msgspec
import typer

from stream import rules
from stream.cli import scrape, table
from stream.cli.alert_feed import AlertFeed
from stream.cli.demo import Asked, Demo
from stream.cli.flags import takes_settings
from stream.cli.output import say, show_json
from stream.cli.progress import steps
from stream.cli.screen import Screen
from stream.config import Settings
from stream.durations import parse_duration
from stream.errors import FailedError, UsageError
from stream.sandbox.outage import parse_outages

SETTLE_SECONDS: Final = 30.0
"""After the simulator has stopped, until every message it sent is counted."""
LOOK_SECONDS: Final = 1.0
LINE_SECONDS: Final = 5.0
"""Between two lines where there is no terminal; the first few come every second."""
FIRST_LINES: Final = 5
ROWS: Final = 15
"""Sessions in the summary as JSON."""
DEMO_RULES: Final = Path(rules.__file__).with_name("demo.yaml")
MOST_ALERTS: Final = 50
"""In the summary; the others are only counted."""


class _Ended(BaseException):
    """SIGTERM or a closed terminal: an orderly end."""


@takes_settings()
def command(
    settings: Settings,
    *,
    rate: Annotated[float, typer.Option(min=0.1, help="events a second")] = 400,
    sessions: Annotated[int, typer.Option(min=1, help="live sessions on air at any time")] = 40,
    seed: Annotated[int, typer.Option(help="the same seed gives the same traffic")] = 1,
    partitions: Annotated[int, typer.Option(min=1, help="partitions of every topic: the shards")] = 4,
    workers: Annotated[int, typer.Option(min=1, help="processes that share the shards")] = 1,
    length: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="end after this long, such as 30s, with a summary")
    ] = None,
    outage: Annotated[str, typer.Option(metavar="WHEN", help="payments fail then: 'at 20s for 2m', or 20s-2m20s")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="with --for: print the summary as JSON")] = False,
) -> None:
    """Start a Kafka, simulate live shopping, count it, and show the busiest sessions. Ctrl-C stops all of it.

    The embedded Kafka needs the extra liveshop[sandbox], which make installs. On a broker of yours (--brokers or
    LIVESHOP_BROKERS) it uses topics and a group of its own, named sandbox-<8 hex digits>.*, and deletes them at the end.
    """
    seconds = _seconds(length)
    _check_outage(outage)
    settings = with_rules(settings, outage)
    _check_rules(settings)
    flags = [f"--rate={rate}", f"--sessions={sessions}", f"--seed={seed}", f"--outage={outage}"]
    asked = Asked(_with_rows(settings), partitions, workers, tuple(flags))
    with _orderly(), steps() as step, Demo(asked, step) as stage, AlertFeed(stage.settings) as feed:
        step("")
        _watch(stage, feed, seconds, quiet=as_json)
        if seconds is not None:
            _summary(stage, feed, as_json=as_json)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text) / timedelta(seconds=1)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None


def _check_outage(text: str) -> None:
    try:
        parse_outages(text)
    except ValueError as error:
        raise UsageError(f"--outage: {error}") from None


def with_rules(settings: Settings, outage: str) -> Settings:
    """Simulated broadcasts have few buyers: for an outage, rules that notice it in a minute, unless others are given."""
    return (
        settings.model_copy(update={"rules": str(DEMO_RULES)})
        if outage and settings.rules == Settings().rules
        else settings
    )


def _with_rows(settings: Settings) -> Settings:
    """Workers name as many sessions as the terminal has lines for."""
    lines = get_terminal_size().lines if sys.stdout.isatty() else 0
    return settings.model_copy(update={"top_sessions": max(settings.top_sessions, min(lines, table.MOST_ROWS))})


def _check_rules(settings: Settings) -> None:
    """The workers would refuse them too, but only once everything else runs."""
    from stream.rules.reading import load_rules  # noqa: PLC0415  # brings CEL, a quarter of a second

    load_rules(settings.rules, settings.policy().pane_ms)


@contextmanager
def _orderly() -> Iterator[None]:
    """SIGTERM and SIGHUP end everything in order, with exit code 0, as Ctrl-C does with 130."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except _Ended:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(stage: Demo, feed: AlertFeed, seconds: float | None, *, quiet: bool) -> None:
    """Show what happens, for ``seconds`` or for ever; on stderr when stdout is ``quiet``."""
    notes = [
        f"Kafka    {stage.settings.brokers}",
        *(f"metrics  {url}" for url in stage.urls),
        *([f"rules    {DEMO_RULES.name}: quick ones, for a look"] if stage.settings.rules == str(DEMO_RULES) else []),
        f"ends after {seconds:g} s" if seconds is not None else "Ctrl-C stops everything",
    ]
    deadline = None if seconds is None else time.monotonic() + seconds
    if sys.stdout.isatty() and not quiet:
        _watch_table(stage, feed, deadline, notes)
    else:
        _watch_lines(stage, feed, deadline, notes, lambda text: say(text, err=quiet))


def _left(deadline: float | None, most: float) -> float:
    """How long to sleep; 0 when it is over."""
    return most if deadline is None else min(most, max(0.0, deadline - time.monotonic()))


def _watch_table(stage: Demo, feed: AlertFeed, deadline: float | None, notes: list[str]) -> None:
    pace = scrape.Pace()
    with Screen() as screen:
        while (pause := _left(deadline, LOOK_SECONDS)) > 0:
            look = stage.look()
            screen.show(table.screenful(look, pace.note(look), console=screen.console, notes=notes, alerts=feed.seen()))
            time.sleep(pause)


def _watch_lines(
    stage: Demo, feed: AlertFeed, deadline: float | None, notes: list[str], say: Callable[[str], None]
) -> None:
    pace = scrape.Pace()
    for note in notes:
        say(note)
    shown = told = 0
    while (pause := _left(deadline, LINE_SECONDS if shown >= FIRST_LINES else LOOK_SECONDS)) > 0:
        look = stage.look()
        shown += 1
        say(table.line(look, pace.note(look)))
        told = _tell_alerts(feed, told, say)
        time.sleep(pause)


def _tell_alerts(feed: AlertFeed, told: int, say: Callable[[str], None]) -> int:
    """Those written since ``told``; how many there are now."""
    number, seen = feed.number, feed.seen()
    for alert in seen[len(seen) - min(number - told, len(seen)) :]:
        say(table.alert_line(alert))
    return number


def _summary(stage: Demo, feed: AlertFeed, *, as_json: bool) -> None:
    """Every outcome, once each message that was sent has one, and the alerts that have fired."""
    sent = stage.end_traffic()
    look = _settled(stage, sent)
    fired = feed.fired()
    if as_json:
        alerts = [msgspec.json.decode(alert.value()) for alert in fired[-MOST_ALERTS:]]
        show_json({"sent": sent, **table.as_dict(look, None, ROWS), "alerts": alerts})
        return
    say(f"\n{sent:,} messages sent, {look.read:,} records read")
    for line in table.outcome_lines(look):
        say(line)
    say(f"windows written: {table.windows(look) or 'none yet: the first closes when its minute is over'}")
    say(f"sessions: {look.sessions_held:,}")
    counts = ", ".join(f"{alert} {number:,}" for alert, number in table.fired(look).items())
    say(f"alerts fired: {counts or 'none'}")
    for alert in fired[-MOST_ALERTS:]:
        say(f"  {table.alert_line(alert)}")


def _settled(stage: Demo, sent: int) -> scrape.Look:
    """The look at which everything sent is read and committed. FailedError when that takes too long."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        look = stage.look()
        if look.read >= sent and look.lag.total() == 0:
            return look
        if time.monotonic() > deadline:
            raise FailedError(f"of {sent:,} messages {look.read:,} are counted after {SETTLE_SECONDS:.0f} s")
        time.sleep(0.2)
