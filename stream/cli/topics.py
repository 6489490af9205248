"""``liveshop topics``: makes the topics the worker needs, shows what they are like, lets larger ones take over, and deletes
what killed demonstrations have left.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TypeAlias

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import NEEDED as OPERATING
from stream.cli.operating import ask, do
from stream.cli.output import lines, print_json, print_table, say
from stream.config import CONNECTION, DECIDING, Settings, load
from stream.durations import parse_duration
from stream.errors import FailedError, UsageError
from stream.kafka.topics import PARTITIONS, Topic, TopicStatus, at_risk, set_config, uneven
from stream.operate import grow as growing
from stream.operate import sandbox_topics, takeover
from stream.operate.grow import Growth, Plan
from stream.operate.sandbox_topics import RunStatus
from stream.printed import command
from stream.sessions import topics

NEEDED: Final = (*CONNECTION, "topic_prefix")
SOME_FAILED: Final = 3
SHOWN: Final = 20
"""Sessions that are listed for people."""

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]

app: Final = typer.Typer(
    help="Create or show the topics, move to more partitions, or delete the topics of killed runs.",
    no_args_is_help=True,
)


@app.command()
@takes_settings(NEEDED, required=("brokers",))
def create(
    settings: Settings,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="partitions of each topic: at most so many workers share them; default as many as existing topics have, "
            f"or {PARTITIONS}",
        ),
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option(min=1, help="copies of each partition; default 3, or the number of brokers if that is smaller"),
    ] = None,
    may_differ: Annotated[
        bool,
        typer.Option("--may-differ", help="exit with 0 even if an existing topic differs, for deployments"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing. Existing topics stay as they are. May be run again.

    Exit code 1: an existing topic differs from what it should be.
    """
    found = asyncio.run(topics.create(settings, partitions, replication))
    _print(found, as_json=as_json)
    if replication is None and (warning := at_risk(found)):
        say(f"warning: {warning}", err=True)
    _refuse_unequal(settings, found)
    if not may_differ:
        _refuse_differences(settings, found)


@app.command()
@takes_settings(NEEDED, required=("brokers",))
def show(settings: Settings, as_json: Json = False) -> None:
    """Show every topic and how it differs from what it should be. Exit code 1: a topic is missing or differs."""
    found = asyncio.run(topics.describe(settings))
    _print(found, as_json=as_json)
    _refuse_differences(settings, found)


@app.command()
@takes_settings((*OPERATING, *DECIDING, "rules", "log_format"), required=("brokers",))
def grow(
    settings: Settings,
    *,
    partitions: Annotated[int, typer.Option(min=1, metavar="N", help="partitions of each topic of the new set")],
    to_prefix: Annotated[str, typer.Option(metavar="PREFIX", help="prefix of the new topics")],
    quiet: Annotated[
        str, typer.Option(metavar="TIME", help="producers have left the old set when no record has come for so long")
    ] = "30s",
    execute: Annotated[bool, typer.Option("--execute", help="do it; without it only the plan is shown")] = False,
    as_json: Json = False,
) -> None:
    """Give a new set of topics more partitions and let it take over; every event is counted once.

    Shows the state of the move and the next steps. With --execute it creates the new topics, waits until producers have
    left the old ones and workers have counted them, and moves the records that are left. Ctrl-C ends it at any time; the
    same command goes on. Give the settings of the workers. See docs/operate/partitions.md. Exit code 3: unreadable records
    became dead letters of the new set.
    """
    asked = Growth(to_prefix, partitions, _seconds(quiet))
    load({"topic_prefix": to_prefix}, None, {})  # it has the form of a prefix
    if execute:
        found = do(takeover.execute(settings, asked, lambda text: say(text, err=True)))
    else:
        found = ask(growing.plan(settings, asked))
    if as_json:
        print_json([found])
    else:
        _print_growth(settings, asked, found, executed=execute)
    if found.moved_letters:
        raise typer.Exit(SOME_FAILED)


