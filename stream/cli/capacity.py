"""``liveshop capacity``: partitions, workers, memory, CPU, traffic and disk for a load, before anything is bought."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Final

import typer

from stream.cli.output import print_table, say, show_json
from stream.durations import duration_text, parse_duration
from stream.errors import UsageError
from stream.operate.capacity import BUSY, FIGURES, Load, Needs, needs

EVENTS_A_SESSION: Final = 2.4
"""A second: what each session is taken to have, when nobody says how many there are."""
MILLION: Final = 1_000_000
DAY: Final = timedelta(days=1)


def command(
    *,
    rate: Annotated[float, typer.Option(min=1, metavar="N", help="events a second at peak, all three inputs together")],
    sessions: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="sessions on air at a time  [default: one for 2.4 events a second]"),
    ] = None,
    air_time: Annotated[str, typer.Option(metavar="TIME", help="how long a broadcast lasts")] = "2h",
    busy: Annotated[
        str, typer.Option(metavar="TIME", help="how much of each day is at peak; the rest has no load")
    ] = "24h",
    rejected: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="share of events that become dead letters")
    ] = 0.001,
    session_keep: Annotated[str, typer.Option(metavar="TIME", help="the setting session_keep of the workers")] = "24h",
    replication: Annotated[int, typer.Option(min=1, metavar="N", help="copies of each partition")] = 3,
    show_figures: Annotated[bool, typer.Option("--figures", help="show the measured figures")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Work out what a load needs: partitions, workers, memory, CPU, broker traffic, the size of each topic.

    The figures come from `make bench`. If your machine is slower, multiply the CPU by that factor. Needs no Kafka. See
    docs/operate/capacity.md for the sums.
    """
    load = Load(
        rate=rate,
        sessions=max(1, round(rate / EVENTS_A_SESSION)) if sessions is None else sessions,
        air_seconds=_seconds("--air-time", air_time),
        busy_share=min(1.0, _seconds("--busy", busy) / DAY.total_seconds()),
        rejected=rejected,
        session_keep=_seconds("--session-keep", session_keep),
        replication=replication,
    )
    try:
        found = needs(load)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if as_json:
        show_json(
            {"load": asdict(load), "needs": asdict(found), "figures": [asdict(each) for each in FIGURES]}, indent=True
        )
        return
    _print(load, found)
    if show_figures:
        say()
        print_table(
            ("figure", "", "make bench", "of what"),
            [(f"{f.value:,g}", f.unit, f"PART={f.part}", f.what) for f in FIGURES],
        )


def _seconds(flag: str, text: str) -> float:
    try:
        found = parse_duration(text).total_seconds()
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from error
    if found <= 0:
        raise UsageError(f"{flag}: must be more than 0")
    return found


def _print(load: Load, found: Needs) -> None:
    broadcast = duration_text(timedelta(seconds=load.air_seconds))
    say(f"{load.rate:,.0f} events/s of {load.sessions:,} sessions on air, {broadcast} each, {load.replication} copies")
    say()
    rows = [
        ("partitions", f"{found.partitions:,}", "of each topic: more later take a new set of topics"),
        ("workers", f"{found.workers:,}", f"processes, each to use {BUSY:.0%} of a core at the height"),
        ("cores", f"{found.cores:.2f}", "of CPU at the height, all workers together"),
        ("memory", f"{found.memory:,.0f} MB", "of each worker"),
        ("restart", f"{found.restart_bytes / MILLION:,.0f} MB", "of state read when all workers start anew"),
        ("into brokers", f"{found.broker_in / MILLION:,.1f} MB/s", "copies among them included"),
        ("out of brokers", f"{found.broker_out / MILLION:,.1f} MB/s", "to workers"),
        ("disk", _size(found.disk), "all copies of all topics, when retention is reached"),
    ]
    print_table(("", "", ""), rows)
    say()
    topics = [
        (each.name, f"{each.written / MILLION:,.2f}", _kept(each.retention_days), _size(each.stored))
        for each in found.topics
    ]
    print_table(("topic", "MB/s", "kept", "one copy"), topics)


def _kept(days: float | None) -> str:
    return "newest by key" if days is None else f"{days:g} days"


def _size(size: float) -> str:
    for unit, least in (("TB", 1e12), ("GB", 1e9)):
        if size >= least:
            return f"{size / least:,.1f} {unit}"
    return f"{size / MILLION:,.0f} MB"
