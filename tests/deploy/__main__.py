"""``python -m tests.deploy``, a part of `make check`: linters over everything in deploy/ that no Python tool looks at.

Exit code 1 and what is wrong, when something is. Where a linter cannot be had it says so; in CI that is an error too.
"""

# ruff: noqa: T201 - a command that prints what it found

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from tests.deploy import chart
from tests.deploy.tools import MissingError, binaries
from tests.live import PROJECT

DEPLOY: Final = PROJECT / "deploy"
COMPOSE: Final = DEPLOY / "compose"
LINT: Final = DEPLOY / "lint"
KUBERNETES: Final = ("1.27.0", "1.37.0")
"""The oldest that the chart takes, and the newest that kubernetes-validate knows."""
CUSTOM: Final = {path.name.partition(".")[0]: path for path in (LINT / "schemas").glob("*.schema.json")}
"""Schemas of custom resources, by kind. Kubernetes has none of them."""
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


def by_linters(linters: Path, folder: Path) -> Iterator[Check]:
    """``folder``: an empty one, for what is rendered."""
    yield check("Dockerfile: hadolint", linters / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")
    schema = ("--quiet", "--builtin-schema", "vendor.compose-spec")
    yield check("compose.yaml: its schema", linters / "check-jsonschema", *schema, DEPLOY / "compose.yaml")
    yield check("YAML: yamllint", linters / "yamllint", "--strict", "-c", LINT / "yamllint.yaml", DEPLOY)
    for values in chart.VALUES:
        yield from of_chart(linters, values, folder)


def of_chart(linters: Path, values: Path, folder: Path) -> Iterator[Check]:
    """What is rendered, as files; and each resource of it as one of its own."""
    name = f"chart with ci/{values.name}"
    files, resources = [], []
    for template, text in chart.render(values).files.items():
        files.append(folder / f"{values.stem}-{template}")
        files[-1].write_text(text.strip() + "\n")
        for number, resource in enumerate(filter(None, yaml.safe_load_all(text))):
            path = folder / f"{values.stem}-{template}-{number}"
            path.write_text(yaml.safe_dump(resource))
            resources.append((resource["kind"], path))
    yield check(f"{name}: yamllint", linters / "yamllint", "--strict", "-c", LINT / "yamllint-rendered.yaml", *files)
    for version in KUBERNETES:
        builtin = (path for kind, path in resources if kind not in CUSTOM)
        validate = ("--strict", "--no-warn", "--quiet", "-k", version)
        yield check(f"{name}: Kubernetes {version}", linters / "kubernetes-validate", *validate, *builtin)
    for kind, path in resources:
        if kind in CUSTOM:
            schema = ("--quiet", "--default-filetype", "yaml", "--schemafile", CUSTOM[kind])
            yield check(f"{name}: {kind}", linters / "check-jsonschema", *schema, path)


def passes(each: Check) -> bool:
    done = subprocess.run(each.command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        print(f"{each.name}\n{done.stdout}{done.stderr}", file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    wrong, left_out = 0, []
    with tempfile.TemporaryDirectory() as folder:
        try:
            every = [*by_linters(binaries(), Path(folder)), *SYSTEM]
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
