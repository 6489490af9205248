"""``liveshop rules``: says what is wrong with a file of alert rules, and shows the rules that come with liveshop."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from stream.cli import USAGE
from stream.cli.flags import takes_settings
from stream.cli.output import print_table, say, show_json
from stream.config import Settings
from stream.durations import duration_text
from stream.model.alerts import Rule
from stream.rules.reading import NONE, Problem, RulesError, load_rules, shipped_text

NEEDED: Final = ("rules", "windows")

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]

app: Final = typer.Typer(help="Check alert rules, or show those that come with liveshop.", no_args_is_help=True)


@app.command()
@takes_settings(NEEDED)
def check(
    settings: Settings,
    file: Annotated[Path | None, typer.Argument(help="the file; default: the file of the setting rules")] = None,
    as_json: Json = False,
) -> None:
    """Check a file of alert rules. Prints every mistake as FILE:LINE: rule NAME: what is wrong. Exit code 2 if any.

    Windows and baselines must be whole slides of the worker's windows: give it the same --windows.
    """
    source = settings.rules if file is None else str(file)
    rules, problems = _read(source, settings.policy().pane_ms)
    if as_json:
        _print_json(source, rules, problems)
    elif problems:
        say("\n".join(problem.located(source) for problem in problems))
    else:
        _print_rules(source, rules)
    if problems:
        raise typer.Exit(USAGE)


@app.command()
def show() -> None:
    """Print the rules that come with liveshop. To start your own file: liveshop rules show > rules.yaml"""
    say(shipped_text().removesuffix("\n"))


def _read(source: str, pane_ms: int) -> tuple[list[Rule], Sequence[Problem]]:
    try:
        return [each.rule for each in load_rules(source, pane_ms)], ()
    except RulesError as error:
        return [], error.problems


def _print_json(source: str, rules: Sequence[Rule], problems: Sequence[Problem]) -> None:
    value = {
        "file": source,
        "rules": [_value(rule) for rule in rules],
        "problems": [{"line": each.line, "rule": each.rule, "message": each.text} for each in problems],
    }
    show_json(value, indent=True)


def _value(rule: Rule) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(rule).items()}


def _print_rules(source: str, rules: Sequence[Rule]) -> None:
    if source == NONE:
        say("no rules: alerts are turned off")
        return
    rows = [
        (rule.alert, rule.severity, *map(_text, (rule.window_ms, rule.baseline_ms, rule.for_ms)), rule.when)
        for rule in rules
    ]
    print_table(("alert", "severity", "window", "baseline", "for", "when"), rows)


def _text(ms: int) -> str:
    return duration_text(timedelta(milliseconds=ms)) if ms else ""
