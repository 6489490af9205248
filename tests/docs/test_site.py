"""The site is built, has every page, looks as the pages do on GitHub, and asks nothing of other hosts."""

import re
from pathlib import Path
from typing import Final

import pytest
from markdown_it import MarkdownIt

from tests.docs import site
from tests.live import PROJECT

ELEMENTS: Final = ("pre", "li", "table", "tr", "ol", "ul", "h2", "h3")
ASKS: Final = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?https?://[^>]*>")
ARTICLE: Final = re.compile(r"<article.*?</article>", re.DOTALL)


@pytest.fixture(scope="module")
def built() -> None:
    assert site.build() == ""


def html(name: str) -> str:
    return (site.SITE / re.sub(r"README\.md$", "index.md", name)).with_suffix(".html").read_text()


def elements(text: str) -> dict[str, int]:
    return {name: len(re.findall(rf"<{name}[ >]", text)) for name in ELEMENTS}


@pytest.mark.usefixtures("built")
def test_the_site_has_the_lists_tables_and_blocks_of_each_page() -> None:
    """GitHub reads CommonMark, and Zensical does not: an item may be lost when a page is not staged rightly."""
    commonmark = MarkdownIt("commonmark").enable("table")
    for page, name in site.pages().items():
        (article,) = ARTICLE.findall(html(name))
        assert elements(article) == elements(commonmark.render(page.read_text())), name


@pytest.mark.usefixtures("built")
def test_a_page_asks_nothing_of_other_hosts() -> None:
    assert [name for name in site.pages().values() if ASKS.search(html(name))] == []


def test_every_page_is_in_the_navigation() -> None:
    """But for the pages of single alerts, which their index lists."""
    shown = (PROJECT / "mkdocs.yml").read_text()
    single = re.compile(r"operate/alerts/Liveshop\w+\.md")
    assert [name for name in site.pages().values() if f"{name}\n" not in shown and not single.fullmatch(name)] == []


def test_links_become_those_of_the_site() -> None:
    page = PROJECT / "docs" / "operate" / "upgrade.md"
    line = "[a](../../CHANGELOG.md#x) [b](faults.md) [c](../../Makefile) ![d](../pictures/run.svg)"
    written = site._written(line, page, "operate/upgrade.md", code=False)
    assert written == "[a](../changelog.md#x) [b](faults.md) c ![d](../pictures/run.svg)"


@pytest.mark.parametrize("target", ["gone.md", "#no-such-heading"])
def test_a_link_that_leads_nowhere_fails_the_build(target: str, tmp_path: Path) -> None:
    shown = (PROJECT / "mkdocs.yml").read_text()
    (tmp_path / "mkdocs.yml").write_text(shown.partition("nav:")[0].replace("docs_dir: build/docs", "docs_dir: docs"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "README.md").write_text("# A page\n\n[one](#a-page)\n")
    assert site.made(tmp_path / "mkdocs.yml") == ""
    (tmp_path / "docs" / "README.md").write_text(f"# A page\n\n[one]({target})\n")
    assert "does not exist" in site.made(tmp_path / "mkdocs.yml")
