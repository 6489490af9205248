"""deploy/compose.yaml as a container engine reads it, as far as the tests run it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from stream.durations import parse_duration
from tests.deploy.containers import Spec, environment_of
from tests.live import PROJECT

FILE: Final = PROJECT / "deploy" / "compose.yaml"
DOCKERFILE: Final = PROJECT / "deploy" / "Dockerfile"


class Program(NamedTuple):
    """What stands on this machine for an image: the start of its command, and the user that the image runs as."""

    entry: tuple[str, ...]
    user: str


PROGRAMS: Final = {
    "liveshop": Program(("liveshop",), "10001:10001"),
    "apache/kafka": Program(("/opt/kafka/start",), "1000:1000"),
    "prom/prometheus": Program(("prometheus",), "65534:65534"),
    "prom/alertmanager": Program(("prometheus-alertmanager",), "65534:65534"),
}
NOT_HERE: Final = {"grafana/grafana": "no package of Debian has it"}


@dataclass(frozen=True)
class Service:
    name: str
    content: Mapping[str, Any]

    @property
    def image(self) -> str:
        """Without its tag."""
        return str(self.content["image"]).rpartition(":")[0]

    @property
    def tag(self) -> str:
        return str(self.content["image"]).rpartition(":")[2]

    @property
    def waits_for(self) -> dict[str, str]:
        """Services and what must be true of each."""
        return {name: each["condition"] for name, each in self.content.get("depends_on", {}).items()}

    @property
    def look(self) -> list[str] | None:
        """The command of its health check."""
        test = self.content["healthcheck"].get("test")
        if test is None:
            assert self.content["healthcheck"] == {"disable": True}
            return None
        assert test[0] == "CMD", "a health check in exec form needs no shell"
        return list(test[1:])

    def seconds(self, name: str) -> float:
        value = self.content[name] if name in self.content else self.content["healthcheck"][name]
        return parse_duration(value).total_seconds()

    def mounts(self, folder: Path) -> tuple[dict[str, Path], frozenset[str]]:
        """Paths inside with those on this machine, and which may be written. Named volumes are made in ``folder``."""
        paths, writable = {}, set()
        for line in self.content.get("volumes", ()):
            source, inside, *mode = line.split(":")
            if source.startswith("."):
                assert mode == ["ro"], "what is of the project is never written"
                paths[inside] = (FILE.parent / source).resolve(strict=True)
            else:
                paths[inside] = folder / source
                writable.add(inside)
        return paths, frozenset(writable)

    def spec(self, folder: Path, programs: Mapping[str, str] = {}) -> Spec:
        """``folder``: for named volumes, which belong to the image's user at first, as an engine makes them."""
        program = PROGRAMS[self.image]
        user = self.content.get("user", program.user)
        paths, writable = self.mounts(folder)
        for inside in writable:
            paths[inside].mkdir(exist_ok=True)
            os.chown(paths[inside], *map(int, user.split(":")))
        ours = environment_of(DOCKERFILE.read_text()) if self.image == "liveshop" else {"PATH": "/usr/bin:/bin"}
        command = [*program.entry, *self.content.get("command", ())]
        environment = ours | self.content.get("environment", {})
        read_only = self.content.get("read_only", False)
        return Spec(command, user, environment, paths, writable, programs, read_only=read_only)


def services() -> list[Service]:
    """Each after those it waits for."""
    content = yaml.safe_load(FILE.read_text())["services"]
    every = {name: Service(name, each) for name, each in content.items()}
    order = TopologicalSorter({name: each.waits_for.keys() for name, each in every.items()})
    return [every[name] for name in order.static_order()]
