"""``liveshop state``: what the shards' states hold, whether they are right; counting one anew, adopting other topics."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, TypeAlias

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import NEEDED, ROLE, ask, confirm, do
from stream.cli.output import number_of, print_json, print_table, say
from stream.cli.timestamps import in_zone
from stream.config import DECIDING, Settings
from stream.doctor.finding import listed
from stream.errors import FailedError, UsageError
from stream.kafka.shard_context import Adopted, ShardContext
from stream.model.money import readable
from stream.operate import adopt as adopting
from stream.operate import rebuild as rebuilding
from stream.operate import show as showing
from stream.operate import verify as verifying
from stream.operate.rebuild import Plan
from stream.operate.shards import contexts, require_same_partitions
from stream.operate.show import StateReport
from stream.printed import command

FAILED: Final = 1
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]
Partitions: TypeAlias = Annotated[
    list[int] | None, typer.Option("--partition", metavar="N", help="only this partition; may be given again")
]

app: Final = typer.Typer(
    help="Show and verify the states of shards, rebuild a shard, or adopt recreated topics.", no_args_is_help=True
)


@app.command()
@takes_settings((*NEEDED, *DECIDING), required=("brokers",))
def show(
    settings: Settings,
    partition: Partitions = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="show what the states hold of this session")] = None,
    as_json: Json = False,
) -> None:
    """Show what each shard's state holds: positions, clocks, sessions, panes, sizes and settings.

    Reads only, also while workers run. Exit code 1: a state cannot be read, or no shard holds the session.
    """
    if session is not None:
        _show_session(settings, partition or (), session, as_json=as_json)
        return
    shown = ask(showing.show(ROLE, settings, partition or ()))
    if as_json:
        print_json(shown)
    else:
        _print_states(settings, shown)
    if any(each.problem for each in shown):
        raise typer.Exit(FAILED)


def _print_states(settings: Settings, shown: Sequence[StateReport]) -> None:
    headers = ("partition", "generation", "format", "checkpoint", "age", "bytes", "views", "comments", "checkouts")
    more = ("watermark", "open", "held", "panes", "closed windows", "event ids", "checkout keys", "gaps", "settings")
    print_table([*headers, *more], [_state_row(each) for each in shown])
    for each in shown:
        for line in _remarks(settings, each):
            say(line)


def _state_row(shown: StateReport) -> list[object]:
    figures = shown.figures
    if figures is None:
        return [shown.partition, *[None] * 17]
    return [
        *(shown.partition, figures["generation"], figures["format"], figures["checkpoint"]),
        f"{figures['age_seconds']:.0f} s",
        *(f"{figures['bytes']:,}", *figures["positions"].values(), in_zone(figures["watermark"])),
        *(figures["sessions"]["open"], figures["sessions"]["held"], figures["panes"], figures["windows_closed_held"]),
        *(figures["dedupe_ids"], figures["checkout_keys"], ",".join(figures["gaps"]) or None, figures["settings_hash"]),
    ]


def _remarks(settings: Settings, shown: StateReport) -> list[str]:
    if shown.problem:
        return [f"partition {shown.partition}: {shown.problem}"]
    if shown.figures is None:
        return [f"partition {shown.partition}: no state yet"]
    differing = [
        f"partition {shown.partition}: counted under {each.flag} {each.old}, yours is {each.new}"
        for each in shown.figures["settings_differ"]
    ]
    return _not_kept(shown) + differing + _others(settings, shown.partition, shown.figures["topics_made_anew"])


def _not_kept(shown: StateReport) -> list[str]:
    """Of a state that is continued in the format of an earlier version."""
    names = (shown.figures or {})["not_kept"]
    if not names:
        return []
    text = f"{', '.join(names)} are not kept, so that the version before can go on with it"
    return [f"partition {shown.partition}: {text}; a worker with --state-format newest upgrades it"]


def _others(settings: Settings, partition: int, topics: Sequence[str]) -> list[str]:
    """A state that does not know the topic in which it was found was copied there, with the others, from another cluster."""
    copied = settings.topic(ROLE.state) in topics
    keep = command(settings, "state adopt", "--positions", "keep")
    plan = keep if copied else command(settings, "state adopt", "--positions", "beginning")
    return [
        f"partition {partition}: {topic} was made anew, the state knows another one. What to do: {plan}"
        for topic in topics
    ]


def _show_session(settings: Settings, numbers: Sequence[int], session: str, *, as_json: bool) -> None:
    held = ask(showing.show_session(settings, numbers, session))
    if not held:
        raise FailedError(
            f"no shard holds session {session}: nothing of it was counted, or it was let go after its end"
        )
    if as_json:
        print_json(held)
        return
    for each in held:
        _print_session(each)


def _money(totals: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Sums of money as people read them, a line for each currency."""
    for name, sums in totals.items():
        if name.endswith("_minor") and isinstance(sums, dict):
            yield from ((name.removesuffix("_minor"), readable(minor, currency)) for currency, minor in sums.items())


SAID: Final = ("title", "seller_id", "seller_name", "creator_id", "creator_name", "platform")


