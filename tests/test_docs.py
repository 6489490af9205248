"""The documents hold together: links lead somewhere, made pages are fresh, and the README is short and shows real things."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from rich.text import Text

from stream.config import SETTINGS
from tests.docs import generate
from tests.docs.picture import FIRES, PICTURE, Screen, drawn
from tests.live import PROJECT

README: Final = PROJECT / "README.md"
TOP: Final = (README, PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md", PROJECT / "deploy" / "runbook.md")
PAGES: Final = (*TOP, *sorted((PROJECT / "docs").rglob("*.md")))
FENCED: Final = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
SOURCES: Final = ("stream", "tests", "schemas", "deploy", "docs")
TEXTS: Final = {".py", ".pyx", ".pxd", ".h", ".md", ".yaml", ".yml", ".json", ".toml"}
OUTSIDE: Final = ("design.md", "domain.md", "contracts.md", "style.md", "-facts.md", "sources.md", "shared/docs")
"""Documents that a reader of this repository does not have."""


def relative(file: Path) -> str:
    return str(file.relative_to(PROJECT))


def anchors(page: Path) -> set[str]:
    """As GitHub and the site make them of headings, and those that stand there as such."""
    text = FENCED.sub("", page.read_text())
    titles = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)
    return {*plain, *re.findall(r'<a id="([^"]+)">', text)}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of each link within the repository."""
    for target in LINK.findall(FENCED.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            name, _, anchor = target.partition("#")
            yield ((page.parent / name).resolve() if name else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_link_leads_somewhere(page: Path) -> None:
    found = list(links(page))
    assert [f"{file}" for file, _ in found if not file.exists()] == []
    assert [f"{file.name}#{anchor}" for file, anchor in found if anchor and anchor not in anchors(file)] == []


def test_every_page_can_be_found_from_the_first() -> None:
    """docs/README.md, and what it leads to."""
    seen: set[Path] = set()
    todo = [PROJECT / "docs" / "README.md"]
    while todo:
        page = todo.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            todo += [file for file, _ in links(page)]
    assert [relative(page) for page in PAGES if page not in seen] == []


# What is made


def test_pages_that_are_made_from_code_are_fresh() -> None:
    assert [relative(page) for page in generate.stale()] == [], "make docs"


def test_every_setting_stands_once_on_its_page() -> None:
    named = re.findall(r"^\| `(\w+)` \|", generate.settings(), re.MULTILINE)
    assert sorted(named) == sorted(setting.name for setting in SETTINGS)


# The README


def test_the_readme_is_for_the_first_ten_minutes() -> None:
    assert len(README.read_text().split()) < 900


def test_the_record_that_the_readme_shows_is_the_example_of_the_schema() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL)
    assert json.loads(shown) == json.loads((PROJECT / "schemas" / "sessions" / "examples" / "open.json").read_text())


def test_the_picture_of_the_readme_shows_an_alert_and_asks_nobody_for_fonts() -> None:
    assert f"({relative(PICTURE)})" in README.read_text()
    picture = PICTURE.read_text()
    plain = " ".join(re.findall(r">([^<>]+)</text>", picture)).replace("&#160;", " ")
    assert FIRES.search(plain)
    assert "url(http" not in picture


def test_a_screen_shows_what_a_terminal_would() -> None:
    screen = Screen()
    screen.feed("first\r\nsecond\r\n\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1mthird\x1b[0m\r\nfourth\r\n")
    assert Text.from_ansi(str(screen)).plain == "third\nfourth"
    screen.feed("\x1b[?25l\x1b[Hfifth\x1b[J")
    assert str(screen) == "fifth"
    assert "fifth" in drawn(str(screen), "a title")


# Prose

LONGEST: Final = 40
"""Words of a sentence. Most have under 20."""
WRITTEN: Final = [page for page in PAGES if "Made by `make" not in page.read_text() and page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", WRITTEN, ids=relative)
def test_a_sentence_is_not_too_long(page: Path) -> None:
    lines = FENCED.sub("\n", page.read_text()).splitlines()
    prose = "\n".join("" if re.match(r" *[|#]", line) else re.sub(r"^ *(-|\d+\.) ", "\n", line) for line in lines)
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", prose)]
    sentences = [each for text in paragraphs for each in re.split(r"(?<=[.:;!?]) (?=[A-Z`[*(<]|liveshop)", text)]
    assert [each for each in sentences if len(each.split()) > LONGEST] == []


# Citations


def test_nothing_cites_a_document_that_is_not_here() -> None:
    files = (file for name in SOURCES for file in sorted((PROJECT / name).rglob("*")) if file.suffix in TEXTS)
    texts = {file: file.read_text() for file in (*files, *TOP) if file.is_file() and file != Path(__file__)}
    assert [f"{relative(file)}: {name}" for file, text in texts.items() for name in OUTSIDE if name in text] == []


def test_laws_and_steps_that_the_code_names_are_in_the_architecture() -> None:
    there = anchors(PROJECT / "docs" / "architecture.md")
    sources = [file.read_text() for file in (PROJECT / "stream").rglob("*.py*") if file.suffix in TEXTS]
    protocol = {
        f"protocol-step-{number}" for text in sources for number in numbers(r"[Ss]teps?", text, " of the protocol")
    }
    laws = {f"law-{number}" for text in sources for number in numbers(r"[Ll]aws?", text)}
    steps = {f"step-{number}" for text in sources for number in numbers(r"[Ss]teps?", text)}
    assert protocol
    assert laws
    assert steps
    assert protocol | laws | steps <= there


def numbers(word: str, text: str, after: str = "") -> Iterator[int]:
    """Of ``steps 1 to 3``, ``law 2``."""
    for first, last in re.findall(rf"\b{word} (\d)(?: (?:to|and) (\d))?{after}", text):
        yield from range(int(first), int(last or first) + 1)


def test_no_test_reads_outside_the_repository_but_the_recorded_data() -> None:
    """tests/live.py names the folder; nothing else goes above the project."""
    found = {
        relative(file): line.strip()
        for file in sorted((PROJECT / "tests").rglob("*.py"))
        if file != Path(__file__)
        for line in file.read_text().splitlines()
        if re.search(r"PROJECT\.parent\b|ROOT\.parent\.parent", line)
    }
    assert found == {"tests/live.py": 'DATA: Final = PROJECT.parent / "shared" / "data"'}
