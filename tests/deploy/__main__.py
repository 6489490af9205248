"""``python -m tests.deploy``, a part of `make check`: linters over everything in deploy/ that no Python tool looks at.

Exit code 1 and what is wrong, when something is. Where a linter cannot be had it says so; in CI that is an error too.
"""

# ruff: noqa: T201 - a command that prints what it found

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.deploy.tools import MissingError, binaries
from tests.live import PROJECT

DEPLOY: Final = PROJECT / "deploy"
COMPOSE: Final = DEPLOY / "compose"
LINT: Final = DEPLOY / "lint"
SECONDS: Final = 120


class Check(NamedTuple):
    name: str
    command: tuple[str | Path, ...]


def check(name: str, *command: str | Path) -> Check:
    return Check(name, command)


SYSTEM: Final = (
    check("prometheus.yml: promtool", "promtool", "check", "config", "--syntax-only", COMPOSE / "prometheus.yml"),
    check("alertmanager.yml: amtool", "amtool", "check-config", COMPOSE / "alertmanager.yml"),
)
"""By programs of Debian's packages."""


def by_linters(linters: Path) -> Iterator[Check]:
    yield check("Dockerfile: hadolint", linters / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")
    schema = ("--quiet", "--builtin-schema", "vendor.compose-spec")
    yield check("compose.yaml: its schema", linters / "check-jsonschema", *schema, DEPLOY / "compose.yaml")
    yield check("YAML: yamllint", linters / "yamllint", "--strict", "-c", LINT / "yamllint.yaml", DEPLOY)


def passes(each: Check) -> bool:
    done = subprocess.run(each.command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        print(f"{each.name}\n{done.stdout}{done.stderr}", file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    wrong, left_out = 0, []
    try:
        every = [*by_linters(binaries()), *SYSTEM]
    except MissingError as error:
        every, left_out = list(SYSTEM), [str(error)]
    for each in every:
        program = str(each.command[0])
        if shutil.which(program) is None:
            left_out.append(f"{each.name}: {program} is not installed")
        else:
            wrong += not passes(each)
    for reason in left_out:
        print(f"not checked: {reason}", file=sys.stderr)
    return int(bool(wrong or (left_out and os.environ.get("CI"))))


if __name__ == "__main__":
    sys.exit(main())