@app.command()
@takes_settings(CONNECTION, required=("brokers",))
def clean(
    settings: Settings,
    *,
    quiet: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="a run without workers is over when nothing was written to its topics for so long"
        ),
    ] = "5m",
    execute: Annotated[bool, typer.Option("--execute", help="do it; without it only the list is shown")] = False,
    as_json: Json = False,
) -> None:
    """Delete the topics and groups that killed runs of `liveshop run` have left: sandbox-<8 hex digits>.*

    Lists them; deletes them with --execute. It keeps a run whose group has members or whose topics are written to. A run
    without any record may be starting, so the command checks it again after a minute. Other topics are never touched.
    """
    seconds = _seconds(quiet)
    found = (
        do(sandbox_topics.remove(settings, seconds)) if execute else ask(sandbox_topics.find_runs(settings, seconds))
    )
    if as_json:
        print_json(found)
        return
    rows = [(run.prefix + "*", _STANDS[run.stands], len(run.topics), len(run.groups)) for run in found]
    print_table(("run", "", "topics", "groups"), rows) if rows else say("no topics or groups of runs are there")
    if execute:
        say(f"deleted what {sum(run.stands is RunStatus.LEFT for run in found)} runs have left")
    elif rows:
        say("nothing is done without --execute")


_STANDS: Final = {
    RunStatus.RUNS: "runs: it has workers",
    RunStatus.RECENT: "no workers, but written to a short time ago",
    RunStatus.NEW: "nothing written yet: it may be starting",
    RunStatus.LEFT: "left by a run that is over",
}


def _seconds(quiet: str) -> float:
    try:
        return parse_duration(quiet).total_seconds()
    except ValueError as error:
        raise UsageError(f"--quiet: {error}") from error


def _print_growth(settings: Settings, asked: Growth, found: Plan, *, executed: bool) -> None:
    rows = [(each.topic, each.partition, each.counted, each.moved, each.end, each.left) for each in found.rest]
    print_table(("topic", "partition", "counted", "moved", "end", "left"), rows)
    print_table(("step", "", ""), [(each.name, each.stands, each.text) for each in growing.steps(found)])
    _print_sessions("on air in the old set", found.on_air)
    _print_sessions("with events in both sets, so with two totals to be added", found.split)
    if executed:
        say(f"moved {found.moved_records:,} records, and {found.moved_letters:,} that nobody can read as dead letters")
    if found.done:
        say("all is moved. What producers still write to the old topics is moved when this is run again")
    elif not executed:
        say("nothing is done without --execute")
    say(f"workers on the new set: {growing.worker_command(growing.target_of(settings, asked).settings)}")


def _print_sessions(what: str, ids: Sequence[str]) -> None:
    more = f" and {len(ids) - SHOWN:,} more (--json shows all)" if len(ids) > SHOWN else ""
    say(f"sessions {what}: {', '.join(ids[:SHOWN]) or 'none'}{more}")


def _refuse_unequal(settings: Settings, found: Sequence[Topic]) -> None:
    if len({topic.partitions for topic in found}) > 1:
        raise uneven(settings, {topic.name: topic.partitions for topic in found})


def _refuse_differences(settings: Settings, found: Sequence[Topic]) -> None:
    """FailedError that says what to do about each topic that is missing or differs."""
    missing = [topic.name for topic in found if topic.made is TopicStatus.MISSING]
    differing = [topic for topic in found if topic.made is TopicStatus.DIFFERS]
    todo = (
        [f"missing topics: {', '.join(missing)}. Make them with: {command(settings, 'topics create')}"]
        if missing
        else []
    )
    todo += [line for topic in differing for line in _ways_out(settings, topic)]
    if todo:
        raise FailedError("topics are not as they should be:\n" + "\n".join(f"  {line}" for line in todo))


def _ways_out(settings: Settings, topic: Topic) -> Iterator[str]:
    for difference in topic.differences:
        name, _, rest = difference.partition(" is ")
        wanted = rest.rpartition(", should be ")[2]
        if name in {"partitions", "replication"}:
            yield f"{topic.name}: {difference}. That of a topic that is there stays; ask for what it has"
        else:
            yield f"{topic.name}: {difference}. To change it: {set_config(settings.brokers, topic.name, name, wanted)}"


def _print(found: Sequence[Topic], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [(topic.name, topic.made, *_numbers(topic), lines(_settings(topic))) for topic in found]
    print_table(("topic", "", "partitions", "copies", "settings"), rows)


def _numbers(topic: Topic) -> tuple[str, str]:
    return ("", "") if topic.made is TopicStatus.MISSING else (str(topic.partitions), str(topic.replication))


def _settings(topic: Topic) -> str:
    return "\n".join(topic.differences) or ", ".join(f"{name}={value}" for name, value in topic.configs.items())
