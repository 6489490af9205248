"""``liveshop replay list``, ``show`` and ``delete``: what was replayed, by whom, why, and what became of it."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import NEEDED, ask, do, operator
from stream.cli.output import print_json, print_table, say, show_json
from stream.cli.timestamps import in_zone
from stream.config import Settings, as_written
from stream.errors import FailedError, UsageError
from stream.replay import audit, removal
from stream.replay.audit import Entry, RunOutcome

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]
Id: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="of the replay, as in the list")]
_NAMED: Final = 10
"""Sessions that are shown; more are only counted."""


@takes_settings(NEEDED, required=("brokers",))
def list_replays(settings: Settings, *, as_json: Json = False) -> None:
    """List the replays there were: range, outcome, records read, who ran each and why. Reads only."""
    entries = ask(audit.every(settings))
    if as_json:
        print_json([_figures(each) for each in entries])
    elif not entries:
        say("there were no replays")
    else:
        headers = ("id", "outcome", "from", "to", "records", "begun", "by", "why", "promotions")
        print_table(headers, map(_row, entries))


def _figures(entry: Entry) -> dict[str, Any]:
    figures: dict[str, Any] = msgspec.to_builtins(entry)
    return figures


def _row(entry: Entry) -> Sequence[object]:
    plan = entry.plan
    return (
        *(entry.id, entry.outcome, in_zone(plan.from_ms), in_zone(plan.to_ms), f"{entry.records:,}"),
        *(in_zone(entry.started_ms), entry.by, entry.why or None, len(entry.promotions) or None),
    )


@takes_settings(NEEDED, required=("brokers",))
def show(settings: Settings, plan_id: Id, *, as_json: Json = False) -> None:
    """Show one replay: its plan, who ran it and why, its counts, and what was promoted. Reads only."""
    entry = ask(audit.require(settings, plan_id))
    if as_json:
        show_json(_figures(entry), indent=True)
        return
    print_table(("", ""), [*_facts(entry), *_plan_facts(entry)])
    say()
    print_table(("records", ""), [(name, f"{number:,}") for name, number in sorted(entry.counts.items())])
    if entry.promotions:
        say()
        print_table(("at", "what", "sessions", "by", "why", "outcome"), map(_promotion, entry.promotions))


def _facts(entry: Entry) -> list[tuple[str, object]]:
    return [
        ("replay", entry.id),
        ("outcome", entry.outcome + (f": {entry.detail}" if entry.detail else "")),
        ("by", entry.by),
        ("why", entry.why or None),
        ("begun", in_zone(entry.started_ms)),
        ("gone on with", f"{entry.resumed} times" if entry.resumed else None),
        ("ended", in_zone(entry.ended_ms)),
        ("records read", f"{entry.records:,} of about {entry.plan.records:,}"),
    ]


def _plan_facts(entry: Entry) -> list[tuple[str, object]]:
    plan = entry.plan
    return [
        ("from", in_zone(plan.from_ms)),
        ("to", in_zone(plan.to_ms)),
        ("sessions", _some(plan.sessions)),
        ("sellers", _some(plan.sellers)),
        ("windows", as_written("windows", plan.policy.get("windows"))),
        ("late events", "counted" if plan.count_late else "left out, as live"),
        ("plan", f"{plan.hash}, made {in_zone(plan.planned_ms)} by liveshop {plan.version}"),
        ("settings", f"{plan.fingerprint}, the workers' were {plan.live_policy}"),
        ("deleted before it", sum(sum(part.lost.values()) for part in plan.parts) or None),
    ]


def _some(ids: Sequence[str]) -> str:
    if not ids:
        return "all"
    more = f" and {len(ids) - _NAMED} others" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more


def _promotion(each: audit.Promotion) -> Sequence[object]:
    return (
        in_zone(each.at_ms),
        "undone" if each.undo else "promoted",
        _some(each.sessions),
        each.by,
        each.why,
        each.outcome,
    )


@takes_settings(NEEDED, required=("brokers",))
def delete(
    settings: Settings,
    plan_id: Id,
    *,
    confirm: Annotated[
        str | None, typer.Option(metavar="ID", help="do it: the id once more; without, nothing is deleted")
    ] = None,
    killed: Annotated[bool, typer.Option("--killed", help="it is listed as running, but its process is gone")] = False,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="who; without, user@host")] = None,
    as_json: Json = False,
) -> None:
    """Delete the topics that a replay has written, for good, and nothing else.

    The list still has it, as deleted. What was promoted stays promoted, but can no longer be compared. The topics
    expire by themselves: deleting only frees the space at once.
    """
    entry, names = ask(_look(settings, plan_id))
    if confirm is None:
        _tell(plan_id, names, deleted=False, as_json=as_json)
        return
    if confirm != plan_id:
        raise UsageError(f"--confirm {confirm}: the replay is called {plan_id}, so nothing was deleted")
    if entry is not None and entry.outcome is RunOutcome.RUNNING and not killed:
        raise FailedError(
            f"the replay {plan_id} is running, or was killed: end it, or say --killed; nothing was deleted"
        )
    _tell(plan_id, do(removal.delete(settings, plan_id, by or operator())), deleted=True, as_json=as_json)


async def _look(settings: Settings, plan_id: str) -> tuple[Entry | None, list[str]]:
    names = await removal.topics_of(settings, plan_id)
    entry = await audit.find(settings, plan_id) if names else await audit.require(settings, plan_id)
    return entry, names


def _tell(plan_id: str, names: Sequence[str], *, deleted: bool, as_json: bool) -> None:
    if as_json:
        show_json({"id": plan_id, "topics": names, "deleted": deleted}, indent=True)
        return
    for name in names:
        say(f"{'deleted' if deleted else 'would delete'} {name}")
    if not names:
        say("its topics are gone already")
    if not deleted:
        say(f"nothing is deleted without --confirm {plan_id}")
