"""Results as Parquet, one row a window, session or alert: written by DuckDB, which is asked for only here.

The columns are those of the JSON, from the tables of core/figures.py and core/rates.py. Maps by currency, source or figure
are maps; all else that is nested is a struct or a list of them.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from stream.core.figures import BY_NAME, COUNTERS, MONIES, Shown
from stream.core.rates import RATES, Of
from stream.errors import FailedError, UsageError
from stream.model.names import ALERTS, SESSION_WINDOWS, SESSIONS

NEEDED: Final = (
    "Parquet files are written by DuckDB: pip install 'liveshop[parquet]', or leave them out with --no-parquet"
)
TEXT, WHOLE, REAL, YES = "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN"
MONEY: Final = f"MAP({TEXT}, {WHOLE})"
_RATES: Final = {Of.COUNTS: REAL, Of.MONEY: MONEY, Of.SHARE: REAL, Of.SHARES: f"MAP({TEXT}, {REAL})"}
_ORDERS: Final = {"product_clicks": WHOLE, "orders_paid": WHOLE}
LONGEST: Final = 8_000_000
"""Bytes of a value: more than any record has."""
_SUMS: Final = {"rest": WHOLE, "unnamed": YES}


def struct(fields: Mapping[str, str]) -> str:
    """A type of DuckDB."""
    return f"STRUCT({', '.join(f'{name} {type_}' for name, type_ in fields.items())})"


def _figures(shown: Shown) -> dict[str, str]:
    rates = {rate.name: _RATES[rate.of] for rate in RATES if rate.shown & shown}
    products = {"product_id": TEXT, "product_name": TEXT, "basket_number": WHOLE, **_ORDERS, "item_value_minor": MONEY}
    return {
        "minor_digits": MONEY,
        "counts": struct(dict.fromkeys(COUNTERS, WHOLE)),
        **dict.fromkeys((BY_NAME[name].shown_as for name in MONIES), MONEY),
        "concurrent_last": WHOLE,
        "concurrent_peak": WHOLE,
        "concurrent_avg": REAL,
        "unique_viewers": WHOLE,
        "unique_buyers": WHOLE,
        "unique_error": REAL,
        "rates": struct(rates),
        "by_source": f"MAP({TEXT}, {struct({'views': WHOLE, **_ORDERS, 'gmv_minor': MONEY})})",
        "by_affiliate": f"{struct({'affiliate_id': TEXT, **_ORDERS, 'gmv_minor': MONEY, **_SUMS})}[]",
        "products": f"{struct({**products, 'pins': WHOLE, **_SUMS})}[]",
        "incomplete": YES,
    }


_LABELS: Final = {
    "session_id": TEXT,
    "seller_id": TEXT,
    "creator_id": TEXT,
    "platform": TEXT,
    **dict.fromkeys(BY_NAME["host_names"].shown_as.split(", "), TEXT),
    "started_at": WHOLE,
    "ended_at": WHOLE,
    "run": TEXT,
    "generation": WHOLE,
    "revision": WHOLE,
}
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    SESSION_WINDOWS: {
        **_LABELS,
        "window": TEXT,
        "start": WHOLE,
        "end": WHOLE,
        "reason": TEXT,
        **_figures(Shown.WINDOWS),
    },
    SESSIONS: {
        **_LABELS,
        "status": TEXT,
        "first_event": WHOLE,
        "last_event": WHOLE,
        **_figures(Shown.SESSIONS),
    },
    ALERTS: {
        "alert": TEXT,
        "session_id": TEXT,
        "seller_id": TEXT,
        "status": TEXT,
        "severity": TEXT,
        "since": WHOLE,
        "at": WHOLE,
        "run": TEXT,
        "summary": TEXT,
        "runbook": TEXT,
        "values": f"MAP({TEXT}, {REAL})",
        "minor_digits": MONEY,
        "id": TEXT,
        "idle": YES,
    },
}
"""By topic."""


def require() -> None:
    """Raises UsageError, which names the way out, where DuckDB is not installed."""
    try:
        import_module("duckdb")
    except ImportError:
        raise UsageError(NEEDED) from None


def write(topic: str, lines: Path, target: Path) -> None:
    """Makes a Parquet file of a topic's values, a line each. Raises FailedError when it cannot be written."""
    duckdb: Any = import_module("duckdb")
    options = {"format": "newline_delimited", "columns": dict(COLUMNS[topic]), "maximum_object_size": LONGEST}
    try:
        with duckdb.connect() as connection:
            connection.read_json(str(lines), **options).write_parquet(str(target), compression="zstd", overwrite=True)
    except duckdb.Error as error:
        raise FailedError(f"{target}: cannot be written: {error}") from None
