"""``liveshop replay diff``: how a replay's results differ from the live ones."""

from pathlib import Path
from typing import Annotated, Final

import typer

from stream import __version__
from stream.cli.flags import takes_settings
from stream.cli.operating import NEEDED, ask
from stream.cli.output import print_table, say, show_json
from stream.cli.progress import reading
from stream.cli.replay_figures import ABSENT, VERDICTS, difference, figure, gain, label
from stream.cli.replay_page import names_of, notes_on, page, sums_of, verdict
from stream.cli.timestamps import in_zone
from stream.config import Settings
from stream.errors import UsageError
from stream.replay import diff, plan
from stream.replay.compare import TOP, Comparison, Difference, plain

DIFFERENT: Final = 1
MOST: Final = 10_000
"""Differences that are kept when asked for: all their values are held in memory."""
SHOWN: Final = 4
"""Values of one difference that are listed; --json and --html have them all."""


@takes_settings(NEEDED, required=("brokers",))
def command(
    settings: Settings,
    *,
    replay: Annotated[
        str, typer.Argument(metavar="ID", help="of the replay, as in the list; or its plan, such as plan.json")
    ],
    top: Annotated[int, typer.Option(min=0, max=MOST, help="largest differences to show")] = TOP,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="write a page to read and send around")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare a replay with what was counted live: the last revisions, window by window and session by session.

    Totals of a session that goes beyond an end of the range are not compared, and neither is what retention has deleted of
    the live results. It joins no group and writes nothing to Kafka.

    Exit code 0: all that was compared is equal; 1: something differs, or nothing could be compared.
    """
    planned = _plan(replay) if Path(replay).suffix else ask(diff.planned(settings, replay))
    with reading("offsets") as tell:
        found = ask(diff.diff(settings, planned, tell, top=top))
    if html is not None:
        _write(html, page(planned.id, found, __version__))
    if as_json:
        show_json({"id": planned.id, **plain(found)}, indent=True)
    else:
        _show(planned.id, found, html)
    if not found.equal:
        raise typer.Exit(DIFFERENT)


def _plan(given: str) -> plan.Plan:
    """Of a file."""
    file = Path(given)
    try:
        return plan.read(file.read_bytes(), given)
    except OSError as error:
        raise UsageError(f"{given}: the plan cannot be read: {error.strerror}") from None


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None


def _show(replay: str, found: Comparison, html: Path | None) -> None:
    say(f"replay {replay}, {in_zone(found.from_ms)} to {in_zone(found.to_ms)}")
    say(verdict(found))
    for note in notes_on(found):
        say(note)
    if names := names_of(found):
        say()
        rows = [(name, *(f"{found.tallies[name][each]:,}" for each in VERDICTS)) for name in names]
        print_table(("", *VERDICTS.values()), rows)
    _show_sums(found)
    if found.largest:
        say("\nthe largest differences:")
        headers = ("session", "window", "from", "", "events", "what the replay has more")
        print_table(headers, [_row(each) for each in found.largest])
    if html is not None:
        say(f"\nwritten to {html}")


def _show_sums(found: Comparison) -> None:
    rows = [
        (name, label(path), figure(path, live), figure(path, replay), gain(path, replay - live))
        for name, path, live, replay in sums_of(found)
    ]
    if rows:
        say("\nall of it together:")
        print_table(("", "", "live", "replay", "difference"), rows)


def _row(found: Difference) -> tuple[object, ...]:
    start = in_zone(found.start) if found.start >= 0 else None
    return found.session_id, found.window or None, start, VERDICTS[found.verdict], f"{found.events:,}", _changed(found)


def _changed(found: Difference) -> str:
    known = [f"{label(each.name)} {difference(each)}" for each in found.changes if each.difference]
    listed = known or [label(each.name) for each in found.changes]
    more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"{', '.join(listed[:SHOWN])}{more}" or ABSENT
