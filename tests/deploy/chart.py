"""The Helm chart, rendered by real Helm with each of the values files in its folder `ci`."""

import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from tests.deploy.tools import binaries
from tests.live import PROJECT

CHART: Final = PROJECT / "deploy" / "helm" / "liveshop"
RENDER: Final = Path(__file__).with_name("render.py")
VALUES: Final = sorted((CHART / "ci").glob("*.yaml"))
SECONDS: Final = 120


class RefusedError(Exception):
    """Helm does not render this."""


class Rendered(NamedTuple):
    """``files`` by template: what of it is a resource. ``notes``: what is said after an installation."""

    files: Mapping[str, str]
    notes: str
    lint: Mapping[str, Any]

    def resources(self, kind: str) -> list[Any]:
        return [
            each for text in self.files.values() for each in yaml.safe_load_all(text) if each and each["kind"] == kind
        ]

    def one(self, kind: str) -> Any:
        (found,) = self.resources(kind)
        return found


@cache
def render(values: Path, chart: Path = CHART) -> Rendered:
    """Raises MissingError without Helm, RefusedError with its reason."""
    command = [binaries() / "python", RENDER, chart, values]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    found = json.loads(done.stdout)
    if "error" in found:
        raise RefusedError(found["error"])
    files = {Path(name).name: text for name, text in found["files"].items() if text.strip()}
    return Rendered(files, files.pop("NOTES.txt"), found["lint"])
