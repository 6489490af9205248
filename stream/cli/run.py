"""``liveshop run``: everything in one go, for a first look."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from shutil import get_terminal_size
from types import FrameType
from typing import Annotated, Final

import msgspec
import typer

from stream import rules
from stream.cli import scrape, table
from stream.cli.alert_feed import Alerts
from stream.cli.demo import Asked, Demo, Pipeline
from stream.cli.flags import takes_settings
from stream.cli.in_process import InProcess
from stream.cli.output import number_of, say, show_json
from stream.cli.progress import steps
from stream.cli.screen import Screen
from stream.config import CONNECTION, Settings
from stream.durations import parse_duration
from stream.errors import FailedError, UsageError
from stream.model.alerts import Alert
from stream.sandbox.outage import parse_outages
from stream.sandbox.traffic import Plan
from stream.sources import flag, variable

SETTLE_SECONDS: Final = 30.0
"""After the simulator has stopped, until every message it sent is counted."""
HURRY_SECONDS: Final = 5.0
"""The same when Ctrl-C or SIGTERM has ended it: then the summary says what is counted so far."""
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
    """SIGTERM: an orderly end."""


class _HungUp(BaseException):
    """SIGHUP: the terminal is closed, so that nobody reads a summary."""


NOT_WITHOUT_KAFKA: Final = (*CONNECTION, "topic_prefix", "group")
"""Settings that say which Kafka, and what is whose in it."""


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
    no_kafka: Annotated[
        bool, typer.Option("--no-kafka", help="count in this process, without a Kafka: nothing is kept")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON, and all else on stderr")] = False,
) -> None:
    """Start a Kafka, simulate live shopping, count it, and show the busiest sessions. Ctrl-C stops all of it.

    The embedded Kafka needs the extra liveshop[sandbox], which make installs. On a broker of yours (--brokers or
    LIVESHOP_BROKERS) it uses topics and a group of its own, named sandbox-<8 hex digits>.*, and deletes them at the end.
    With --no-kafka the same shards count in this process: there are no topics to read, and nothing is kept.

    A summary is printed at the end. The exit code is 0 after --for and SIGTERM, and 130 after Ctrl-C; a second Ctrl-C
    ends it without the summary.
    """
    seconds = _seconds(length)
    plan = Plan(seed, rate, sessions, outages=_outages(outage))
    if no_kafka:
        _check_without_kafka(settings, workers)
    settings = with_rules(settings, outage)
    _check_rules(settings)
    asked = Asked(_with_rows(settings), partitions, workers, plan)
    make: Callable[[Asked, Callable[[str], None]], AbstractContextManager[Pipeline]] = InProcess if no_kafka else Demo
    with _orderly(), steps() as step, make(asked, step) as pipeline:
        step("")
        try:
            _watch(pipeline, seconds, quiet=as_json)
        except (KeyboardInterrupt, _Ended):
            _end_early(pipeline, step, as_json=as_json)
            raise
        _end(pipeline, step, SETTLE_SECONDS, as_json=as_json)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text) / timedelta(seconds=1)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None


def _outages(text: str) -> tuple[tuple[int, int], ...]:
    try:
        return parse_outages(text)
    except ValueError as error:
        raise UsageError(f"--outage: {error}") from None


def _check_without_kafka(settings: Settings, workers: int) -> None:
    """Raises UsageError for flags that only mean something with a Kafka."""
    default = Settings()
    given = [name for name in NOT_WITHOUT_KAFKA if getattr(settings, name) != getattr(default, name)]
    named = [f"{flag(name)} ({variable(name)})" for name in given] + (["--workers"] if workers > 1 else [])
    if named:
        raise UsageError(f"--no-kafka counts in this process alone: leave out {', '.join(named)}")


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

    def end(number: int, _frame: FrameType | None) -> None:
        raise _Ended if number == signal.SIGTERM else _HungUp

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except (_Ended, _HungUp):
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(pipeline: Pipeline, seconds: float | None, *, quiet: bool) -> None:
    """Show what happens, for ``seconds`` or for ever; on stderr when stdout is ``quiet``."""
    notes = [
        pipeline.where,
        *(f"metrics  {url}" for url in pipeline.urls),
        *(
            [f"rules    {DEMO_RULES.name}: quick ones, for a look"]
            if pipeline.settings.rules == str(DEMO_RULES)
            else []
        ),
        f"ends after {seconds:g} s" if seconds is not None else "Ctrl-C stops everything",
    ]
    deadline = None if seconds is None else time.monotonic() + seconds
    if sys.stdout.isatty() and not quiet:
        _watch_table(pipeline, deadline, notes)
    else:
        _watch_lines(pipeline, deadline, notes, lambda text: say(text, err=quiet))


def _left(deadline: float | None, most: float) -> float:
    """How long to sleep; 0 when it is over."""
    return most if deadline is None else min(most, max(0.0, deadline - time.monotonic()))


def _watch_table(pipeline: Pipeline, deadline: float | None, notes: list[str]) -> None:
    pace = scrape.Pace()
    with Screen() as screen:
        while (pause := _left(deadline, LOOK_SECONDS)) > 0:
            snapshot = pipeline.scrape()
            rate, alerts = pace.note(snapshot), pipeline.alerts.seen()
            screen.show(table.screenful(snapshot, rate, console=screen.console, notes=notes, alerts=alerts))
            time.sleep(pause)


def _watch_lines(pipeline: Pipeline, deadline: float | None, notes: list[str], say: Callable[[str], None]) -> None:
    pace = scrape.Pace()
    for note in notes:
        say(note)
    shown = told = 0
    while (pause := _left(deadline, LINE_SECONDS if shown >= FIRST_LINES else LOOK_SECONDS)) > 0:
        snapshot = pipeline.scrape()
        shown += 1
        say(table.line(snapshot, pace.note(snapshot)))
        told = _tell_alerts(pipeline.alerts, told, say)
        time.sleep(pause)


def _tell_alerts(alerts: Alerts, told: int, say: Callable[[str], None]) -> int:
    """Prints the alerts written since number ``told``. Gives how many there are now."""
    number, seen = alerts.number, alerts.seen()
    for alert in seen[len(seen) - min(number - told, len(seen)) :]:
        say(table.alert_line(alert))
    return number


def _end(pipeline: Pipeline, step: Callable[[str], None], patience: float, *, as_json: bool) -> None:
    """The summary, once each message that was sent has its outcome."""
    step("stopping the traffic, and counting the rest of it")
    sent = pipeline.end_traffic()
    snapshot = _settled(pipeline, sent, patience)
    step("")
    _summary(sent, snapshot, pipeline.alerts.fired(), as_json=as_json)


def _end_early(pipeline: Pipeline, step: Callable[[str], None], *, as_json: bool) -> None:
    """The same after Ctrl-C or SIGTERM. It waits for no broker that is away, and the exit code stays the same."""
    try:
        _end(pipeline, step, HURRY_SECONDS, as_json=as_json)
    except FailedError as error:
        say(f"no summary: {error}", err=True)


def _summary(sent: int, snapshot: scrape.Snapshot, fired: Sequence[Alert], *, as_json: bool) -> None:
    """Every outcome, and the alerts that have fired."""
    if as_json:
        alerts = [msgspec.json.decode(alert.value()) for alert in fired[-MOST_ALERTS:]]
        show_json({"sent": sent, **table.as_dict(snapshot, None, ROWS), "alerts": alerts})
        return
    say(f"\n{number_of(sent, 'message')} sent, {number_of(snapshot.read, 'record')} read")
    for line in table.outcome_lines(snapshot):
        say(line)
    say(f"windows written: {table.windows(snapshot) or 'none yet: the first closes when its minute is over'}")
    say(f"sessions: {snapshot.sessions_held:,}")
    counts = ", ".join(f"{alert} {number:,}" for alert, number in table.fired(snapshot).items())
    say(f"alerts fired: {counts or 'none'}")
    for alert in fired[-MOST_ALERTS:]:
        say(f"  {table.alert_line(alert)}")


def _settled(pipeline: Pipeline, sent: int, patience: float) -> scrape.Snapshot:
    """The snapshot in which everything sent is read and committed. After ``patience`` seconds, the last one, or
    FailedError where nobody is in a hurry.
    """
    deadline = time.monotonic() + patience
    while True:
        snapshot = pipeline.scrape()
        if snapshot.read >= sent and snapshot.lag.total() == 0:
            return snapshot
        if time.monotonic() > deadline:
            if patience < SETTLE_SECONDS:
                return snapshot
            raise FailedError(f"of {sent:,} messages {snapshot.read:,} are counted after {patience:.0f} s")
        time.sleep(0.2)
