"""The procedures of docs/operate as programs: their blocks, and how a block is run as a person would run it.

A block begins with ```` ```sh run ```` when a test runs it here, or with ``run-…`` in a situation of its own. With
```` ```sh parse ```` it needs what is not here: then its words are only given to the parser. ``exit=1`` says with which
code its last command ends.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from stream.cli import main
from tests.live import PROJECT
from tests.test_readme import FENCED, lines

FOLDER: Final = PROJECT / "docs" / "operate"


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: what stands behind its fence, and its commands."""

    line: int
    language: str
    marks: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def code(self) -> int:
        """With which its last command ends."""
        return next((int(mark[5:]) for mark in self.marks if mark.startswith("exit=")), 0)


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCED.finditer(text):
        line = text[: found.start()].count("\n") + 2
        commands = tuple(command for _, command in lines(found["content"]))
        yield Block(line, found["language"], tuple(found["marks"].split()), commands)


def to_run(page: str, mark: str = "run") -> list[Block]:
    """The blocks with this mark, in the order of the page."""
    return [block for block in blocks(FOLDER / page) if mark in block.marks]


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs blocks in this process. ``instead``: words of the page, and what stands for them here.

    ``work`` starts the worker that a page starts, with the flags that it gives; it has ended when this returns.
    """

    capsys: pytest.CaptureFixture[str]
    instead: Mapping[str, str]
    work: Callable[[list[str]], None] | None = None

    def run(self, block: Block) -> str:
        """What its commands printed. The last one ends with the code of the block, the others with 0."""
        *before, last = [self.words(command) for command in block.commands]
        said = "".join(self._ended(words, 0) for words in before)
        return said + self._ended(last, block.code)

    def words(self, command: str) -> list[str]:
        for word, instead in self.instead.items():
            command = command.replace(word, instead)
        return shlex.split(command)

    def _ended(self, words: list[str], code: int) -> str:
        assert words[0] == "liveshop", words
        if words[1] == "worker" and self.work is not None:
            self.work(words[2:])
            return ""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(words[1:])
        out, err = self.capsys.readouterr()
        assert (end.value.code or 0) == code, f"{shlex.join(words)}\n{out}{err}"
        return out + err
