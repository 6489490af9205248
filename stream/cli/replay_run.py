"""``liveshop replay run``: count what was recorded once more: a part of the topics, or a file."""

from pathlib import Path
from typing import Annotated, Final

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import operator
from stream.config import CONNECTION, DECIDING, Settings
from stream.errors import UsageError

SETTINGS: Final = (
    *(*CONNECTION, "topic_prefix", "rules", *DECIDING),
    *("checkpoint_every", "transaction_timeout", "buffer_memory"),
)
"""Those of the workers. Those of the topics decide nothing for a plan, which has its own: it is held against them."""

MOST: Final = 1_000_000_000_000


@takes_settings(SETTINGS)
def command(
    settings: Settings,
    *,
    plan: Annotated[
        str | None,
        typer.Argument(
            metavar="PLAN", help="the plan's file; with --resume the replay's id will do", show_default=False
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on where it ended; begin it, where it was not begun")
    ] = False,
    rate: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MOST, help="at most so many records a second")
    ] = None,
    bytes_rate: Annotated[
        int | None,
        typer.Option("--bytes-rate", metavar="N", min=1, max=MOST, help="at most so many bytes a second, unpacked"),
    ] = None,
    speed: Annotated[
        str | None, typer.Option(metavar="FACTOR", help="at most so many times as fast as it happened: 1x, 10x")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=64, help="processes; default one for each core, and no more than partitions"
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="who; without, user@host")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why; kept in the list of replays")] = "",
    source: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="count this recording (.ndjson or .ndjson.gz)")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="with --input: write the results to files of this folder")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="with --to: overwrite results that are there")] = False,
    tables: Annotated[bool, typer.Option("--parquet/--no-parquet", help="with --to: write Parquet, too")] = True,
    partitions: Annotated[int, typer.Option(min=1, help="with --input: number of partitions of the topics")] = 4,
    part: Annotated[str | None, typer.Option("--part", hidden=True)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Run a planned replay: count its range once more, beside the workers, into topics of its own. Or count a recording.

    With a plan: it joins no group, and of the live topics writes only the list of replays. Its own topics expire after seven
    days. Ctrl-C makes a last checkpoint (exit code 130), and --resume goes on exactly there, also after a crash. A replay
    that is done is not run twice. Give the settings of the workers, as when it was planned.

    With --input: a recording is counted without Kafka. The arrival times of the file stand for the broker's clock: events
    that are ahead of their arrival by more than --max-future are refused, as live. The end of the file closes all windows.
    With --to the folder gets the last revision of each window and the totals of each session, alerts and dead letters as
    NDJSON, and all but dead letters as Parquet. Exit code 3: some lines of the recording are not messages.
    """
    if (plan is None) == (source is None):
        raise UsageError("give the file of a plan, or a recording with --input")
    if source is not None and (resume or rate or bytes_rate or speed or workers):
        raise UsageError(
            "--resume, --rate, --bytes-rate, --speed and --workers are for a plan; a recording is counted at once"
        )
    if source is None and target is not None:
        raise UsageError("--to is for --input: a plan's results lie in topics of their own")
    if source is not None:
        from stream.cli.replay_file import count  # noqa: PLC0415  # each needs what the other does not

        count(settings, source, target, partitions, tables=tables, force=force, as_json=as_json)
        return
    from stream.cli import replay_topics  # noqa: PLC0415  # the same

    if settings.brokers is None:
        raise UsageError("no brokers: set --brokers or LIVESHOP_BROKERS to host:port")
    asked = replay_topics.Asked(
        rate,
        bytes_rate,
        None if speed is None else replay_topics.factor(speed),
        reason,
        by or operator(),
        resume=resume,
        workers=workers,
    )
    if part is not None:
        replay_topics.run_part(str(plan), settings, asked, part)
    else:
        replay_topics.run(str(plan), settings, asked, as_json=as_json)
