"""``liveshop replay export``: the windows of a replay for Prometheus."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import NEEDED, ask
from stream.cli.output import say
from stream.cli.progress import reading
from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.replay import diff
from stream.replay.openmetrics import Export


@takes_settings(NEEDED, required=("brokers",))
def command(
    settings: Settings,
    *,
    replay: Annotated[str, typer.Argument(metavar="ID", help="of the replay, as in the list")],
    file: Annotated[Path, typer.Option("--openmetrics", metavar="FILE", help="write OpenMetrics text with timestamps")],
    live: Annotated[bool, typer.Option("--with-live", help='also what was counted live, as run="live"')] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing file")] = False,
) -> None:
    """Write the windows of a replay as OpenMetrics, summed over all sessions of a platform, to be put into Prometheus.

    Series are named liveshop_window_views and so on, and have the labels run, window and platform. A sample stands at the
    end of its window. `promtool tsdb create-blocks-from openmetrics FILE DATA_DIR` makes blocks of the file, which
    Prometheus shows within a minute. It reads only, and touches no metric of a worker.
    """
    if file.exists() and not force:
        raise UsageError(f"--openmetrics: {file} is there already, and would be lost: --force writes over it")
    planned = ask(diff.planned(settings, replay))
    with reading("offsets") as tell:
        found = ask(diff.export(settings, planned, Export(), tell, live=live))
    try:
        with file.open("w", encoding="utf-8") as opened:
            opened.writelines(found.text())
    except OSError as error:
        raise FailedError(f"{file}: {error.strerror}") from error
    listed = ", ".join(f"{number:,} windows of {run}" for run, number in found.windows.items())
    say(f"{file}: {listed or 'no windows'}")
