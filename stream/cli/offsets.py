"""``liveshop offsets``: where each input stands, and skipping records that stop a shard."""

from typing import Annotated, Final, TypeAlias

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import NEEDED, ROLE, ask, do, operator
from stream.cli.output import print_json, print_table, say
from stream.cli.timestamps import in_zone
from stream.config import DECIDING, Settings
from stream.errors import UsageError
from stream.kafka.machine import Name
from stream.operate import offsets
from stream.operate import skip as skipping
from stream.operate.offsets import InputOffsets
from stream.operate.shards import contexts
from stream.operate.skip import Item, Plan, Skip

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]

app: Final = typer.Typer(
    help="Show the offsets and lag of each input, or skip records that stop a shard.", no_args_is_help=True
)


@app.command()
@takes_settings(NEEDED, required=("brokers",))
def show(settings: Settings, as_json: Json = False) -> None:
    """Show for each input partition the offsets of the log, the state and the group, and the lag.

    The state's position is what counts; the group's offsets are written for tools. Reads only.
    """
    found = ask(offsets.show(ROLE, settings))
    if as_json:
        print_json(found)
        return
    headers = ("topic", "partition", "earliest", "state", "group", "stable end", "end", "lag", "waiting", "")
    print_table(headers, [_row(each) for each in found])
    for problem in sorted({each.problem for each in found if each.problem}):
        say(problem)


def _row(each: InputOffsets) -> list[object]:
    seconds = None if each.lag_seconds is None else f"{each.lag_seconds:.0f} s"
    remarks = [
        "transaction open" if each.open_transaction else "",
        f"{each.lost} lost to retention" if each.lost else "",
        "no state" if each.state is None else "",
        "see below" if each.problem else "",
    ]
    numbers = (each.earliest, each.state, each.group, each.stable, each.end, each.lag)
    return [each.topic, each.partition, *numbers, seconds, "; ".join(filter(None, remarks))]


@app.command()
@takes_settings((*NEEDED, *DECIDING, "log_format"), required=("brokers",))
def skip(
    settings: Settings,
    *,
    topic: Annotated[str, typer.Option(metavar="NAME", help="the input, such as live.views")],
    partition: Annotated[int, typer.Option(metavar="N", help="the partition")],
    offset: Annotated[int, typer.Option(metavar="A", help="the record to skip: the next one that the shard reads")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why you skip it; kept with the dead letter")],
    to: Annotated[int | None, typer.Option(metavar="B", help="the last record to skip; default only one")] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="who skips it; default user@host")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="do it; without it only the records are shown")] = False,
    as_json: Json = False,
) -> None:
    """Skip records that stop a shard. The first of them must be the next one that the shard reads.

    Each becomes a dead letter with the reason "skipped"; a damaged batch becomes one dead letter. Skips with --execute.
    Workers may run: they are fenced and go on behind the records. The command never goes back. Give the settings of the
    workers.
    """
    asked = Skip(_input(settings, topic), offset, offset if to is None else to, reason, by or operator())
    if execute:
        skipping.check(asked)
    plan = do(_skip(settings, partition, asked, execute=True)) if execute else ask(_skip(settings, partition, asked))
    if as_json:
        print_json([plan])
    else:
        _print(plan)


async def _skip(settings: Settings, partition: int, asked: Skip, *, execute: bool = False) -> Plan:
    (context,) = await contexts(ROLE, settings, [partition])
    return await (skipping.execute if execute else skipping.plan)(context, asked)


def _input(settings: Settings, topic: str) -> Name:
    inputs = ROLE.input_topics
    for name, each in inputs.items():
        if topic in {each, settings.topic(each)}:
            return name
    raise UsageError(f"--topic: {topic} is no input; they are {', '.join(map(settings.topic, inputs.values()))}")


def _print(plan: Plan) -> None:
    headers = ("offset", "appended", "bytes", "key", "batch", "")
    print_table(headers, [_item(item) for item in plan.items])
    for note in plan.notes:
        say(f"note: {note}")
    where = f"{plan.topic}, partition {plan.partition}"
    if plan.checkpoint is None:
        say(f"{where}: would go on at {plan.position} of {plan.end}; nothing is done without --execute")
    else:
        number = sum(item.records for item in plan.items)
        say(f"{where}: skipped {number}, goes on at {plan.position} (checkpoint {plan.checkpoint})")


def _item(item: Item) -> list[object]:
    batch = item.batch
    about = None if batch is None else f"{batch.first} to {batch.last}, {batch.codec}, {batch.size} bytes"
    what = "cannot be read" if item.size is None else "tombstone" if item.tombstone else ""
    damaged = "damaged batch" if batch is not None and batch.damaged else ""
    offsets = item.offset if item.offset == item.last else f"{item.offset} to {item.last}"
    return [offsets, in_zone(item.timestamp), item.size, item.key, about, ", ".join(filter(None, (what, damaged)))]
