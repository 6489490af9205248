"""Where values of settings come from, as text and unchecked: flags, environment and file, in that order.

Knows how a setting is called in each, and that a name nobody knows is a problem; knows nothing of the settings' types.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeAlias

ENV_PREFIX: Final = "LIVESHOP_"
LARGEST: Final = 100_000
"""Bytes of a settings file."""
LONGEST_LINE: Final = 2_000
"""Characters of a line of it."""
NAMED: Final = 100
"""Characters of an unknown name that are quoted, and compared with those that are known."""
OF_THE_BUILD: Final = frozenset({"LIVESHOP_NATIVE"})
"""Variables that setup.py reads: no settings, and no reason not to start where they are set."""
NEAR: Final = 0.65
"""How alike two names must be, so that one is suggested for the other."""

_KUBERNETES: Final = re.compile(
    r".{0,100}(_SERVICE_(HOST|PORT(_\w{1,63})?)|_PORT_\d{1,5}_(TCP|UDP|SCTP)(_\w{1,63})?)", re.ASCII
)
"""What Kubernetes adds to every pod for a Service named ``liveshop…``: not ours, though it looks like it."""
_LINK: Final = re.compile(r"(tcp|udp|sctp)://")

Given: TypeAlias = dict[str, tuple[object, str]]
"""Setting name to its raw value and to the place it came from, as people call it."""


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return ENV_PREFIX + name.upper()


def gather(
    names: Collection[str],
    flags: Mapping[str, str | None],
    file: Path | None,
    environ: Mapping[str, str],
    problems: list[str],
    *,
    secret: Collection[str] = (),
) -> Given:
    """The value of the strongest source for each setting that has one. Adds to ``problems`` what cannot be used.

    There is no flag for a ``secret`` one.
    """
    return {
        **_from_file(names, file, problems),
        **_from_environment(names, environ, problems),
        **_from_flags([name for name in names if name not in secret], flags, problems),
    }


def _from_flags(names: Collection[str], flags: Mapping[str, str | None], problems: list[str]) -> Given:
    values = {name: value for name, value in flags.items() if value is not None}
    known = {name: flag(name) for name in names}
    problems += [f"unknown flag {flag(name)}{_near(name, known)}" for name in values if name not in known]
    return {name: (value, known[name]) for name, value in values.items() if name in known}


def _from_environment(names: Collection[str], environ: Mapping[str, str], problems: list[str]) -> Given:
    values = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in sorted(environ.items())
        if name.startswith(ENV_PREFIX) and not _foreign(name, value)
    }
    known = {name: variable(name) for name in names}
    problems += [
        f"unknown environment variable {variable(name)}{_near(name, known)}" for name in values if name not in known
    ]
    return {name: (value, known[name]) for name, value in values.items() if name in known and value}


def _foreign(name: str, value: str) -> bool:
    return bool(name in OF_THE_BUILD or _KUBERNETES.fullmatch(name) or _LINK.match(value))


def _from_file(names: Collection[str], file: Path | None, problems: list[str]) -> Given:
    values = _read(file, problems) if file is not None else {}
    known = {name: name for name in names}
    problems += [f"{file}: unknown key {name[:NAMED]}{_near(name, known)}" for name in values if name not in known]
    return {name: (value, f"{file}: {name}") for name, value in values.items() if name in known}


def _read(file: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return _parsed(read_text(file, LARGEST))
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
    except TooLargeError as error:
        problems.append(f"{file}: {error}")
    except UnicodeDecodeError:
        problems.append(f"{file}: is not UTF-8")
    except ValueError as error:
        problems.append(f"{file}: is not TOML: {error}")
    except RecursionError:
        problems.append(f"{file}: is not TOML that anybody writes: it is nested too deep")
    return {}


def _parsed(text: str) -> dict[str, Any]:
    """A long line is refused first: for a key of many dots the parser takes the cube of its length."""
    long = next((number for number, line in enumerate(text.split("\n"), 1) if len(line) > LONGEST_LINE), None)
    if long is not None:
        raise ValueError(f"line {long} is longer than {LONGEST_LINE:,} characters; a list may go over several lines")
    return tomllib.loads(text)


class TooLargeError(ValueError):
    """A file is larger than any that is meant."""


def read_text(file: Path, most: int) -> str:
    """What a file holds, in UTF-8, and never more of it in memory than ``most`` bytes.

    Raises OSError, TooLargeError and UnicodeDecodeError, whose texts hold nothing of the content but a byte.
    """
    with file.open("rb") as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise TooLargeError(f"is larger than {most:,} bytes")
    return content.decode()


def _near(name: str, known: Mapping[str, str]) -> str:
    """`` (did you mean …?)`` in the spelling of the source; empty when no known name is near."""
    match = get_close_matches(name[:NAMED].lower().replace("-", "_"), known, 1, cutoff=NEAR)
    return f" (did you mean {known[match[0]]}?)" if match else ""
