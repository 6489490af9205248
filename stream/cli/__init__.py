"""The command line. One module a command, imported when it is asked for, so that ``liveshop version`` is quick.

A module has ``command``, a function, or ``app``, a typer app of several. Errors that people can do something about
end here as one message and an exit code; everything else is a bug and shows its traceback.
"""

import sys
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from stream import __version__
from stream.cli.timestamps import use_zone
from stream.errors import FailedError, UsageError
from stream.plaintext import plain_lines

COMMANDS: Final = (
    "run",
    "worker",
    "topics",
    "doctor",
    "capacity",
    "state",
    "offsets",
    "dlq",
    "replay",
    "rules",
    "alerts",
    "backtest",
    "record",
    "simulate",
    "top",
    "version",
)
"""In the order of the help text."""

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


TIMED: Final = frozenset({"run", "state", "offsets", "dlq", "replay", "alerts", "backtest", "record", "top"})
"""They print times."""


class _Commands(TyperGroup):
    """Imports a command's module when it is asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Raises UsageError for one that there is not."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = get_close_matches(name.lower(), COMMANDS, 1)
        meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(COMMANDS)}"
        raise UsageError(f"no command {name!r}; {meant}")

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        return _load(cmd_name) if cmd_name in COMMANDS else None


def _load(name: str) -> Any:
    module = import_module(f"stream.cli.{name}")
    made = getattr(module, "app", None)
    if made is None:
        made = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        made.command(name)(module.command)
    command = typer.main.get_command(made)
    command.name = name
    if name in TIMED:
        _take_zone(command)
    return command


def _take_zone(command: Any) -> None:
    """A command, or each of a group, takes ``--timezone``."""
    made = typer.Typer(add_completion=False)
    made.command()(_zoned)
    [option] = typer.main.get_command(made).params
    for each in getattr(command, "commands", {"": command}).values():
        each.params.append(option)


def _zoned(
    _zone: Annotated[
        str | None,
        typer.Option(
            "--timezone",
            metavar="ZONE",
            help="of the times that are printed, such as Asia/Jakarta or UTC; default the machine's",
            show_default=False,
            expose_value=False,
            callback=use_zone,
        ),
    ] = None,
) -> None:
    """Only there for its option."""


app: Final = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"liveshop {__version__}")
        raise typer.Exit


@app.callback()
def _liveshop(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and end", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Live shopping, counted while the host is on air: exact session windows from Kafka to metrics.

    First look: liveshop run
    """


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):  # what their encoding does not have is shown as an escape, and ends nothing
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name="liveshop")
    except UsageError as error:
        _leave(str(error), USAGE)
    except FailedError as error:
        _leave(str(error), FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _leave(message: str, code: int) -> None:
    typer.echo(plain_lines(f"liveshop: {message}"), err=True)
    sys.exit(code)
