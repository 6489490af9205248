"""``liveshop replay run``: count what was recorded once more."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.flags import takes_settings
from stream.cli.replay_file import count
from stream.config import DECIDING, Settings


@takes_settings(("rules", *DECIDING))
def command(
    settings: Settings,
    *,
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="count this recording (.ndjson or .ndjson.gz)")
    ],
    target: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="write the results to files of this folder")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="with --to: overwrite results that are there")] = False,
    tables: Annotated[bool, typer.Option("--parquet/--no-parquet", help="with --to: write Parquet, too")] = True,
    partitions: Annotated[int, typer.Option(min=1, help="with --input: number of partitions of the topics")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Count a recording with the worker's own code, without Kafka.

    The arrival times of the file stand for the broker's clock: events that are ahead of their arrival by more than
    --max-future are refused, as live. The end of the file closes all windows. With --to the folder gets the last revision of
    each window and the totals of each session, alerts and dead letters as NDJSON, and all but dead letters as Parquet.

    Exit code 3: some lines of the recording are not messages.
    """
    count(settings, source, target, partitions, tables=tables, force=force, as_json=as_json)
