"""Writes table.pxd and table.pyx, what C knows of the table of figures; setup.py calls it before each build.

Neither is kept in the repository. When the table has changed since the build, importing the native modules fails, and says
so.
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

HERE: Final = Path(__file__).parent
TABLE: Final = HERE.parent / "figures.py"
MADE: Final = "Made by generate.py from core/figures.py: change those."


def write(into: Path = HERE) -> None:
    """Leaves files that are right as they are, so that nothing is compiled anew."""
    table = _table()
    for name, text in (("table.pxd", _pxd(table)), ("table.pyx", _pyx(table))):
        path = into / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _table() -> ModuleType:
    """By itself: the build has none of what the rest of the core imports."""
    spec = importlib.util.spec_from_file_location("liveshop_figures", TABLE)
    if spec is None or spec.loader is None:
        raise ImportError(f"{TABLE} cannot be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _numbers(table: Any) -> list[str]:
    """Sums first, so that adding is one loop."""
    others = [name for name in table.PLAIN if name not in table.SUMMED and name not in table.TEXTS]
    return [*table.SUMMED, *others]


def _held(table: Any) -> list[str]:
    """Objects: texts first."""
    return [*table.TEXTS, *table.MONIES, *table.SKETCHES, "sources", *table.BREAKDOWNS]


def _places(table: Any) -> dict[str, int]:
    """Of numbers and money, by the names that results know; those of objects inverted."""
    numbers, held = _numbers(table), _held(table)
    figures = [figure for figure in table.FIGURES if figure.name in {*numbers, *table.MONIES}]
    return {
        figure.shown_as: numbers.index(figure.name) if figure.name in numbers else ~held.index(figure.name)
        for figure in figures
    }


def _enum(names: Iterable[str]) -> str:
    return "".join(f"    {name.upper()} = {place}\n" for place, name in enumerate(names))


_SORTS: Final = ("MONEY", "SKETCH", "Clicks", "Orders", "Labels")


def _pxd(table: Any) -> str:
    numbers, held = _numbers(table), _held(table)
    by_shown = _places(table)

    def at(name: str) -> int:
        """A number's place, or that of an object, inverted."""
        return numbers.index(name) if name in numbers else ~held.index(name)

    latest = [(at(name), at(when)) for name, when in table.LATEST]
    integers = {
        "defaults": [table.DEFAULTS[name] for name in numbers],
        "maxima": map(at, table.MAXIMA),
        "minima": map(at, table.MINIMA),
        "latest": [value for value, _ in latest],
        "latest_by": [when for _, when in latest],
        "monies": [~at(name) for name in table.MONIES],
        "sketches": [~at(name) for name in table.SKETCHES],
        "breakdowns": [~at(name) for name in table.BREAKDOWNS],
        "counters": map(at, table.COUNTERS),
        "late_sums": map(at, table.LATE_SUMS),
        "moments": map(at, table.MOMENTS),
        "column": [by_shown[name] for name in table.COLUMN],
        "head": map(at, table.HEAD),
        "rest": map(at, table.REST),
        "added": [~at(figure.name) for figure in table.ADDED],
        "added_sorts": [_SORTS.index(figure.of if figure.of in _SORTS else figure.how.name) for figure in table.ADDED],
    }
    arrays = {name: list(values) for name, values in integers.items()}
    money_fields = _json_fields(["", *(table.BY_NAME[name].shown_as for name in table.MONIES)])[1:]
    return f'''"""Places of figures: {MADE}"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t

cdef enum:
{_enum(numbers)}
cdef enum:
{_enum(held)}
cdef enum:
    ADDED_MONEY, ADDED_SKETCH, ADDED_CLICKS, ADDED_ORDERS, ADDED_LABELS

cdef enum:
    NUMBERS = {len(numbers)}
    SUMS = {len(table.SUMMED)}    # the first of them
    HELD = {len(held)}
    TEXTS = {len(table.TEXTS)}    # the first of those
{"".join(f"    N_{name.upper()} = {len(values)}{chr(10)}" for name, values in arrays.items())}
cdef extern from *:
    """
{"".join(_c_array("int", f"{name}_at", map(str, values)) for name, values in arrays.items())}\
{_c_array("long long", "default_values", (str(table.DEFAULTS[name]) for name in numbers))}\
{_c_array("char* const", "counter_fields", _json_fields(table.COUNTERS))}\
{_c_array("char* const", "money_fields", money_fields)}    """
    # places of numbers; where there may be objects, too, theirs are inverted
{"".join(f"    const int {name}_at[{max(1, len(values))}]{chr(10)}" for name, values in arrays.items())}\
    const long long default_values[NUMBERS]
    const char* const counter_fields[{len(table.COUNTERS)}]
    const char* const money_fields[{len(money_fields)}]


cdef class Figures:
    cdef int64_t at[NUMBERS]
    cdef PyObject* held[HELD]      # NULL: None


cdef inline object held_by(Figures figures, int place):
    return None if figures.held[place] == NULL else <object>figures.held[place]


cdef inline void hold(Figures figures, int place, object it) noexcept:
    cdef PyObject* before = figures.held[place]
    if it is None:
        figures.held[place] = NULL
    else:
        Py_INCREF(it)
        figures.held[place] = <PyObject*>it
    Py_XDECREF(before)
'''


