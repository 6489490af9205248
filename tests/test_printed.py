"""What messages tell people to type is accepted as printed: commands, flags, settings of the environment.

Found in the source, so that nothing has to be listed: strings (docstrings of commands are help), f-strings with something
put in where they have a place for it, and the calls that make commands. None is executed here; the main ones are in
tests/faults/test_named_commands.py and test_unreadable.py, in the situations in which they are printed.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import pytest
import typer

import stream
from stream import cli, printed
from stream.config import SETTINGS, Settings
from stream.printed import TAKES, Command, command
from stream.sources import OF_THE_BUILD
from tests.test_readme import check_liveshop

ROOT: Final = Path(stream.__file__).parent
FUNCTIONS: Final = {"command", "_command"}
"""What makes commands: `printed.command`, and helpers of this name that add words of their own."""
STANDS_FOR: Final = "1"
"""For whatever is put in: it does for numbers and for names."""
NO_COMMANDS: Final = ("liveshop were", "liveshop yet", "liveshop must", "liveshop and")
"""Prose about it."""


TITLES: Final = ("observe/pages.py:",)
"""Where the name of a program is no command to type."""


class Said(NamedTuple):
    place: str
    text: str
    is_whole: bool = True
    """Without words that are put in from elsewhere."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def texts(tree: ast.Module, *, with_help: bool) -> Iterator[tuple[int, str]]:
    """Line and text of each string; ``with_help``: docstrings as well."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    ours = {id(node.value) for node in tree.body if isinstance(node, ast.Expr)}  # of modules: nobody is shown those
    for node in ast.walk(tree):
        if id(node) in parts | (ours if with_help else docs):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, filled(node)


def filled(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else STANDS_FOR for part in node.values)


def literals(*, with_help: bool) -> Iterator[Said]:
    for name, tree in sources():
        for line, text in texts(tree, with_help=with_help and name.startswith("cli/")):
            yield Said(f"{name}:{line}", text)


LITERALS: Final = list(literals(with_help=True))


def named(*, with_help: bool = True) -> Iterator[Said]:
    """`liveshop state verify` within a text: up to a quotation mark or the end of the sentence."""
    for place, text, _ in literals(with_help=with_help):
        for found in re.finditer(r"(?<![\w/.-])liveshop [a-z][^`\n;:,()|]*", text):
            if not found[0].startswith(NO_COMMANDS):
                yield Said(place, re.sub(r"\.( .*)?$", "", found[0]).strip())


def made() -> Iterator[Said]:
    """What the calls of `printed.command` come to, and lists of words that begin with the program."""
    for name, tree in sources():
        for node in ast.walk(tree) if name != "printed.py" else ():
            if isinstance(node, ast.List) and node.elts and _text(node.elts[0]) == "liveshop":
                yield Said(f"{name}:{node.lineno}", shlex.join(_words(node.elts)), _is_whole(node.elts))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
                place = next((n for n, each in enumerate(node.args) if _text(each) in TAKES), None)
                if place is not None:
                    words, is_whole = _words(node.args[place:]), _is_whole(node.args)
                    yield Said(f"{name}:{node.lineno}", shlex.join(["liveshop", *words]), is_whole)


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_whole(nodes: list[ast.expr]) -> bool:
    return not any(isinstance(node, ast.Starred) for node in nodes)


def _words(nodes: list[ast.expr]) -> list[str]:
    """Of which what is starred is left out: those words are looked at where they are written."""
    words = [_text(node) or STANDS_FOR for node in nodes if not isinstance(node, ast.Starred)]
    return [word for each in words for word in (each.split() if each in TAKES else [each])]


def test_no_message_names_a_command_without_the_settings_it_needs() -> None:
    """`printed.command` gives them; only help, which knows of no settings, has commands without."""
    assert [said for said in named(with_help=False) if not said.place.startswith(TITLES)] == []


@pytest.mark.parametrize("said", list(named()), ids=lambda said: f"{said.place} {said.text[:40]}")
def test_a_command_that_a_text_names_is_accepted(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    _, *words = shlex.split(said.text)
    check_liveshop(words if any(word.startswith("-") for word in words) else [*words, "--help"], monkeypatch)


@pytest.mark.parametrize("said", list(made()), ids=lambda said: f"{said.place} {said.text[:40]}")
def test_a_command_that_is_made_is_accepted(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where words are missing, the flags that are there are known ones."""
    _, *words = shlex.split(said.text)
    if said.is_whole:
        check_liveshop(words, monkeypatch)
    known = next(flags for name, flags in options().items() if f"{said.text} ".startswith(f"liveshop {name} "))
    assert {word for word in words if word.startswith("--")} <= known


