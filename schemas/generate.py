"""Writes what schemas/ and docs/figures.md say of figures and rates, from the tables of core/figures.py.

::

    python -m schemas.generate            writes them
    python -m schemas.generate --check    exit code 1 when one of them is not what it would write

Only what follows from the tables is written into a schema; all else in it is kept as it is.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from stream.core.figures import FIGURES, UNNAMED, Figure, How, Shown
from stream.core.rates import DERIVED, RATES, Derived, Of, Rate

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parent / "docs" / "figures.md"
RESULTS: Final = {"session-windows": Shown.WINDOWS, "sessions": Shown.SESSIONS}
"""Where a schema's figures are shown."""
LATER: Final = f"Absent in what versions before state format {UNNAMED + 1} wrote."
Schema = dict[str, Any]

TIMES: Final = ("first_event", "last_event", "started_at", "end_to")
"""Described by hand."""
_COUNT: Final[Schema] = {"$ref": "#/$defs/count"}
_MONEY: Final = {"$ref": "#/$defs/money"}
_RATE: Final = {"$ref": "#/$defs/rate"}
_FORMS: Final = {How.MONEY: _MONEY, How.MAXIMUM: _COUNT, How.LATEST: _COUNT, How.SKETCH: _COUNT}
_BY_CURRENCY: Final = {"type": "object", "additionalProperties": _RATE}
_RATES: Final[dict[Of, Schema]] = {Of.COUNTS: _RATE, Of.MONEY: _MONEY, Of.SHARE: _RATE, Of.SHARES: _BY_CURRENCY}


def files() -> dict[Path, str]:
    """What is to be in each of them."""
    schemas = {HERE / name / "v1.schema.json": shown for name, shown in RESULTS.items()}
    texts = {file: _dumped(with_figures(json.loads(file.read_text()), shown)) for file, shown in schemas.items()}
    return {**texts, PAGE: page()}


def _dumped(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


# -- schemas


def with_figures(schema: Schema, shown: Shown) -> Schema:
    """The same, but for its figures and rates."""
    old, new = schema["properties"], dict(_properties(shown))
    counters = {figure.name: figure for figure in FIGURES if figure.how is How.SUM and figure.shown & shown}
    new["counts"] = {
        "type": "object",
        "required": [name for name, figure in counters.items() if figure.since <= UNNAMED],
        "properties": {name: _described(_COUNT, figure) for name, figure in counters.items()},
    }
    new["rates"] = {**old["rates"], "properties": {rate.name: _rate(rate) for rate in RATES if rate.shown & shown}}
    later = [figure.shown_as for figure in FIGURES if figure.how is How.MONEY and figure.since > UNNAMED]
    properties = {name: new.get(name, old.get(name)) for name in _in_order(list(old), later, "local_item_value_minor")}
    return {**schema, "properties": properties}


def _in_order(names: list[str], more: list[str], behind: str) -> Iterator[str]:
    """Keeps the place of what is there already."""
    for name in names:
        if name not in more:
            yield name
        if name == behind:
            yield from more


def _properties(shown: Shown) -> Iterator[tuple[str, Schema]]:
    for figure in FIGURES:
        if figure.shown & shown and figure.how in _FORMS and figure.of == "int" and figure.name not in TIMES:
            yield figure.shown_as, _described(_FORMS[figure.how], figure)


def _described(form: Schema, figure: Figure) -> Schema:
    what = _sentence(figure.what)
    return {**form, "description": f"{what} {LATER}" if figure.since > UNNAMED else what}


def _rate(rate: Rate) -> Schema:
    return {**_RATES[rate.of], "description": f"{_sentence(rate.what)} {_formula(rate)}"}


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _formula(rate: Rate) -> str:
    scale = f"{rate.scale:,} x " if rate.scale > 1 else ""
    return f"{scale}{_operand(rate.over)} / {_operand(rate.under)}"


def _operand(name: str) -> str:
    """What is derived is written out: results do not show it."""
    return next((f"({_terms(row)})" for row in DERIVED if row.name == name), name)


# -- the page


HEAD: Final = """# Figures and rates

What liveshop counts: in windows, in totals of sessions, and as figures of alert rules. Made by `make schemas` from the
tables of `stream/core/figures.py` and `stream/core/rates.py`; `make check` fails when it is stale.

"""


def page() -> str:
    figures = (
        _row(
            f"`{figure.shown_as}`",
            figure.what,
            *_marks(figure.shown),
            str(figure.since) if figure.since > UNNAMED else "",
        )
        for figure in FIGURES
        if figure.shown and figure.name not in {"label_at", "creator_at"}
    )
    derived = (_row(f"`{row.name}`", f"`{_terms(row)}`", row.what) for row in DERIVED)
    rates = (_row(f"`{rate.name}`", f"`{_formula(rate)}`", rate.what, *_marks(rate.shown)) for rate in RATES)
    return "".join(
        (
            HEAD,
            "## Figures\n\nMoney is by currency. *since*: the format of the state that had it first.\n\n",
            _table(("figure", "what", *_PLACES, "since"), figures),
            "\n## Sums of figures\n\nRules may ask for these by name, but for `on_air_ms`; rates are of them.\n\n",
            _table(("name", "sum", "what"), derived),
            "\n## Rates\n\nA rate is absent when its denominator is 0. Ratios have 6 decimals, money is in minor units.\n\n",
            _table(("rate", "formula", "what", *_PLACES), rates),
        )
    )


_PLACES: Final = {"windows": Shown.WINDOWS, "sessions": Shown.SESSIONS, "alerts": Shown.ALERTS}


def _marks(shown: Shown) -> Iterator[str]:
    return ("yes" if shown & place else "" for place in _PLACES.values())


def _terms(row: Derived) -> str:
    if row.first:
        return " - ".join(f"({' else '.join(names)})" for names in (row.plus, row.minus))
    return " - ".join((" + ".join(row.plus), *row.minus))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |")


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    names = list(heads)
    return "".join((_row(*names), f"|{'---|' * len(names)}\n", *rows))


# -- files


def stale() -> list[Path]:
    """Files that are missing or say something else."""
    return [file for file, text in files().items() if not file.exists() or file.read_text() != text]


def main(arguments: list[str]) -> int:
    wrong = stale()
    if "--check" in arguments:
        for file in wrong:
            print(f"{file.name} is not what core/figures.py says: make schemas")  # noqa: T201
        return int(bool(wrong))
    texts = files()
    for file in wrong:
        file.write_text(texts[file])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