def _json_fields(names: Iterable[str]) -> list[str]:
    """Literals of C; Cython takes a backslash away."""
    quote = r'\\"'
    return [f'"{"," if place else ""}{quote}{name}{quote}:"' for place, name in enumerate(names)]


def _c_array(of: str, name: str, values: Iterable[str]) -> str:
    return f"    static const {of} {name}[] __attribute__((unused)) = {{{', '.join(values) or '0'}}};\n"


def _pyx(table: Any) -> str:
    numbers, held = _numbers(table), _held(table)
    names = (
        [_property(name, f"return self.at[{place}]", "int64_t value", f"self.at[{place}] = value")
         for place, name in enumerate(numbers)]
        + [_object(table, name, place) for place, name in enumerate(held)]
    )  # fmt: skip
    return f'''# cython: language_level=3
"""Figures as attributes, for Python: {MADE}"""

cimport cython
from cpython.ref cimport Py_XDECREF
from libc.string cimport memcpy

from stream.core.native.uniques cimport Uniques, to_change, uniques_of

from stream.core import figures as _figures

PLACES = {_places(table)!r}
"""By the names that results know; those of objects inverted."""

if _figures.layout() != {table.layout()!r}:
    raise ImportError("core/figures.py has changed since the native modules were built: build them anew (make does)")


@cython.no_gc
cdef class Figures:
    """Every figure of the table: whole numbers in ``at``, all else in ``held``."""

    def __cinit__(self):
        cdef int place
        memcpy(self.at, default_values, sizeof(self.at))
        for place in range(TEXTS):
            hold(self, place, "")

    def __dealloc__(self):
        cdef int place
        for place in range(HELD):
            Py_XDECREF(self.held[place])
{"".join(names)}'''


def _property(name: str, get: str, argument: str, put: str) -> str:
    return f"""
    @property
    def {name}(self):
        {get}

    @{name}.setter
    def {name}(self, {argument}):
        {put}
"""


def _object(table: Any, name: str, place: int) -> str:
    if name in table.MONIES:
        get = f"""if self.held[{place}] == NULL:
            hold(self, {place}, {{}})
        return <object>self.held[{place}]"""
        return _property(name, get, "dict value not None", f"hold(self, {place}, value)")
    if name in table.SKETCHES:
        return _property(
            name,
            f"return to_change(<Uniques>held_by(self, {place}))",
            "value",
            f"hold(self, {place}, uniques_of(value))",
        )
    types = {**dict.fromkeys(table.TEXTS, "str value not None"), "sources": "dict value"}
    return _property(name, f"return held_by(self, {place})", types.get(name, "value"), f"hold(self, {place}, value)")


if __name__ == "__main__":
    write()