def options() -> dict[str, set[str]]:
    """The flags of each command, by its words."""
    return {" ".join(path): flags for path, flags in _options(typer.main.get_command(cli.app), ())}


def _options(found: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    context = typer.Context(found)
    if hasattr(found, "list_commands"):
        for name in found.list_commands(context):
            yield from _options(found.get_command(context, name), (*path, name))
    else:
        yield (
            path,
            {flag for parameter in found.get_params(context) for flag in (*parameter.opts, *parameter.secondary_opts)},
        )


def test_every_flag_that_a_text_names_is_one() -> None:
    known = set().union(*options().values())
    wrong = [
        (place, flag)
        for place, text, _ in LITERALS
        if not re.search(r"kafka-[\w-]+\.sh|--cluster-id|--add-scram", text)  # those are Kafka's own
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]+", text)
        if flag not in known | HIDDEN
    ]
    assert wrong == []


HIDDEN: Final = {"--process", "--rebuild-before", "--version"}
"""What `--processes` gives its children, which are options too, but in no help; and that of the main command."""


def test_every_variable_that_a_text_names_is_a_setting() -> None:
    known = {setting.env for setting in SETTINGS} | OF_THE_BUILD
    wrong = [
        (place, name)
        for place, text, _ in LITERALS
        for name in re.findall(r"LIVESHOP_[A-Z_]*[A-Z]", text)
        if name not in known
    ]
    assert wrong == []


@pytest.mark.parametrize("name", TAKES)
def test_a_command_gives_every_setting_that_is_no_default(
    name: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "it's secret"
    secret.write_text("do not tell")
    settings = Settings(
        brokers="kafka-1:9093,kafka-2:9093",
        group="live-prod",
        topic_prefix="eu.",
        windows="2m,10m/1m",
        delay=timedelta(seconds=7),
        transaction_timeout=timedelta(seconds=9),
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="liveshop",
        sasl_password_file=secret,
    )
    words = shlex.split(command(settings, name, *MORE.get(name, ())))
    assert words[0] == "liveshop"
    for flag, value in (("--brokers", settings.brokers), ("--topic-prefix", "eu."), ("--sasl-username", "liveshop")):
        if flag != "--topic-prefix" or "topic_prefix" in TAKES[name]:
            assert words[words.index(flag) + 1] == value
    if "group" in TAKES[name]:
        assert words[words.index("--group") + 1] == "live-prod"
        assert words[words.index("--windows") + 1] == "2m,10m/1m"
    check_liveshop(words[1:], monkeypatch)


MORE: Final = {
    "offsets skip": ("--topic", "live.views", "--partition", "0", "--offset", "1", "--reason", "a disk"),
    "state rebuild": ("--partition", "0"),
    "topics grow": ("--partitions", "6", "--to-prefix", "p6."),
    "state adopt": ("--positions", "keep"),
}
"""What a command cannot do without."""


def test_every_command_that_messages_name_is_there() -> None:
    assert set(get_args(Command)) == set(TAKES) <= set(options())
    assert {said.text.split()[1] for said in made()} >= {"state", "offsets", "topics"}
    assert printed.__doc__
