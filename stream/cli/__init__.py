"""The command line. One module a command, imported when it is asked for, so that ``liveshop version`` is quick.

A module has ``command``, a function, or ``app``, a typer app of several. Errors that people can do something about
end here as one message and an exit code; everything else is a bug and shows its traceback.
"""

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final

import typer
from typer.core import TyperGroup

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
    "rules",
    "alerts",
    "backtest",
    "simulate",
    "top",
    "version",
)
"""In the order of the help text."""

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


class _Commands(TyperGroup):
    """Imports a command's module when it is asked for."""

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
    return command


app: Final = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _liveshop() -> None:
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
