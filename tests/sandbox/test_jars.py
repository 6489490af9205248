"""The jars of Kafka: found in the cache, fetched once, as they were pinned, and one clear message when they cannot be."""

import hashlib
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream.errors import FailedError, UsageError
from stream.sandbox import jars
from stream.sandbox.jars import Jar
from tests.faults.cluster import NEW, OLD

NAMES = ("kafka_2.13", "kafka-clients", "slf4j-simple")


class Repository:
    """Where jars come from; the content of each is its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []
        self.seconds = 0.0

    def fetch(self, jar: Jar) -> Path:
        time.sleep(self.seconds)
        self.fetched.append(jar.artifact)
        file = self.folder / f"{jar.artifact}.fetched"
        if not file.exists():
            file.write_text(jar.artifact)
        return file


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and one lock with three jars."""
    monkeypatch.setattr(jars, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(jars, "LOCKS", tmp_path)
    lines = [f"org.example:{name}:1.0 {hashlib.sha256(name.encode()).hexdigest()}\n" for name in NAMES]
    (tmp_path / f"kafka-{jars.KAFKA}.lock").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def repository(no_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    (no_cache / "repository").mkdir()
    made = Repository(no_cache / "repository")
    monkeypatch.setattr(jars, "fetcher_into", lambda _: made.fetch)
    return made


def failing(error: Exception) -> Callable[[Path], jars.Fetcher]:
    def fetch(_: Jar) -> Path:
        raise error

    return lambda _: fetch


@pytest.mark.parametrize("version", [OLD, NEW])
def test_all_jars_of_each_version_are_pinned(version: str) -> None:
    pinned = jars.read(jars.lock(version))
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in pinned)
    assert len({jar.name for jar in pinned}) == len(pinned) > 40
    names = {jar.name for jar in pinned}
    assert {f"kafka_2.13-{version}.jar", f"kafka-clients-{version}.jar", "slf4j-simple-1.7.36.jar"} <= names


def test_the_usual_version_is_the_newest_that_is_pinned() -> None:
    assert jars.lock() == jars.lock(NEW)


def test_a_version_that_is_not_pinned_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"no jars are pinned for Kafka 9\.9\.9"):
        jars.fetch(print, "9.9.9")


def test_the_jars_are_fetched_once(repository: Repository) -> None:
    said: list[str] = []
    folder = jars.fetch(said.append)
    assert jars.fetch(said.append) == folder
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{name}-1.0.jar" for name in NAMES)
    assert sorted(repository.fetched) == sorted(NAMES)
    (line,) = said
    assert "fetching Kafka, 3 jars, once" in line


def test_another_lock_has_another_folder(no_cache: Path, repository: Repository) -> None:
    before = jars.fetch(print)
    lock = no_cache / f"kafka-{jars.KAFKA}.lock"
    lock.write_text("".join(lock.read_text().splitlines(keepends=True)[:2]))
    assert jars.fetch(print) != before
    assert len(repository.fetched) == 5


def test_progress_is_told(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "PROGRESS_SECONDS", 0.0)
    repository.seconds = 0.001
    said: list[str] = []
    jars.fetch(said.append)
    assert said[1:] == [f"fetching Kafka: {number} of 3 jars" for number in (1, 2, 3)]


def test_two_that_begin_at_once_fetch_once(repository: Repository) -> None:
    repository.seconds = 0.1
    with ThreadPoolExecutor(2) as both:
        folders = {each.result(30) for each in [both.submit(jars.fetch, print) for _ in range(2)]}
    assert len(folders) == 1
    assert len(repository.fetched) == len(NAMES)


def test_a_jar_that_is_not_the_pinned_one_is_not_run_and_nothing_is_kept(
    no_cache: Path, repository: Repository
) -> None:
    (repository.folder / "kafka-clients.fetched").write_text("another")
    with pytest.raises(FailedError, match=r"SHA-256 differs from the one pinned for kafka-clients-1\.0\.jar"):
        jars.fetch(print)
    assert [file.name for file in (no_cache / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "error", [OSError("no such host"), RuntimeError("no such host")], ids=lambda each: type(each).__name__
)
def test_a_fetch_that_fails_shows_why_and_leaves_nothing(
    no_cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(jars, "fetcher_into", failing(error))
    with pytest.raises(FailedError, match=r"\.jar of Kafka could not be fetched: no such host"):
        jars.fetch(print)
    assert [file.name for file in (no_cache / "cache").iterdir()] == [".lock"]


def test_without_the_extra_one_message_names_the_ways_out(no_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo", None)
    monkeypatch.setitem(sys.modules, "jgo.config", None)
    with pytest.raises(UsageError) as caught:
        jars.fetch(print)
    for way in ("jgo, which fetches the jars of Kafka, is missing", "liveshop[sandbox]", "LIVESHOP_BROKERS=host:port"):
        assert way in str(caught.value)
    assert [file.name for file in (no_cache / "cache").iterdir()] == [".lock"]


def test_what_maven_has_already_is_taken_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jgo")
    monkeypatch.setenv("M2_REPO", str(tmp_path / "maven"))
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "jgo.conf"))
    (tmp_path / "jgo.conf").touch()
    there = tmp_path / "maven" / "org" / "example" / "thing" / "1.0" / "thing-1.0.jar"
    there.parent.mkdir(parents=True)
    there.write_text("thing")
    assert jars.fetcher_into(tmp_path / "own")(Jar("org.example", "thing", "1.0", "")) == there


def test_in_a_checkout_the_cache_is_in_it() -> None:
    project = Path(jars.__file__).parents[2]
    assert jars.cache_folder() == project / ".cache" / "kafka"


def test_what_is_installed_takes_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "__file__", str(tmp_path / "site-packages" / "stream" / "sandbox" / "jars.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert jars.cache_folder() == tmp_path / "cache" / "liveshop" / "kafka"


def test_jars_that_anybody_may_have_put_there_are_not_run(no_cache: Path) -> None:
    folder = no_cache / "cache" / jars.folder_name(jars.lock())
    folder.mkdir(parents=True)
    assert jars.fetch(print) == folder
    folder.parent.chmod(0o777)
    with pytest.raises(UsageError, match="every user may write to"):
        jars.fetch(print)


@pytest.mark.usefixtures("repository")
def test_fetching_leaves_alone_what_a_planted_lock_leads_to(no_cache: Path) -> None:
    (no_cache / "cache").mkdir()
    precious = no_cache / "precious"
    precious.write_text("kept")
    (no_cache / "cache" / ".lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        jars.fetch(print)
    assert precious.read_text() == "kept"
