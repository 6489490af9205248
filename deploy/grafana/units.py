"""Numbers with their units, as a picture shows them: near enough to Grafana's."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final

THREE: Final = 3
_PLAIN: Final = ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " K"))
_MONEY: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
_BYTES: Final = ((2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"))
_SECONDS: Final = ((86400.0, " d"), (3600.0, " h"), (60.0, " min"), (1.0, " s"), (1e-3, " ms"), (1e-6, " µs"))
_SIGNS: Final = {"currencyIDR": "Rp", "currencyUSD": "$", "currencyEUR": "€"}


def digits(value: float, decimals: int | None = None) -> str:
    """Three that count, and no zeros behind the point that say nothing."""
    if decimals is not None:
        return f"{value:.{decimals}f}"
    before = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    text = f"{value:.{max(0, THREE - before)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(value: float, scale: Sequence[tuple[float, str]], decimals: int | None, smallest: str = "") -> str:
    for size, name in scale:
        if abs(value) >= size:
            return digits(value / size, None if decimals is None else max(decimals, 1)) + name
    return digits(value, decimals) + smallest


def _date(value: float, _: int | None) -> str:
    return dt.datetime.fromtimestamp(value / 1000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


_FORMATS: Final[dict[str, Callable[[float, int | None], str]]] = {
    "short": lambda value, decimals: _scaled(value, _PLAIN, decimals),
    "percentunit": lambda value, decimals: digits(100 * value, decimals) + " %",
    "s": lambda value, decimals: "0 s" if value == 0 else _scaled(value, _SECONDS, decimals, " s"),
    "bytes": lambda value, decimals: _scaled(value, _BYTES, decimals, " B"),
    "cps": lambda value, decimals: _scaled(value, _PLAIN, decimals) + "/s",
    "eps": lambda value, decimals: _scaled(value, _PLAIN, decimals) + "/s",
    "cpm": lambda value, decimals: _scaled(value, _PLAIN, decimals) + "/min",
    "dateTimeAsIso": _date,
}


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """KeyError for a unit that is not known here."""
    if unit.startswith("currency"):
        return _SIGNS.get(unit, unit.removeprefix("currency") + " ") + _scaled(value, _MONEY, decimals)
    return _FORMATS[unit](value, decimals)
