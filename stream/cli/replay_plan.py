"""``liveshop replay plan``: what a replay will read, and what it cannot; frozen in a file."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import ask
from stream.cli.output import print_table, say, show_json
from stream.cli.progress import reading
from stream.cli.timestamps import in_zone, parse_event_time
from stream.config import CONNECTION, DECIDING, Settings
from stream.core.policy import DAY
from stream.doctor.finding import listed
from stream.errors import UsageError
from stream.model.names import INPUTS, Kind
from stream.replay import plan as plans
from stream.replay import planning
from stream.replay.planning import Asked, Planned
from stream.replay.resolving import Stretch

SETTINGS: Final = tuple(name for name in (*CONNECTION, "group", "topic_prefix", *DECIDING) if name != "windows")
"""Those of the workers. Their windows and rules come from the environment or ``--config``: the flags are the replay's."""
RATE: Final = 300_000
"""Records a second that one process counts, at least: a duration is reckoned by it."""
_NAMED: Final = 5
"""Sessions that are named; more are only counted."""


@takes_settings(SETTINGS, required=("brokers",))
def command(
    settings: Settings,
    *,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="event times from here on: 2026-03-01T19:30+07:00, or -2h")
    ],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="event times before this one")],
    session: Annotated[
        list[str] | None, typer.Option("--session", metavar="ID", help="write only of these sessions")
    ] = None,
    seller: Annotated[
        list[str] | None, typer.Option("--seller", metavar="ID", help="write only of these sellers' sessions")
    ] = None,
    windows: Annotated[
        str | None, typer.Option("--windows", metavar="SIZES", help="count these instead of the workers' windows")
    ] = None,
    rules: Annotated[
        str | None, typer.Option("--rules", metavar="FILE", help="decide alerts by these instead of the workers' rules")
    ] = None,
    count_late: Annotated[
        bool, typer.Option("--count-late", help="count what came too late, up to a day after the end")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--id", metavar="NAME", help="of the replay, and in its topics' names")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="the plan's file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Plan a replay of the event times from --from up to --to: what is read, how much, and what retention has deleted.

    Bounds become offsets once, and are frozen in the file with the settings, the rules and the cluster. Only windows that
    lie wholly inside are written. It reads live.sessions, and asks for offsets; it writes nothing to Kafka. Give the
    settings of the workers: their windows and rules as LIVESHOP_WINDOWS and LIVESHOP_RULES or with --config, since the
    flags are for other ones.
    """
    now = int(time.time() * 1000)
    asked = Asked(
        from_ms=parse_event_time(begin, now, "--from"),
        to_ms=parse_event_time(end, now, "--to"),
        now_ms=now,
        id=name,
        windows=windows,
        rules=rules,
        sessions=_ids("--session", session),
        sellers=_ids("--seller", seller),
        count_late=count_late,
    )
    with reading("records of live.sessions") as tell:
        planned = ask(planning.make(settings, asked, tell))
    if out is not None:
        _write(out, planned)
    if as_json:
        show_json(_figures(planned), indent=True)
    else:
        _show(planned, out)


def _ids(flag: str, given: Iterable[str] | None) -> tuple[str, ...]:
    """Raises UsageError for bytes of the command line that are no UTF-8."""
    ids = tuple(given or ())
    for each in ids:
        try:
            each.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{flag}: {each!r} is no UTF-8") from None
    return ids


def _write(out: Path, planned: Planned) -> None:
    try:
        out.write_bytes(plans.written(planned.plan))
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from None


# -- what is told


def _seconds(planned: Planned) -> int:
    """About how long it takes."""
    return -(-planned.plan.records // (RATE * _processes(planned)))


def _processes(planned: Planned) -> int:
    return max(1, min(len(planned.plan.parts), os.cpu_count() or 1))


def _figures(planned: Planned) -> dict[str, Any]:
    sessions = planned.sessions
    return {
        "plan": msgspec.to_builtins(planned.plan),
        "records": planned.plan.records,
        "bytes": _bytes(planned.stretches),
        "seconds": _seconds(planned),
        "stretches": [asdict(each) | {"records": each.records} for each in planned.stretches],
        "sessions": None if sessions is None else len(sessions),
        "cut_at_the_beginning": len(_cut_begin(planned)),
        "cut_at_the_end": len(_cut_end(planned)),
        "notes": notes(planned),
    }


def _bytes(stretches: Sequence[Stretch]) -> int | None:
    known = [each.bytes for each in stretches if each.bytes is not None]
    return sum(known) if len(known) == len(stretches) else None


def _show(planned: Planned, out: Path | None) -> None:
    plan = planned.plan
    say(f"replay {plan.id}: windows from {in_zone(plan.from_ms)} to {in_zone(plan.to_ms)}")
    say()
    print_table(
        (
            *("partition", "input", "begin", "to about", "frozen end"),
            *("records", "bytes", "deleted", "oldest", "kept until"),
        ),
        [
            (
                *(each.partition, each.input, each.begin, each.expected, each.end, f"{each.records:,}"),
                None if each.bytes is None else f"{each.bytes:,}",
                f"up to {each.lost:,}" if each.lost else None,
                *(in_zone(each.oldest), in_zone(each.expires)),
            )
            for each in planned.stretches
        ],
    )
    say()
    size = _bytes(planned.stretches)
    kept = "" if size is None else f", {size:,} bytes as the brokers keep them"
    say(f"about {plan.records:,} records{kept}")
    processes = _processes(planned)
    of = "one process" if processes == 1 else f"each of {processes} processes"
    say(f"about {_seconds(planned)} s, at {RATE:,} records/s in {of}; starting takes some seconds more")
    for note in notes(planned):
        say(f"note: {note}")
    say(f"written to {out}" if out else "nothing was kept: -o FILE writes the plan")


def notes(planned: Planned) -> list[str]:
    """What will be incomplete, or may surprise."""
    return [*_on_sessions(planned), *_on_retention(planned), *_on_transactions(planned), *_on_settings(planned)]


def _cut_begin(planned: Planned) -> list[str]:
    return [each.session for each in planned.sessions or () if each.first_event < planned.plan.from_ms]


def _cut_end(planned: Planned) -> list[str]:
    return [each.session for each in planned.sessions or () if each.last_event >= planned.plan.to_ms]


def _on_sessions(planned: Planned) -> list[str]:
    plan, sessions = planned.plan, planned.sessions
    if sessions is None:
        return ["there is no live.sessions: sessions that began before --from are not read from their beginning"]
    found = []
    if unknown := sorted({*plan.sessions} - {each.session for each in sessions}):
        found.append(f"live.sessions knows nothing in this range of {_named(unknown)}")
    if cut := _cut_begin(planned):
        found.append(f"began before --from, so they are partial: {_named(cut)}")
    if cut := _cut_end(planned):
        found.append(f"went on after --to, so they are partial: {_named(cut)}")
    if planned.beyond:
        names = _named([each.session for each in planned.beyond])
        found.append(f"began longer than --session-keep before --from, so their beginning is not read: {names}")
    return found


def _named(sessions: Sequence[str]) -> str:
    shown = ", ".join(sessions[:_NAMED])
    number = "one session" if len(sessions) == 1 else f"{len(sessions)} sessions"
    return f"{number} ({shown}{', …' if len(sessions) > _NAMED else ''})"


def _on_retention(planned: Planned) -> list[str]:
    """A line for each input and what of it is missing, not for each of hundreds of partitions."""
    cut: dict[tuple[str, str], list[Stretch]] = {}
    for each in planned.stretches:
        if each.lost:
            cut.setdefault((each.input, _missing(planned, each)), []).append(each)
    found = [
        f"{_where(name, some)}: retention has deleted what lay before; {what}" for (name, what), some in cut.items()
    ]
    for name in INPUTS:
        some = [each for each in planned.stretches if each.input == name and _ends_soon(planned, each)]
        if some:
            first = in_zone(min(each.expires or 0 for each in some))
            found.append(f"{_where(name, some)}: retention may delete the first records from {first} on; run it before")
    return found


def _on_transactions(planned: Planned) -> list[str]:
    """Only where the range reaches the frozen end: producers that write now have transactions open."""
    found = []
    for name in INPUTS:
        some = [each for each in planned.stretches if each.input == name and _is_undecided(each)]
        if some:
            found.append(f"{_where(name, some)}: ends in an open transaction; what is in it or behind it is not read")
    return found


def _is_undecided(stretch: Stretch) -> bool:
    return stretch.undecided > 0 and stretch.expected == stretch.end


def _where(name: str, stretches: Sequence[Stretch]) -> str:
    numbers = listed(each.partition for each in stretches)
    return f"{name}, partition{'s' if len(stretches) > 1 else ''} {numbers}"


def _ends_soon(planned: Planned, stretch: Stretch) -> bool:
    return bool(stretch.records) and stretch.expires is not None and stretch.expires < planned.plan.planned_ms + DAY


def _missing(planned: Planned, stretch: Stretch) -> str:
    if stretch.oldest is None:
        return "nothing of the range is left"
    if stretch.oldest > planned.plan.from_ms:
        return "the first windows of the range are incomplete: the table has the oldest record that is left"
    if stretch.input == Kind.CHECKOUTS:
        return "the range is whole, but orders that were sent before it and again in it may count twice"
    return "the range is whole, but sessions that began before it may lack their beginning"


def _on_settings(planned: Planned) -> list[str]:
    plan, found = planned.plan, []
    if planned.changed:
        found.append(f"the workers count under other settings: {'; '.join(planned.changed)}")
    policy = plan.policy
    if plan.to_ms + policy["delay_ms"] + policy["lateness_ms"] > plan.planned_ms:
        found.append("late events may still come for its last windows: what comes from now on is not in it")
    if plan.count_late:
        found.append("--count-late holds the panes of the whole range and of a day in memory at a time")
    return found
