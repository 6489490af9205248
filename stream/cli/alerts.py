"""``liveshop alerts``: what fires now, and what did."""

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import ask
from stream.cli.output import print_table, say, show_written
from stream.cli.timestamps import in_zone
from stream.config import CONNECTION, Settings
from stream.kafka.statereader import SkippedRecords
from stream.model.alerts import Alert
from stream.operate import alerts

_NEEDED: Final = (*CONNECTION, "group", "topic_prefix")
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]

app: Final = typer.Typer(help="Show which session alerts fire now, and which fired before.", no_args_is_help=True)


@app.command("list")
@takes_settings(_NEEDED, required=("brokers",))
def list_firing(settings: Settings, as_json: Json = False) -> None:
    """Show the alerts that fire now, by the newest record of each alert and session. Reads only."""
    found, others = ask(alerts.firing(settings))
    _warn(others)
    if as_json:
        _print_json(found)
    elif not found:
        say("nothing fires")
    else:
        rows = [(in_zone(each.at), each.alert, each.severity, *_whose(each)) for each in found]
        print_table(("fired", "alert", "severity", *WHOSE), rows)


@app.command()
@takes_settings(_NEEDED, required=("brokers",))
def history(
    settings: Settings,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="a session's id")],
    as_json: Json = False,
) -> None:
    """Show when a session's alerts fired and were resolved. Reads only.

    live.alerts is compacted: after about a day it holds only the newest record of each alert and session, for 30 days. For
    older alerts, evaluate the rules over the recorded topics with `liveshop backtest`.
    """
    found, others = ask(alerts.history(settings, session))
    _warn(others)
    if as_json:
        _print_json(found)
    elif not found:
        say(f"live.alerts holds nothing of session {session}")
    else:
        rows = [(in_zone(each.at), each.status, each.alert, each.severity, *_whose(each)) for each in found]
        print_table(("at", "", "alert", "severity", *WHOSE), rows)


WHOSE: Final = ("session", "seller", "holds since", "what", "")


def _whose(alert: Alert) -> Sequence[object]:
    return (
        *(alert.session_id, alert.seller_id, in_zone(alert.since), alert.summary),
        "idle" if alert.idle else "",
    )


def _warn(others: Sequence[SkippedRecords]) -> None:
    """On stderr: what was found is all there is of ours."""
    for each in others:
        where = f"{each.partition.topic}, partition {each.partition.partition}"
        what = f"records that are no alerts of liveshop were left out: {each.number}, the first at offset {each.first}"
        say(f"{where}: {what}; somebody else writes there", err=True)


def _print_json(found: Sequence[Alert]) -> None:
    show_written([each.value() for each in found])
