"""The jars of Kafka: found in the cache, fetched once, and one clear message when they cannot be."""

import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream.errors import FailedError, UsageError
from stream.sandbox import jars

FAKE_MVN = """#!/bin/sh
for word; do case "$word" in -DoutputDirectory=*) out="${word#*=}";; esac; done
mkdir -p "$out" && echo jar > "$out/kafka_2.13-4.3.0.jar" && echo fetched >> "$LOG"
"""


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jars, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    for tool in ("sh", "mkdir", "echo", "cat"):
        found = shutil.which(tool, path="/bin:/usr/bin")
        if found and not (folder / "bin" / tool).exists():
            (folder / "bin" / tool).symlink_to(found)
    file = folder / "bin" / name
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_the_pom_names_the_versions_and_the_folder_says_them() -> None:
    assert jars.versions() == "kafka-4.3.0-slf4j-1.7.36"


@pytest.mark.usefixtures("no_cache")
def test_without_java_one_message_names_what_to_install_and_the_other_ways() -> None:
    with pytest.raises(UsageError) as caught:
        jars.java()
    message = str(caught.value)
    assert "Java 17 or newer is missing" in message
    for needed in ("openjdk-17-jre-headless", "maven", "LIVESHOP_BROKERS=host:port", "compose"):
        assert needed in message


def test_an_old_java_is_named_with_its_version(no_cache: Path) -> None:
    program(no_cache, "java", "#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    with pytest.raises(UsageError, match="is Java 8; 17 or newer is needed"):
        jars.java()


def test_a_new_java_will_do_and_java_home_goes_first(no_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(no_cache, "java", "#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-16' >&2\n")
    monkeypatch.setenv("JAVA_HOME", str(no_cache))
    monkeypatch.setenv("PATH", "/nowhere")
    assert jars.java() == str(no_cache / "bin" / "java")


@pytest.mark.usefixtures("no_cache")
def test_without_maven_and_without_a_cache_the_message_says_so() -> None:
    with pytest.raises(UsageError, match="Maven"):
        jars.fetch(print)


def test_the_jars_are_fetched_once(no_cache: Path) -> None:
    program(no_cache, "mvn", FAKE_MVN)
    said: list[str] = []
    folder = jars.fetch(said.append)
    assert jars.fetch(said.append) == folder
    assert [file.name for file in folder.iterdir()] == ["kafka_2.13-4.3.0.jar"]
    assert (no_cache / "log").read_text() == "fetched\n"
    assert len(said) == 1
    assert "fetching the jars of Kafka" in said[0]


def test_two_that_begin_at_once_fetch_once(no_cache: Path) -> None:
    program(no_cache, "mvn", FAKE_MVN.replace("mkdir", "sleep 0.3; mkdir"))
    (no_cache / "bin" / "sleep").symlink_to(shutil.which("sleep", path="/bin:/usr/bin") or "/bin/sleep")
    with ThreadPoolExecutor(2) as both:
        folders = {each.result(30) for each in [both.submit(jars.fetch, print) for _ in range(2)]}
    assert len(folders) == 1
    assert (no_cache / "log").read_text() == "fetched\n"


def test_a_fetch_that_fails_shows_why_and_leaves_nothing(no_cache: Path) -> None:
    program(no_cache, "mvn", "#!/bin/sh\necho '[ERROR] no such host'\nexit 1\n")
    with pytest.raises(FailedError, match="no such host"):
        jars.fetch(lambda _: None)
    assert [file.name for file in (no_cache / "cache").iterdir()] == [".lock"]


def test_in_a_checkout_the_cache_is_in_it() -> None:
    project = Path(jars.__file__).parents[2]
    assert jars.cache_folder() == project / ".cache" / "kafka"


def test_what_is_installed_takes_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "__file__", str(tmp_path / "site-packages" / "stream" / "sandbox" / "jars.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert jars.cache_folder() == tmp_path / "cache" / "liveshop" / "kafka"


def test_jars_that_anybody_may_have_put_there_are_not_run(no_cache: Path) -> None:
    folder = no_cache / "cache" / jars.versions()
    folder.mkdir(parents=True)
    assert jars.fetch(print) == folder
    folder.parent.chmod(0o777)
    with pytest.raises(UsageError, match="every user may write to"):
        jars.fetch(print)


def test_fetching_leaves_alone_what_a_planted_lock_leads_to(no_cache: Path) -> None:
    program(no_cache, "mvn", FAKE_MVN)
    (no_cache / "cache").mkdir()
    precious = no_cache / "precious"
    precious.write_text("kept")
    (no_cache / "cache" / ".lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        jars.fetch(print)
    assert precious.read_text() == "kept"
