"""Kafka's jars: those that a lock names with their checksums, fetched once and kept in a cache. No Maven is needed."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.errors import FailedError, UsageError
from stream.sandbox.java import no_sandbox
from stream.sandbox.scratch import open_lock

KAFKA: Final = "4.3.0"
LOCKS: Final = Path(__file__).with_name("locks")
"""One for each version of Kafka: a line per jar, ``group:artifact:version sha256``. `make jars` writes them."""
AT_ONCE: Final = 4
ANSWER_SECONDS: Final = 30
PROGRESS_SECONDS: Final = 2.0

Say = Callable[[str], None]
"""Where a message for a person goes."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of a lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


Fetcher = Callable[[Jar], Path]
"""Where the file is, fetched first if need be. Raises OSError or RuntimeError when it cannot be had."""


def lock(kafka: str | None = None) -> Path:
    """The lock of a version of Kafka. Raises UsageError where there is none."""
    found = LOCKS / f"kafka-{kafka or KAFKA}.lock"
    if not found.exists():
        raise UsageError(f"no jars are pinned for Kafka {kafka}")
    return found


def read(lock: Path) -> list[Jar]:
    lines = (line.replace(":", " ").split() for line in lock.read_text().splitlines())
    return [Jar(group, artifact, version, sha256) for group, artifact, version, sha256 in lines]


def folder_name(lock: Path) -> str:
    """Of the cache, such as ``kafka-4.3.0-5f0c7d2a91``: another lock, another folder."""
    return f"{lock.stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:10]}"


def cache_folder() -> Path:
    """``.cache/kafka`` of the checkout this code runs from, else of the user's cache folder."""
    project = Path(__file__).parents[2]
    if (project / "pyproject.toml").exists():
        return project / ".cache" / "kafka"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "liveshop" / "kafka"


def fetch(say: Say, kafka: str | None = None) -> Path:
    """Folder with the jars; fetches them first where the cache has none. Safe when two run at once.

    ``kafka``: another version of Kafka than the usual one.

    Raises UsageError when what fetches them is missing, FailedError when one cannot be had or is not what was pinned.
    """
    pinned = lock(kafka)
    folder = cache_folder() / folder_name(pinned)
    if folder.is_dir():
        return _trusted(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.parent / ".lock"):
        if not folder.is_dir():
            _fetch_into(folder, pinned, say)
    return _trusted(folder)


def _trusted(folder: Path) -> Path:
    """What is in it is run. Raises UsageError when anybody could have put it there."""
    for each in (folder, folder.parent):
        if each.stat().st_mode & stat.S_IWOTH:
            raise UsageError(f"every user may write to {each}, from where code is run: remove it, or chmod o-w")
    return folder


def _fetch_into(folder: Path, pinned: Path, say: Say) -> None:
    """By way of a folder beside it and a rename, so that an interrupted fetch leaves nothing that looks complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        into = Path(scratch) / "lib"
        into.mkdir()
        fetcher = fetcher_into(Path(scratch) / "fetched")
        wanted = read(pinned)
        say(f"fetching Kafka, {len(wanted)} jars, once, into {folder} (45 MB)")
        _fetch_all(wanted, fetcher, into, say)
        into.rename(folder)


def _fetch_all(wanted: list[Jar], fetcher: Fetcher, into: Path, say: Say) -> None:
    pool = ThreadPoolExecutor(AT_ONCE)
    told = time.monotonic()
    try:
        jobs = [pool.submit(_fetch_one, jar, fetcher, into) for jar in wanted]
        for done, job in enumerate(as_completed(jobs), 1):
            job.result()
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                say(f"fetching Kafka: {done} of {len(wanted)} jars")
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch_one(jar: Jar, fetcher: Fetcher, into: Path) -> None:
    try:
        found = fetcher(jar)
        shutil.copy(found, into / jar.name)
    except (OSError, RuntimeError) as error:
        why = f"{jar.name} of Kafka could not be fetched: {error}"
        raise FailedError(
            f"{why}\nAre you offline? What was fetched is thrown away; the next run tries again."
        ) from None
    if hashlib.sha256((into / jar.name).read_bytes()).hexdigest() != jar.sha256:
        raise FailedError(
            f"{found} is not the file that was tested: its SHA-256 differs from the one pinned for"
            f" {jar.name}. It is not run. Remove it where it is still there, and try again."
        )


def fetcher_into(folder: Path) -> Fetcher:
    """Fetches into ``folder``, from where Maven would fetch or, if Maven has the file already, from Maven's own folder.

    Mirrors are those of jgo's own settings. Raises UsageError where the extra ``sandbox`` is not installed.
    """
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415  # workers do without
        from jgo.maven import MavenContext  # noqa: PLC0415
    except ModuleNotFoundError:
        raise no_sandbox("jgo, which fetches the jars of Kafka, is missing") from None
    settings = GlobalSettings.load()
    context = MavenContext(repo_cache=folder, local_repos=[Path(settings.repo_cache)], timeout=ANSWER_SECONDS)
    context.remote_repos = {**settings.repositories, **context.remote_repos}

    def fetch_jar(jar: Jar) -> Path:
        return Path(context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve())

    return fetch_jar


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Two that want the same queue here."""
    file = open_lock(lock)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
