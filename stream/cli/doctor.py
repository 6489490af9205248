"""``liveshop doctor``: looks at everything the worker stands on, and says what is wrong and what to do."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from typing import Annotated, Any, Final

import typer

from stream import __version__
from stream.cli.flags import takes_settings
from stream.cli.output import draw_line, say, show_json, spinning, text
from stream.config import Settings
from stream.core.policy import fingerprint
from stream.doctor.checks import run_checks
from stream.doctor.finding import Finding, Severity, worst
from stream.observe import logs

COLORS: Final = {Severity.OK: "green", Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}


@takes_settings(required=("brokers",))
def command(
    settings: Settings,
    sample: Annotated[
        int,
        typer.Option(
            min=1,
            max=100_000,
            help="newest records of each input partition to check: their keys, and whether a worker would count them",
        ),
    ] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check brokers, topics, group, states and records. Says what is wrong and what to do.

    Give the settings of the worker. Reads only: it writes, creates and commits nothing. Exit code 1: there is an error.
    Warnings do not fail.
    """
    _quieten(settings)
    with _progress() as say:
        findings = asyncio.run(run_checks(settings, sample, say))
    if as_json:
        show_json(_report(settings, findings), indent=True)
    else:
        _print(findings)
    raise typer.Exit(int(worst(findings) is Severity.ERROR))


def _quieten(settings: Settings) -> None:
    """What goes wrong is a finding; only at debug the libraries may tell of it as well."""
    if settings.log_level == "debug":
        logs.configure("debug", settings.log_format)
    else:
        logs.configure("error", settings.log_format)
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with spinning("looking") as show:
        yield lambda what: show(f"looking at {what}")


def _report(settings: Settings, findings: Sequence[Finding]) -> dict[str, Any]:
    """As schemas/doctor/v1.schema.json says."""
    return {
        "liveshop": __version__,
        "configuration": fingerprint(settings.policy().deciding()),
        "worst": worst(findings),
        "findings": [asdict(finding) for finding in findings],
    }


def _print(findings: Sequence[Finding]) -> None:
    """A line each, never cut or folded, so that a command can be copied; what is to be done for several, once."""
    for (_, todo), group in groupby(findings, key=lambda finding: (finding.check, finding.todo)):
        for finding in group:
            severity = text(f"{finding.severity:8}", COLORS[finding.severity])
            draw_line(severity, text(f" {finding.check:14} {finding.subject}: {finding.what}"))
        if todo:
            draw_line(text(f"{'':23} "), text("->", "bold"), text(f" {todo}"))
    number = {severity: sum(each.severity is severity for each in findings) for severity in COLORS}
    say(f"errors: {number[Severity.ERROR]}, warnings: {number[Severity.WARNING]}")