def _said(totals: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a session is called, whose it is, and when its host started and ended it, as far as it is known."""
    yield from ((name, totals[name]) for name in SAID if name in totals)
    yield from ((name, str(in_zone(totals[name]))) for name in ("started_at", "ended_at") if name in totals)


def _print_session(held: dict[str, Any]) -> None:
    totals = held["totals"]
    say(
        f"session {totals['session_id']} in partition {held['partition']}: {held['status']}, {held['events']} events "
        f"(written: {held['written_events']}), revision {held['revision']}, last event {in_zone(held['last_event'])}"
    )
    counts = [(name, count) for name, count in totals["counts"].items() if count]
    print_table(("", "so far"), [*_said(totals), *counts, *_money(totals)])
    panes = held["panes"]
    rows = [
        (in_zone(pane["start"]), pane["events"], _pairs(pane["counts"]), _pairs(pane["windows_written"]))
        for pane in panes
    ]
    print_table(("pane", "events", "counts", "windows written"), rows)


def _pairs(values: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


@app.command()
@takes_settings((*NEEDED, *DECIDING), required=("brokers",))
def verify(settings: Settings, partition: Partitions = None, as_json: Json = False) -> None:
    """Check that each state can be restored under these settings, is whole, and agrees with what was written.

    Reads only, also while workers run; give the settings that the workers have. Exit code 1: something is wrong.
    """
    found = ask(verifying.verify(settings, partition or ()))
    if as_json:
        print_json(found)
    else:
        for each in found:
            looked = ", ".join(f"{name} {number}" for name, number in each.looked_at.items()) or "no state"
            say(f"partition {each.partition}: {f'{len(each.findings)} wrong' if each.findings else 'right'} ({looked})")
            for finding in each.findings:
                say(f"  {finding.what}: {finding.text}")
    if any(each.findings for each in found):
        raise typer.Exit(FAILED)


@app.command()
@takes_settings((*NEEDED, *DECIDING, "log_format"), required=("brokers",))
def rebuild(
    settings: Settings,
    *,
    partition: Partitions = None,
    every: Annotated[bool, typer.Option("--all", help="all partitions")] = False,
    execute: Annotated[bool, typer.Option("--execute", help="do it; without it only the plan is shown")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask for confirmation")] = False,
    as_json: Json = False,
) -> None:
    """Discard the state of shards and count them again from the oldest records, as a new generation.

    Shows the plan; does it with --execute. Workers may run: they are fenced at their next checkpoint, and go on from the new
    beginning. Give the settings of the workers: the new state is counted under them.
    """
    if bool(partition) == every:
        raise UsageError("say which: --partition N, once or more, or --all")
    planned = ask(_plans(settings, partition or ()))
    if not as_json:
        _print_plans([plan for _, plan in planned])
    if not execute:
        _print_done([plan for _, plan in planned], "nothing is done without --execute", as_json=as_json)
        return
    confirm(f"Throw away the state of {number_of(len(planned), 'partition')} and count everything anew?", yes=yes)
    done = do(_execute(planned))
    lines = [f"partition {plan.partition} begins anew as generation {plan.generation}" for plan in done]
    _print_done(done, "\n".join(lines), as_json=as_json)


@app.command()
@takes_settings((*NEEDED, *DECIDING, "log_format"), required=("brokers",))
def adopt(
    settings: Settings,
    *,
    positions: Annotated[
        Adopted,
        typer.Option(
            help="where to go on reading in the new inputs: keep (same log and offsets, as on another cluster) or "
            "beginning (another log: all of it is counted as well)"
        ),
    ],
    partition: Partitions = None,
    execute: Annotated[bool, typer.Option("--execute", help="do it; without it only the plan is shown")] = False,
    as_json: Json = False,
) -> None:
    """Go on with other topics of the same names: after a move to another cluster, or when a topic was recreated.

    Shows the plan; does it with --execute, which needs a group without members (else exit code 2). Give the settings of the
    workers: the checkpoint that is written stores them.
    """
    if not execute:
        planned = ask(_adoption(settings, partition or (), positions))
        _print_adoption(planned, as_json=as_json)
        return
    _print_adoption(do(_adopted(settings, partition or (), positions)), as_json=as_json)


async def _adoption(settings: Settings, numbers: Sequence[int], positions: Adopted) -> list[adopting.Plan]:
    return await adopting.plan(await contexts(ROLE, settings, numbers), positions)


async def _adopted(settings: Settings, numbers: Sequence[int], positions: Adopted) -> list[adopting.Plan]:
    return await adopting.execute(settings, await contexts(ROLE, settings, numbers), positions)


def _print_adoption(plans: Sequence[adopting.Plan], *, as_json: bool) -> None:
    if as_json:
        print_json(plans)
        return
    rows = [
        (plan.partition, each.topic, each.id_then, each.id_now, each.position, each.begin, each.end, each.goes_on_at)
        for plan in plans
        for each in plan.topics
    ]
    if rows:
        print_table(("partition", "topic", "id then", "id now", "stood at", "begins at", "ends at", "goes on at"), rows)
    if not rows:
        say("all states know the topics that are there: there is nothing to adopt")
    elif all(plan.checkpoint is None for plan in plans):
        say("nothing is done without --execute")
    else:
        say(f"they are adopted in partition {listed(plan.partition for plan in plans)}: start the workers")


def _print_done(plans: Sequence[Plan], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(plans)
    else:
        say(text)


async def _plans(settings: Settings, numbers: Sequence[int]) -> list[tuple[ShardContext, Plan]]:
    await require_same_partitions(ROLE, settings)
    return [(context, await rebuilding.plan(context)) for context in await contexts(ROLE, settings, numbers)]


async def _execute(planned: Sequence[tuple[ShardContext, Plan]]) -> list[Plan]:
    return [await rebuilding.execute(context, plan) for context, plan in planned]


def _print_plans(plans: Sequence[Plan]) -> None:
    rows = [
        (
            plan.partition,
            plan.generation_now,
            plan.generation,
            each.topic,
            each.position,
            each.begin,
            each.end,
            each.records,
        )
        for plan in plans
        for each in plan.topics
    ]
    print_table(
        ("partition", "generation", "next", "topic", "stands at", "from (lost before)", "to", "records at most"), rows
    )
    for plan in plans:
        for each in plan.settings_differ:
            say(f"partition {plan.partition}: counted under {each.flag} {each.old}, anew under {each.new}")
