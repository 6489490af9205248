"""What a container engine would do with a service, done with Linux namespaces, since no engine runs where the tests run.

A `Container` has this machine's file system read-only (an overlay, so that mount points can be added), processes and mounts
of its own, and the user, environment, volumes and command that it is given. All containers of a `Network` share
one network of their own, in which each service's name is known. Nothing of it is left when the test's process ends.

What is not the same as in an engine: the programs are this machine's, and no capability or system call is filtered.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pytest

from stream.children import Child
from tests.live import PROJECT, wait_for
from tests.support import PATIENCE

TOOLS: Final = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "chroot": "coreutils",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "wget": "wget",
}
START_SECONDS: Final = PATIENCE
LOOK_SECONDS: Final = PATIENCE
VENV: Final = "/opt/liveshop"
"""Where the image has liveshop."""


def need_namespaces() -> None:
    """Skips where they cannot be had; in CI that is a failure."""
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    why = f"missing Debian packages: {' '.join(missing)}" if missing else _refused()
    if why:
        assert not os.environ.get("CI"), why
        pytest.skip(why)


def _refused() -> str:
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, text=True, check=False
    )
    return f"no namespaces here (they need root): {done.stderr.strip()}" if done.returncode else ""


class Network:
    """A network of its own: ``lo`` and nothing else. ``names``: of the services, all of them at 127.0.0.1."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self.names = names
        self.folder = folder
        log = folder / "network.log"
        self._holder = Child(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 1d"], log=log)
        try:
            wait_for("the network is up", lambda: "up" in log.read_text(), START_SECONDS)
        except BaseException:
            self._holder.kill()
            raise

    @property
    def namespace(self) -> str:
        return f"/proc/{self._holder.pid}/ns/net"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()


@dataclass(frozen=True)
class Spec:
    """What is run: ``user`` as ``uid:gid``, ``volumes`` by their folders inside, each with the path on this machine.

    ``writable``: volumes that may be written. ``programs``: files of the image that are not on this machine, by path.
    ``read_only``: nothing but those volumes may be written, not even /tmp.
    """

    command: Sequence[str]
    user: str
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, Path] = field(default_factory=dict)
    writable: frozenset[str] = frozenset()
    programs: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False


class Container:
    """A running `Spec`. ``run`` executes more in it, as ``docker exec`` does; ``stop`` is ``docker stop``."""

    def __init__(self, name: str, spec: Spec, network: Network) -> None:
        self._spec = spec
        self.log = network.folder / f"{name}.log"
        root = network.folder / f"{name}.root"
        root.mkdir(exist_ok=True)
        script = network.folder / f"{name}.sh"
        script.write_text("\n".join(_script(spec, root, network.names)))
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        self._child = Child(
            ["nsenter", f"--net={network.namespace}", *namespaces, "sh", "-e", str(script)], log=self.log
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()

    @property
    def code(self) -> int | None:
        """The exit code of the command, None while it runs."""
        return self._child.code

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """In the same namespaces, as the same user, with the same environment."""
        uid, gid = self._spec.user.split(":")
        inside = ["nsenter", f"--target={self._first()}", "--net", "--mount", "--pid", "--root", "--wdns=/"]
        return subprocess.run(
            [*inside, f"--setuid={uid}", f"--setgid={gid}", "env", "-i", *_assigned(self._spec), *command],
            capture_output=True,
            text=True,
            timeout=LOOK_SECONDS,
            check=False,
        )

    def stop(self, seconds: float) -> int:
        """SIGTERM to its first process. Its exit code; AssertionError when it has not ended in ``seconds``."""
        os.kill(self._first(), 15)
        code = self._child.wait(seconds)
        assert code is not None, f"still there {seconds:g} s after SIGTERM:\n{self.tail()}"
        return code

    def tail(self) -> str:
        return self._child.tail()

    def _first(self) -> int:
        """Process 1 of the container, by its number outside. It has its own file system by then."""
        children = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children")

        def look() -> int:
            assert self.code is None, f"the container has ended with {self.code}:\n{self.tail()}"
            first = children.read_text()
            return int(first) if first and Path(f"/proc/{first.strip()}/root").readlink() != Path("/") else 0

        return wait_for("the container has a process", look, START_SECONDS)


def _assigned(spec: Spec) -> list[str]:
    return [f"{name}={value}" for name, value in spec.environment.items()]


def _script(spec: Spec, folder: Path, names: Sequence[str]) -> list[str]:
    """Run by process 1: makes the file system and becomes the command. ``folder``: an empty one."""
    root = f"{folder}/root"
    lines = [
        # An overlay of / cannot have its upper layer in /, so that lies in memory, and is gone with the namespace.
        f"mount -t tmpfs tmpfs {folder}",
        f"mkdir {folder}/upper {folder}/work {root}",
        f"mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {root}",
        *(f"chmod o+rx {root}{parent}" for parent in _closed_folders()),
        f"printf '127.0.0.1 localhost {' '.join(names)}\\n' > {root}/etc/hosts",
        f"mkdir -p {root}{VENV} && mount --bind -o ro {PROJECT}/.venv {root}{VENV}",
        f"mount -t proc proc {root}/proc",
        f"mount -t tmpfs tmpfs {root}/dev",
        *(f"touch {root}/dev/{each} && mount --bind /dev/{each} {root}/dev/{each}" for each in _DEVICES),
        f"mount -o remount,ro {root}/dev",
    ]
    for inside, path in spec.volumes.items():
        make = (
            f"mkdir -p {root}{inside}"
            if path.is_dir()
            else f"mkdir -p {root}{Path(inside).parent} && touch {root}{inside}"
        )
        lines += [
            make,
            f"mount --bind {'' if inside in spec.writable else '-o ro'} {shlex.quote(str(path))} {root}{inside}",
        ]
    for inside, text in spec.programs.items():
        lines += [
            f"mkdir -p {root}{Path(inside).parent}",
            f"printf '%s' {shlex.quote(text)} > {root}{inside} && chmod 755 {root}{inside}",
        ]
    # With its user a process loses the signal that it is sent when its parent ends, so that is asked for once more.
    start = ["chroot", f"--userspec={spec.user}", "--groups=", root, "setpriv", "--pdeathsig", "KILL"]
    command = [*start, "env", "-i", *_assigned(spec), *spec.command]
    closed = [f"mount -o remount,ro {root}"] if spec.read_only else []
    return [*lines, *closed, f"exec {shlex.join(command)}"]


_DEVICES: Final = ("null", "zero", "full", "random", "urandom")


_OPEN: Final = 0o005


def _closed_folders() -> list[Path]:
    """On the way to the interpreter and the project: in an image nobody but root would be kept out of them."""
    ways = {Path(path).resolve() for path in (PROJECT / ".venv/bin/python", PROJECT)}
    folders = {parent for way in ways for parent in [way, *way.parents]}
    return sorted(folder for folder in folders if folder.is_dir() and folder.stat().st_mode & _OPEN != _OPEN)


def environment_of(dockerfile: str) -> dict[str, str]:
    """What ENV says in the last stage."""
    stage = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)[-1].replace("\\\n", " ")
    words = [word for line in re.findall(r"^ENV (.*)$", stage, re.MULTILINE) for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)
