"""``liveshop version``."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Annotated, Final

import orjson
import typer

from stream import __version__
from stream.core import judge

SHOWN: Final = ("aiokafka", "msgspec", "prometheus-client", "datasketches")


def command(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Show the version of liveshop, of Python and of what matters beneath, and whether the core is compiled."""
    found = {"liveshop": __version__, "python": platform.python_version(), "core": core()}
    found |= {name: _version(name) for name in SHOWN}
    if as_json:
        typer.echo(orjson.dumps(found).decode())
    else:
        typer.echo(f"liveshop {__version__} (" + ", ".join(f"{k} {v}" for k, v in list(found.items())[1:]) + ")")


def core() -> str:
    """The same source either way; `make compiled` makes the quicker one."""
    return "interpreted" if judge.__file__.endswith(".py") else "compiled"


def _version(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "missing"
