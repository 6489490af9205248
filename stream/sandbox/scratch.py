"""Temporary folders of our own, in a folder that belongs to the user alone, and files opened without following links.

In a temporary folder that all users share, anybody may have made a link or a folder under the name that we come for. So
everything lies in ``liveshop-UID``, which is refused unless it is a folder (no link), ours, and closed to others.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final, Self

from stream.errors import UsageError

_PREFIX: Final = "sandbox-"
_YOUNG: Final = 60.0
"""Seconds within which a folder may not have its lock yet."""
_ATTEMPTS: Final = 10


class Scratch:
    """A temporary folder that is removed at the end, or by the next run when this one was killed.

    Who holds the lock in it is alive: that also holds across containers that share the folder but not the process ids.
    Raises UsageError when the user's folder is not the user's.
    """

    def __init__(self) -> None:
        self.path = _new_folder()
        self._lock = lock(self.path / "lock")

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        with contextlib.suppress(OSError):  # others are in it
            self.path.parent.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def open_lock(path: Path) -> int:
    """A file to lock, made where there is none; its content is left alone, and a link is not followed (OSError)."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def lock(path: Path) -> int | None:
    """Such a file, locked; None when somebody else has it or it cannot be opened."""
    try:
        file = open_lock(path)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def _new_folder() -> Path:
    for _ in range(_ATTEMPTS):
        own = own_folder()
        _sweep(own)
        with contextlib.suppress(FileNotFoundError):  # another run ended and removed it, as it was empty
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=own))
    raise UsageError(f"{own} is removed again and again")


def own_folder() -> Path:
    """The user's folder among the temporary ones. Raises UsageError when it is another's, a link, or open to others."""
    folder = Path(tempfile.gettempdir()) / f"liveshop-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(
            f"{folder} is not a folder of this user alone (mode 0700): remove it, or set TMPDIR to another folder"
        )
    return folder


def _sweep(own: Path) -> None:
    """Remove what killed runs left."""
    for folder in own.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < _YOUNG or not (folder / "lock").exists():
                continue
            held = lock(folder / "lock")
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)
