"""Temporary folders: removed at the end or by the next run, and nothing that others put there is written to."""

import os
import tempfile
from pathlib import Path

import pytest

from stream.errors import UsageError
from stream.sandbox import scratch
from stream.sandbox.scratch import Scratch, lock, open_lock, own_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_scratch_folder_is_the_users_alone_and_removed_at_the_end(temporary: Path) -> None:
    with Scratch() as made:
        assert made.path.parent == temporary / f"liveshop-{os.getuid()}"
        assert made.path.parent.stat().st_mode & 0o777 == made.path.stat().st_mode & 0o777 == 0o700
        assert (made.path / "lock").stat().st_mode & 0o777 == 0o600
    assert list(temporary.iterdir()) == []


def test_two_at_a_time(temporary: Path) -> None:
    with Scratch() as first:
        with Scratch() as second:
            assert first.path != second.path
        assert first.path.is_dir()
    assert list(temporary.iterdir()) == []


def test_a_new_run_removes_what_a_killed_one_left(temporary: Path) -> None:
    alive = Scratch()
    left, young = (temporary / alive.path.parent / f"{scratch._PREFIX}{name}" for name in ("left", "young"))
    for folder in (left, young):
        folder.mkdir()
        (folder / "lock").touch()
    for folder in (left, alive.path):
        os.utime(folder, (0, 0))
    with Scratch():
        assert not left.exists()
        assert young.exists(), "it may not have its lock yet"
        assert alive.path.exists(), "somebody holds its lock"
    alive.remove()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o701])
def test_a_folder_that_is_open_to_others_is_not_used(temporary: Path, mode: int) -> None:
    (temporary / f"liveshop-{os.getuid()}").mkdir()
    (temporary / f"liveshop-{os.getuid()}").chmod(mode)
    with pytest.raises(UsageError, match=r"not a folder of this user alone .* TMPDIR"):
        Scratch()


def test_a_link_or_file_in_its_place_is_not_used(temporary: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place = temporary / f"liveshop-{os.getuid()}"
    place.symlink_to(elsewhere)
    with pytest.raises(UsageError, match="TMPDIR"):
        own_folder()
    assert list(elsewhere.iterdir()) == []
    place.unlink()
    place.write_text("mine")
    with pytest.raises(UsageError, match="TMPDIR"):
        own_folder()


def test_anothers_folder_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    (temporary / f"liveshop-{own + 1}").mkdir(mode=0o700)
    with pytest.raises(UsageError, match="TMPDIR"):
        own_folder()


def test_no_run_writes_through_a_link(temporary: Path, tmp_path: Path) -> None:
    """What the folder of all users could hold under the names of before, and a lock that leads elsewhere."""
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for name in ("liveshop-sandbox-planted", f"liveshop-{os.getuid()}/{scratch._PREFIX}planted"):
        folder = temporary / name
        folder.mkdir(parents=True, mode=0o700)
        folder.parent.chmod(0o700)
        (folder / "lock").symlink_to(precious)
        os.utime(folder, (0, 0))
    with Scratch():
        assert precious.read_text() == "kept"
    assert lock(folder / "lock") is None
    with pytest.raises(OSError, match="symbolic link"):
        open_lock(folder / "lock")


def test_a_lock_keeps_what_the_file_holds(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("kept")
    held = lock(tmp_path / "lock")
    assert held is not None
    assert lock(tmp_path / "lock") is None
    os.close(held)
    assert (tmp_path / "lock").read_text() == "kept"
