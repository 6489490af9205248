"""Kafka's jars: fetched once by Maven, kept in a cache, found again by their versions (which pom.xml names)."""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from stream.errors import FailedError, UsageError
from stream.sandbox.scratch import open_lock

POM: Final = Path(__file__).with_name("pom.xml")
OLDEST_JAVA: Final = 17
FETCH_SECONDS: Final = 600

Say = Callable[[str], None]
"""Where a message for a person goes."""

_KAFKA: Final = re.compile(r"(<artifactId>kafka_[^<]{1,9}</artifactId><version>)[^<]{1,20}")
_OTHER_WAYS: Final = (
    "Other ways: name a Kafka you have (LIVESHOP_BROKERS=host:port), or start one in a container, from a compose file or"
    " with `docker run -p 9092:9092 apache/kafka`, and name that (LIVESHOP_BROKERS=localhost:9092)."
)


def versions(kafka: str | None = None) -> str:
    """The name of the cache folder, such as ``kafka-4.3.0-slf4j-1.7.36``: another pom, another folder.

    ``kafka``: another version of Kafka than the pom's.
    """
    found = [node.text or "" for node in ET.fromstring(_pom(kafka)).findall("dependencies/dependency/version")]  # noqa: S314 - our own file
    return "kafka-{}-slf4j-{}".format(*found)


def _pom(kafka: str | None) -> str:
    text = POM.read_text()
    return text if kafka is None else _KAFKA.sub(rf"\g<1>{kafka}", text)


def cache_folder() -> Path:
    """``.cache/kafka`` of the checkout this code runs from, else of the user's cache folder."""
    project = Path(__file__).parents[2]
    if (project / "pyproject.toml").exists():
        return project / ".cache" / "kafka"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "liveshop" / "kafka"


def java() -> str:
    """Path of a Java that is new enough. Raises UsageError that names what to install and the other ways."""
    home = os.environ.get("JAVA_HOME")
    found = (shutil.which("java", path=f"{home}/bin") if home else None) or shutil.which("java")
    if found is None:
        raise _missing(f"Java {OLDEST_JAVA} or newer is missing")
    version = _java_version(found)
    if version < OLDEST_JAVA:
        raise _missing(f"{found} is Java {version}; {OLDEST_JAVA} or newer is needed")
    return found


def fetch(say: Say, kafka: str | None = None) -> Path:
    """Folder with the jars; fetches them first where the cache has none. Safe when two run at once.

    ``kafka``: another version of Kafka than the pom's.

    Raises UsageError when Maven is missing, FailedError when it could not fetch.
    """
    folder = cache_folder() / versions(kafka)
    if folder.is_dir():
        return _trusted(folder)
    mvn = shutil.which("mvn")
    if mvn is None:
        raise _missing("Maven (mvn), which fetches the jars of Kafka, is missing")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent / ".lock"):
        if not folder.is_dir():
            say(f"fetching the jars of Kafka by Maven, once, into {folder} (43 MB)")
            _fetch_into(folder, mvn, _pom(kafka))
    return _trusted(folder)


def _trusted(folder: Path) -> Path:
    """What is in it is run. Raises UsageError when anybody could have put it there."""
    for each in (folder, folder.parent):
        if each.stat().st_mode & stat.S_IWOTH:
            raise UsageError(f"every user may write to {each}, from where code is run: remove it, or chmod o-w")
    return folder


def _fetch_into(folder: Path, mvn: str, pom: str) -> None:
    """By way of a folder beside it and a rename, so that an interrupted fetch leaves nothing that looks complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        (Path(scratch) / POM.name).write_text(pom)
        jars = Path(scratch) / "lib"
        command = [
            mvn,
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={jars}",
        ]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise FailedError(f"Maven did not fetch the jars of Kafka within {FETCH_SECONDS} s") from None
        if done.returncode != 0 or not any(jars.glob("kafka_*.jar")):
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise FailedError(f"Maven could not fetch the jars of Kafka:\n{tail}\n{_OTHER_WAYS}")
        jars.rename(folder)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Maven's own repository is not safe for two at once either, so they queue here."""
    file = open_lock(lock)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _java_version(path: str) -> int:
    """Major version; 0 when it cannot be told. ``1.8.0_392`` is 8."""
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(match[1]) if match else 0


def _missing(what: str) -> UsageError:
    return UsageError(
        f"{what}, so the embedded Kafka cannot start.\n"
        "Install it (Debian, Ubuntu: apt install openjdk-17-jre-headless maven; macOS: brew install openjdk maven).\n"
        f"{_OTHER_WAYS}"
    )
