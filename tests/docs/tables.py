"""Tables of Markdown."""

from collections.abc import Iterable


def row(*cells: str) -> str:
    return "|" + "".join(f" {cell.replace('|', chr(92) + '|')} |" if cell else " |" for cell in cells) + "\n"


def table(heads: Iterable[str], rows: Iterable[str]) -> str:
    names = list(heads)
    return "".join((row(*names), f"|{'---|' * len(names)}\n", *rows))


def code(text: str) -> str:
    """Angle brackets are read as HTML where they stand alone."""
    return f"`{text}`" if "<" in text else text
