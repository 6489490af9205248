"""One flag for each setting, made from the one table in config.py, and ``--config``."""

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, Literal, ParamSpec, TypeAlias, get_args, get_origin

import structlog
import typer
from pydantic import SecretStr

from stream.cli import FAILED, USAGE
from stream.config import SETTINGS, Setting, Settings, load
from stream.errors import FailedError, UsageError
from stream.observe import logs
from stream.sources import ENV_PREFIX

P = ParamSpec("P")
log: Final = structlog.get_logger("liveshop")
EVERY: Final = frozenset(setting.name for setting in SETTINGS)
PANEL: Final = "Settings"

METAVARS: Final[Mapping[str, str]] = {
    "brokers": "HOST:PORT",
    "group": "NAME",
    "http_host": "ADDRESS",
    "http_port": "PORT",
    "windows": "SIZES",
    "currency": "CODE",
    "rules": "FILE",
    "max_value": "BYTES",
    "max_batch": "BYTES",
    "buffer_memory": "BYTES",
    "bad_share": "SHARE",
    "warn_share": "SHARE",
}
"""What stands for the value in the help text, where its type does not say it."""
_TYPES: Final[Mapping[Any, str]] = {
    timedelta: "TIME",
    int: "N",
    float: "NUMBER",
    bool: "YES|NO",
    Path: "FILE",
    SecretStr: "SECRET",
}

ConfigFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file of settings", show_default=False, rich_help_panel=PANEL),
]


def takes_settings(
    names: Collection[str] = EVERY, *, required: Collection[str] = (), service: bool = False
) -> Callable[[Callable[Concatenate[Settings, P], None]], Callable[..., None]]:
    """Makes a typer command of a function whose first argument is the Settings.

    The command has the function's other parameters, ``--config`` and a flag for each setting in ``names``; what is
    wrong raises ConfigError before the function is called. Logs go to stderr, since stdout may be JSON for a program.

    ``service``: its last error is a line of its log, so JSON wherever that is. Of other commands only where JSON is asked
    for.
    """
    table = [setting for setting in SETTINGS if setting.name in names and not setting.secret]

    def decorate(function: Callable[Concatenate[Settings, P], None]) -> Callable[..., None]:
        def command(config: Path | None = None, **given: Any) -> None:
            flags = {setting.name: given.pop(setting.name, None) for setting in table}
            early = flags.get("log_format") or os.environ.get(f"{ENV_PREFIX}LOG_FORMAT") or "auto"
            with _last_error(early, service=service):
                settings = load(flags, config, os.environ, required=required)
            with _last_error(settings.log_format, service=service):
                function(settings, **given)  # type: ignore[call-arg] # P, by name

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        _sign(command, [*own, _parameter("config", ConfigFile), *map(_flag, table)])
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        return command

    return decorate


@contextmanager
def _last_error(log_format: str, *, service: bool) -> Iterator[None]:
    """Logs warnings, unless told otherwise within, and what ends the command where errors are to be JSON."""
    form: logs.Format = "json" if log_format == "json" else "console" if log_format == "console" else "auto"
    logs.configure("warning", form)
    try:
        yield
    except (UsageError, FailedError) as error:
        if not (logs.is_json(form) if service else form == "json"):
            raise
        log.error(str(error))  # noqa: TRY400 - it is for people, and no bug
        raise typer.Exit(USAGE if isinstance(error, UsageError) else FAILED) from None


def environment(settings: Settings) -> dict[str, str]:
    """Our environment, with every setting in it as it is now: for a child that is to have the same ones.

    Not as flags, since anybody on the machine can read those, and a secret may be among them.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return others | {setting.env: _plain(settings, setting.name) for setting in SETTINGS}


def _plain(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else settings.shown()[name]


def _sign(command: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _flag(setting: Setting) -> inspect.Parameter:
    words = f"{', '.join(choices(setting.name))}; " if choices(setting.name) else ""
    default = f"; default {setting.default}" if setting.default else ""
    text = f"{setting.help} ({words}{setting.env}{default})"
    option = typer.Option(
        setting.flag, metavar=metavar(setting.name), help=text, show_default=False, rich_help_panel=PANEL
    )
    return _parameter(setting.name, Annotated[str | None, option])


def metavar(name: str) -> str:
    """What stands for a setting's value in the help text. Short: the flags' whole column is as wide as the widest."""
    annotation = Settings.model_fields[name].annotation
    types = [_TYPES[each] for each in (annotation, *get_args(annotation)) if each in _TYPES]
    return METAVARS.get(name) or next(iter(types), "CHOICE" if choices(name) else "TEXT")


def choices(name: str) -> tuple[str, ...]:
    """What a setting may be, when that is a short list."""
    annotation = Settings.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()
