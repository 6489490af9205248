"""``liveshop replay promote`` and ``undo``: what a replay has counted takes the place of what was counted live, and back."""

from typing import Annotated, Any, Final, TypeAlias

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import NEEDED, do, operator
from stream.cli.output import print_table, say, show_json
from stream.config import Settings
from stream.core.promotions import REFUSED
from stream.errors import UsageError
from stream.model.names import SESSION_WINDOWS
from stream.replay import audit, promote
from stream.replay.audit import Entry, Promotion, RunOutcome
from stream.replay.promotable import Standing
from stream.replay.promote import Asked, Report

SOME_FAILED: Final = 3
_NAMED: Final = 20
"""Sessions that are listed; more are only counted."""
_STANDINGS: Final = {
    Standing.EQUAL: "equal, nothing to promote",
    Standing.PARTIAL: "cut by an end of the range, never promoted",
    Standing.OPEN: "not ended, not promoted",
    Standing.EXPIRED: "live results have expired, not promoted",
}
Id: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="of the replay, as in the list")]
Confirm: TypeAlias = Annotated[
    str, typer.Option(metavar="TOPIC", help=f"the topic whose results are replaced, typed out: {SESSION_WINDOWS}")
]
Sessions: TypeAlias = Annotated[
    list[str] | None, typer.Option("--session", metavar="ID", help="only this session; may be given several times")
]
Reason: TypeAlias = Annotated[str, typer.Option(help="why, for the record")]
By: TypeAlias = Annotated[str, typer.Option(help="who does it; default user@host")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="only say what would be done")]
Wait: TypeAlias = Annotated[
    float,
    typer.Option(min=0, metavar="SECONDS", help="how long to wait for what becomes of the sessions of a partition"),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]


@takes_settings(NEEDED, required=("brokers",))
def command(
    settings: Settings,
    replay: Id,
    *,
    reason: Reason,
    confirm: Confirm = "",
    session: Sessions = None,
    by: By = "",
    dry_run: DryRun = False,
    wait: Wait = 30.0,
    as_json: Json = False,
) -> None:
    """Put what a replay has counted in the place of what was counted live, session by session.

    Only sessions that have ended and lie wholly in the range of the replay. The workers do it, each session at once, when
    its windows are final; a session that has changed since the replay is refused. `liveshop replay undo` takes it back.
    Exit code 3: some were refused.
    """
    _confirmed(settings, confirm, dry_run=dry_run)
    entry = _done(settings, replay)
    asked = Asked(entry.plan, by or operator(), reason, frozenset(session or ()), dry_run, wait)
    report = do(promote.promote(settings, asked))
    _finish(settings, asked, report, undone=False, as_json=as_json)


@takes_settings(NEEDED, required=("brokers",))
def undo(
    settings: Settings,
    replay: Id,
    *,
    reason: Reason,
    confirm: Confirm = "",
    session: Sessions = None,
    by: By = "",
    dry_run: DryRun = False,
    wait: Wait = 30.0,
    as_json: Json = False,
) -> None:
    """Put back what was there before a replay was promoted.

    Only for sessions that have not changed since, and for 14 days: so long what was there before is kept. Exit code 3: some
    were refused.
    """
    _confirmed(settings, confirm, dry_run=dry_run)
    entry = do(audit.require(settings, replay))
    asked = Asked(entry.plan, by or operator(), reason, frozenset(session or ()), dry_run, wait)
    report = do(promote.undo(settings, asked))
    _finish(settings, asked, report, undone=True, as_json=as_json)


def _confirmed(settings: Settings, confirm: str, *, dry_run: bool) -> None:
    wanted = settings.topic(SESSION_WINDOWS)
    if not dry_run and confirm != wanted:
        raise UsageError(f"this replaces results in {wanted}: say --confirm {wanted}, or --dry-run")


def _done(settings: Settings, replay: str) -> Entry:
    entry = do(audit.require(settings, replay))
    if entry.outcome is not RunOutcome.DONE:
        raise UsageError(f"the replay {replay} is {entry.outcome}: only one that is done can be promoted")
    return entry


def _finish(settings: Settings, asked: Asked, report: Report, *, undone: bool, as_json: bool) -> None:
    if not asked.dry_run and report.of(Standing.PROMOTED):
        do(audit.change(settings, asked.plan.id, lambda entry: _noted(entry, asked, report, undone=undone)))
    if as_json:
        show_json(_figures(report, asked), indent=True)
    else:
        _show(report, asked, undone=undone)
    if report.outcomes[REFUSED]:
        raise typer.Exit(SOME_FAILED)


def _noted(entry: Entry | None, asked: Asked, report: Report, *, undone: bool) -> Entry:
    assert entry is not None  # noqa: S101 - its plan was read from there
    outcome = ", ".join(f"{number} {name}" for name, number in sorted(_numbers(report).items()))
    made = Promotion(
        at_ms=audit.now_ms(),
        by=asked.by,
        why=asked.reason,
        sessions=report.of(Standing.PROMOTED),
        undo=undone,
        outcome=outcome,
    )
    return audit.changed(entry, promotions=[*entry.promotions, made])


def _numbers(report: Report) -> dict[str, int]:
    numbers = dict(report.outcomes)
    return {**numbers, "waiting": len(report.waiting)} if report.waiting else numbers


def _figures(report: Report, asked: Asked) -> dict[str, Any]:
    return {
        "id": asked.plan.id,
        "dry_run": asked.dry_run,
        "sessions": {name: str(found) for name, found in report.standings.items()},
        "windows": report.windows,
        "outcomes": {
            name: {"outcome": each.outcome, "detail": each.detail} for name, each in sorted(report.verdicts.items())
        },
        "waiting": sorted(report.waiting),
    }


def _show(report: Report, asked: Asked, *, undone: bool) -> None:
    number, verb = len(report.of(Standing.PROMOTED)), "undone" if undone else "promoted"
    would = "would be " if asked.dry_run else "to be "
    say(f"replay {asked.plan.id}: {number} sessions {would}{verb}, with {report.windows} windows")
    for standing, what in _STANDINGS.items():
        if found := report.of(standing):
            say(f"{len(found)} {what}")
    for name, count in sorted(_numbers(report).items()):
        say(f"{count} {name}")
    refused = [(name, each.detail) for name, each in sorted(report.verdicts.items()) if each.outcome == REFUSED]
    if refused:
        print_table(("session", "refused since"), refused[:_NAMED])
    if report.waiting:
        say("those that wait are replaced when their windows are final: the workers have to count on for that")
