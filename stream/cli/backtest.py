"""``liveshop backtest``: which alerts rules would have raised of what was recorded, and how other rules differ."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Self

import typer

from stream.cli.backtest_report import show
from stream.cli.flags import takes_settings
from stream.cli.operating import ask
from stream.cli.output import say, show_json
from stream.cli.progress import reading
from stream.cli.timestamps import parse_moment
from stream.config import CONNECTION, Settings
from stream.errors import UsageError
from stream.replay import file_source, topic_range
from stream.replay.backtest import EVER, Backtest, plain
from stream.rules.reading import load_rules

SOME_BAD: Final = 3
COMPLAINTS: Final = 10
"""Bad lines that are named; the rest are only counted."""
_NEEDED: Final = (
    *(*CONNECTION, "topic_prefix", "rules", "windows", "delay", "lateness", "max_future", "state_retention"),
    *("session_end_after", "currency", "max_value", "max_batch", "trust_producer_time"),
)
"""What alerts are decided under, and where from."""


@takes_settings(_NEEDED)
def command(
    settings: Settings,
    *,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="start of the report; default the oldest event")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="end of the report; default now")] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE", help="read this recording (.ndjson or .ndjson.gz) instead of the topics"
        ),
    ] = None,
    partitions: Annotated[int, typer.Option(min=1, help="with --input: number of partitions of the topics")] = 4,
    compare: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="rules to compare with (a file, or default); shows the differences"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Try alert rules against history: what would have fired, when, for how long, for whom, with which values.

    Evaluates the rules (--rules, or the shipped ones) in event time with the code of the live shard. It reads the topics, or
    a recording of `liveshop simulate --to FILE`. It joins no group and writes nothing. Give the settings of the workers.
    Times are 2026-03-01T19:30 (UTC), 2026-03-01T19:30+07:00, ms since 1970, 2h (ago) or now.

    Live alerts marked "idle" were decided before all events were there, and may differ. Exit code 3: some lines of the
    recording are not messages.
    """
    if source is None and settings.brokers is None:
        raise UsageError("nothing to read: set --brokers or LIVESHOP_BROKERS to host:port, or give --input FILE")
    asked = _Asked.of(settings, begin, end, source)
    test = _test(settings, compare, asked.from_ms)
    with reading("records") as tell:
        if source is None:
            report = ask(topic_range.over_topics(settings, test, asked.from_ms, asked.to_ms or asked.known_ms, tell))
        else:
            report = file_source.over_file(source, test, partitions, asked.to_ms, tell=tell, complain=complain)
    if as_json:
        show_json(plain(report), indent=True)
    else:
        show(report, whole=end is not None)
    if report.bad_lines:
        raise typer.Exit(SOME_BAD)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The span asked about, ms."""

    from_ms: int | None
    to_ms: int | None
    known_ms: int
    """Of what is newer in the topics, on-time events may still come."""

    @classmethod
    def of(cls, settings: Settings, begin: str | None, end: str | None, source: Path | None) -> Self:
        now = int(time.time() * 1000)
        known = now - settings.policy().delay_ms
        from_ms = None if begin is None else parse_moment(begin, now, "--from")
        to_ms = None if end is None else parse_moment(end, now, "--to")
        if source is None:
            to_ms = known if to_ms is None else min(to_ms, known)
        if from_ms is not None and to_ms is not None and from_ms >= to_ms:
            raise UsageError("--from must lie before --to, and further back than --delay")
        return cls(from_ms, to_ms, known)


def _test(settings: Settings, compare: str | None, from_ms: int | None) -> Backtest:
    policy = settings.policy()
    rules = load_rules(settings.rules, policy.pane_ms)
    if not rules:
        raise UsageError("there are no rules to try: give --rules FILE")
    old = None if compare is None else load_rules(compare, policy.pane_ms)
    return Backtest(policy, rules, old, EVER if from_ms is None else from_ms)


def complain(text: str, number: int) -> None:
    """Of the lines of a recording that are no messages the first are named."""
    if number <= COMPLAINTS:
        say(text, err=True)
    if number == COMPLAINTS:
        say("further bad lines are only counted", err=True)
