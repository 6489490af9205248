"""What ``liveshop replay run --input`` does: a recording is counted, and its results are files or a summary."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer

from stream.cli.backtest import SOME_BAD, complain
from stream.cli.output import say, show_json
from stream.cli.progress import reading
from stream.cli.replay_figures import figure
from stream.cli.timestamps import in_zone
from stream.config import Settings
from stream.errors import FailedError
from stream.replay import from_file, parquet
from stream.replay.from_file import Summary
from stream.replay.result_files import ResultFiles
from stream.rules.reading import load_rules


def count(
    settings: Settings, source: Path, target: Path | None, partitions: int, *, tables: bool, force: bool, as_json: bool
) -> None:
    """Counts it, prints what became of it, and ends with 3 where some lines are no messages.

    Raises UsageError for what cannot be read or must not be overwritten, FailedError when results cannot be written.
    """
    policy = settings.policy()
    rules = load_rules(settings.rules, policy.pane_ms)
    if target is not None and tables:
        parquet.require()
    files = None if target is None else ResultFiles(target, tables=tables, force=force)
    take = (lambda _partition, _outputs: None) if files is None else files.take
    try:
        with files or nullcontext(), reading("records") as tell:
            summary = from_file.replay(source, policy, rules, partitions, take, tell=tell, complain=complain)
            written = [] if files is None else files.finish()
    except OSError as error:
        raise FailedError(f"{target}: {error.strerror}") from error
    if as_json:
        show_json(_plain(summary, written), indent=True)
    else:
        _show(settings, source, summary, written)
    if summary.bad_lines:
        raise typer.Exit(SOME_BAD)


def _plain(summary: Summary, written: list[Path]) -> dict[str, Any]:
    return {
        "from": summary.first,
        "to": summary.last,
        "records": summary.records,
        "outcomes": dict(summary.outcomes),
        "rejected": dict(summary.refused),
        "sessions": len(summary.sessions),
        "windows": dict(summary.windows),
        "views": summary.views,
        "product_clicks": summary.product_clicks,
        "comments": summary.comments,
        "orders_paid": summary.orders_paid,
        "gmv_minor": dict(summary.gmv_minor),
        "alerts": dict(summary.alerts),
        "bad_lines": summary.bad_lines,
        "files": [str(each) for each in written],
    }


def _show(settings: Settings, source: Path, summary: Summary, written: list[Path]) -> None:
    if summary.bad_lines:
        say(f"{summary.bad_lines} lines of the recording were no messages and were left out", err=True)
    if not summary.records:
        say(f"{source}: no messages")
        return
    say(f"{source}: {in_zone(summary.first)} to {in_zone(summary.last)}, {summary.records:,} records")
    say(f"outcomes: {_listed(summary.outcomes)}")
    if summary.refused:
        say(f"refused: {_listed(summary.refused)}")
    say(f"sessions: {len(summary.sessions):,}; windows: {_listed(summary.windows) or 'none'}")
    say(
        f"{summary.views:,} views, {summary.product_clicks:,} product clicks, {summary.comments:,} comments, "
        f"{summary.orders_paid:,} orders{''.join(f', {_money(*each)}' for each in sorted(summary.gmv_minor.items()))}"
    )
    say(f"alerts that fired: {_listed(summary.alerts) or 'none'}")
    ahead = settings.shown()["max_future"]
    say(
        f"times of arrival in the file stood for the broker's clock: what was more than {ahead} ahead was refused as future"
    )
    for each in written:
        say(f"written: {each}")


def _money(currency: str, minor: int) -> str:
    return f"{currency} {figure(f'gmv_minor.{currency}', minor)}"


def _listed(numbers: Any) -> str:
    """Largest first; without those that are 0."""
    return ", ".join(f"{number:,} {name}" for name, number in numbers.most_common() if number)
