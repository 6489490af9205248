"""The pages as a site: ``python -m tests.docs.site`` builds build/site with Zensical, and fails when a link leads nowhere.

Pages are written for GitHub, where they are mostly read. They are copied to build/docs in the form that Zensical reads,
with the pages of other folders that they link to.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.live import PROJECT

STAGED: Final = PROJECT / "build" / "docs"
SITE: Final = PROJECT / "build" / "site"
ELSEWHERE: Final = {
    PROJECT / "README.md": "introduction.md",
    PROJECT / "CHANGELOG.md": "changelog.md",
    PROJECT / "CONTRIBUTING.md": "contributing.md",
    PROJECT / "deploy" / "runbook.md": "operate/session-alerts.md",
}
"""Pages that lie outside of docs/, and their names on the site."""
FENCE: Final = re.compile(r"^( *)```(.*)$")
LINK: Final = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
ITEM: Final = re.compile(r"( *)(-|\d+\.) ")
SECONDS: Final = 120


def pages() -> dict[Path, str]:
    """Each page, and where it is on the site."""
    docs = PROJECT / "docs"
    return {file: str(file.relative_to(docs)) for file in sorted(docs.rglob("*.md"))} | ELSEWHERE


def stage() -> None:
    shutil.rmtree(STAGED, ignore_errors=True)
    shutil.copytree(PROJECT / "docs" / "pictures", STAGED / "pictures")
    for page, name in pages().items():
        target = STAGED / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(_lines(page, name)) + "\n")


def _lines(page: Path, name: str) -> Iterator[str]:
    """As Zensical reads it: text of an item is indented by four, and an item that needs it has a blank line before."""
    fenced, loose, depth, before = False, True, 0, ""
    for line in page.read_text().splitlines():
        fence = FENCE.match(line)
        item = None if fenced or fence else ITEM.match(line)
        if item and loose and before.strip():
            yield ""
        if item:
            depth = len(item[2]) + 1
        elif line[:1].strip() and not fenced and (fence or not before.strip()):
            depth = 0  # the list has ended
        yield _indented(_written(line, page, name, code=fenced or bool(fence)), 0 if item else depth)
        loose = not item and (loose or not line.strip() or bool(fence))
        fenced, before = fenced ^ bool(fence), line


def _written(line: str, page: Path, name: str, *, code: bool) -> str:
    """Links lead to pages of the site; what stands behind the language of a block is for tests."""
    if code:
        return re.sub(r"^( *```\w*).*", r"\1", line)
    return LINK.sub(lambda found: _link(found, page, name), line)


def _indented(line: str, depth: int) -> str:
    """What belongs to an item has as many spaces as its mark on GitHub, and four here."""
    return " " * (4 - depth) + line if depth and line.startswith(" " * depth) else line


def _link(found: re.Match[str], page: Path, name: str) -> str:
    """What is no page of the site is only named."""
    path, mark, anchor = found["target"].partition("#")
    if not path or ":" in path:
        return found[0]
    file = (page.parent / path).resolve()
    if found["image"]:
        there: str | None = str(file.relative_to(PROJECT / "docs"))
    else:
        there = pages().get(file)
    if there is None:
        return found["text"]
    return f"{found['image']}[{found['text']}]({os.path.relpath(there, Path(name).parent)}{mark}{anchor})"


def build() -> str:
    """What is wrong, or nothing."""
    stage()
    return made(PROJECT / "mkdocs.yml")


def made(config: Path) -> str:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(config)]
    env = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=config.parent, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def main() -> int:
    wrong = build()
    print(wrong or f"{SITE}/index.html", file=sys.stderr if wrong else sys.stdout)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
