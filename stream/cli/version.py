"""``liveshop version``."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Annotated, Final

import typer

from stream import __version__
from stream.cli.output import say, show_json
from stream.core.framing import VERSION, WRITABLE, listed, readable
from stream.core.switch import NATIVE

SHOWN: Final = ("aiokafka", "msgspec", "prometheus-client", "datasketches")


def command(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Show versions of liveshop, Python and libraries, formats of states, and whether the hot path is native."""
    found = {"liveshop": __version__, "python": platform.python_version(), "core": core(), "state": state()}
    found |= {name: _version(name) for name in SHOWN}
    if as_json:
        show_json(found)
    else:
        say(f"liveshop {__version__} (" + ", ".join(f"{k} {v}" for k, v in list(found.items())[1:]) + ")")


def core() -> str:
    return "native" if NATIVE else "interpreted"


def state() -> str:
    """Which formats of live.state: a version that does not read what another writes cannot take its place."""
    return f"writes format {VERSION}, reads {readable()}, keeps {listed(WRITABLE)} as found"


def _version(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "missing"
