"""The results of a replay from a file, as files of one folder: what a live topic would hold of each key in the end.

::

    session-windows.ndjson   the last revision of each window, a line each, sorted by key; and .parquet
    sessions.ndjson          the last totals of each session, the same way
    alerts.ndjson            every alert, in the order of its decision; and .parquet
    dead-letters.ndjson      what was refused, as lines of a recording with ``reason`` and ``detail``

Until the end every revision goes to a scratch file, so that only keys are held.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Final, Self

from stream.core.deadletters import Oversize
from stream.errors import UsageError
from stream.model.messages import Message
from stream.model.names import ALERTS, DEAD_LETTERS, SESSION_WINDOWS, SESSIONS, Kind
from stream.model.results import DeadLetter, Outputs
from stream.replay import parquet, recording

LAST: Final = (SESSION_WINDOWS, SESSIONS)
"""Topics of which only the last revision of a key is kept."""
AS_THEY_COME: Final = (ALERTS, DEAD_LETTERS)
"""Topics whose records are all kept."""
TABLES: Final = (*LAST, ALERTS)
"""Topics that are written as Parquet, too. What was refused may be any bytes."""


def named(topic: str, suffix: str) -> str:
    """The name of the file of a topic."""
    return f"{topic.removeprefix('live.')}.{suffix}"


def names(*, tables: bool) -> list[str]:
    """All that is written. ``tables``: also as Parquet."""
    lines = [named(topic, "ndjson") for topic in (*TABLES, DEAD_LETTERS)]
    return lines + [named(topic, "parquet") for topic in TABLES if tables]


class _LastRevisions:
    """Values by key; of several the last is kept."""

    def __init__(self, scratch: IO[bytes]) -> None:
        self._scratch = scratch
        self._end = 0
        self._places: dict[bytes, tuple[int, int]] = {}

    def add(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in records:
            self._places[key] = self._end, len(value)
            self._end += self._scratch.write(value)

    def values(self) -> Iterable[bytes]:
        """Sorted by key."""
        for key in sorted(self._places):
            begin, size = self._places[key]
            self._scratch.seek(begin)
            yield self._scratch.read(size)


class ResultFiles:
    """To be filled between ``with`` and its end. After `finish` the folder holds everything."""

    def __init__(self, folder: Path, *, tables: bool, force: bool) -> None:
        """Raises UsageError for a folder that cannot be made, or that holds such files already, unless ``force``."""
        self._folder = folder
        self._tables = tables
        there = [name for name in names(tables=True) if (folder / name).exists()]
        if there and not force:
            raise UsageError(f"--to: {folder} holds {there[0]} already, and would lose it: --force writes over it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--to: {folder} cannot be made: {error.strerror}") from None
        self._stack = ExitStack()
        self._last: Mapping[str, _LastRevisions] = {}

    def __enter__(self) -> Self:
        opened = (TemporaryFile(dir=self._folder) for _ in LAST)  # noqa: SIM115 - the stack ends them
        scratch = map(self._stack.enter_context, opened)
        self._last = {topic: _LastRevisions(file) for topic, file in zip(LAST, scratch, strict=True)}
        self._alerts, self._letters = (
            self._stack.enter_context(recording.create(self._part(topic))) for topic in AS_THEY_COME
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
        for topic in AS_THEY_COME:
            self._part(topic).unlink(missing_ok=True)

    def _part(self, topic: str) -> Path:
        """Where it is until the end: of a file that cannot be read to its end nothing is left."""
        return self._folder / f"{named(topic, 'ndjson')}.part"

    def take(self, partition: int, outputs: Outputs) -> None:
        """One checkpoint."""
        for topic in LAST:
            self._last[topic].add(outputs.records[topic])
        self._alerts.writelines(value + b"\n" for _, value in outputs.records[ALERTS])
        self._letters.writelines(_line(letter, partition) for letter in outputs.dead_letters)

    def finish(self) -> list[Path]:
        """Writes what was only kept until now. Returns all files."""
        for topic, last in self._last.items():
            with recording.create(self._folder / named(topic, "ndjson")) as file:
                file.writelines(value + b"\n" for value in last.values())
        self._stack.close()
        for topic in AS_THEY_COME:
            self._part(topic).replace(self._folder / named(topic, "ndjson"))
        if self._tables:
            for topic in TABLES:
                parquet.write(topic, *(self._folder / named(topic, suffix) for suffix in ("ndjson", "parquet")))
        return [self._folder / name for name in names(tables=self._tables)]


def _line(letter: DeadLetter, partition: int) -> bytes:
    """Of a value that was too large its beginning is there, and how large it was."""
    record, reason = letter.record, letter.reason
    more: dict[str, str | int] = {"reason": reason, "detail": letter.detail, "partition": partition}
    if isinstance(record, Oversize):
        more |= {"size": record.size, "xxh3": record.xxh3}
    return recording.line(
        Message(record.timestamp, Kind(letter.kind), record.key, record.value, record.timestamp, reason), more
    )
