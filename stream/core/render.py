"""Figures as JSON: the values of live.session-windows and live.sessions, byte for byte a function of the figures.

Rounding is half-even from exact integers: ratios to 6 decimals, averages to 1, money to whole minor units. Sums
saturate at 2^63 - 1 before anything is derived from them.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from operator import attrgetter
from typing import Any, Final

import orjson

from stream.core.breakdown import Clicks, Label, Labels, Money, Orders, Sales
from stream.core.counts import COUNTERS, NEVER, Counts, estimate
from stream.core.figures import BY_NAME, MONIES, Shown
from stream.core.rates import DERIVED, RATES, Of, Rate
from stream.core.switch import NATIVE
from stream.model.events import HOST_NAMES
from stream.model.money import EXPONENTS, MAX_SUM, capped

natively: "Callable[[bytes, Counts, str, bool], bytes | None] | None" = None
if NATIVE:
    from stream.core.native.rendering import value_of as natively

UNIQUE_ERROR: Final = 0.015316
"""Relative standard error of the unique counts: ln(2) / sqrt(2^11)."""
LISTED: Final = 20
"""Elements of a ranked list before the rest is summed."""

Value = dict[str, Any]
_counters: Final = attrgetter(*COUNTERS)


def divide(numerator: int, denominator: int) -> int:
    """The quotient rounded half-even, of whole numbers; denominator > 0."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (twice > denominator or (twice == denominator and quotient % 2))


def ratio(numerator: int, denominator: int) -> float:
    """To 6 decimals."""
    return divide(numerator * 1_000_000, denominator) / 1_000_000 if numerator else 0.0


def money(amounts: Money) -> Money:
    if not amounts:
        return {}
    if len(amounts) > 1:
        return {currency: capped(amounts[currency]) for currency in sorted(amounts)}
    return {currency: capped(minor) for currency, minor in amounts.items()}


def counts_of(counts: Counts) -> dict[str, int]:
    values: tuple[int, ...] = _counters(counts)
    if max(values) > MAX_SUM:
        values = tuple(map(capped, values))
    return dict(zip(COUNTERS, values, strict=True))


_MONEY_NAMES: Final = tuple(BY_NAME[name].shown_as for name in MONIES)
_monies: Final = attrgetter(*MONIES)


def monies_of(counts: Counts) -> dict[str, Money]:
    return dict(zip(_MONEY_NAMES, map(money, _monies(counts)), strict=True))


def minor_digits(counts: Counts) -> dict[str, int]:
    """Digits of the minor unit of each currency in a record: 81900000 with 2 is Rp 819.000."""
    codes = {*chain.from_iterable(filter(None, _monies(counts)))}
    return {code: EXPONENTS[code] for code in sorted(codes) if code in EXPONENTS}


ENDED_AT: Final = BY_NAME["end_to"].shown_as


def ended_at(counts: Counts) -> int:
    """The host's last end, unless it has started again; `NEVER` without one."""
    return counts.end_to if counts.end_to > counts.start_to else NEVER


def lifecycle_of(counts: Counts) -> Value:
    """When the host started and ended it, as far as these events say."""
    times = {"started_at": counts.started_at, ENDED_AT: ended_at(counts)}
    return {name: time for name, time in times.items() if time != NEVER}


_DERIVED: Final = {row.name: row for row in DERIVED}
_SORTED: Final = {
    shown: sorted((rate for rate in RATES if rate.shown & shown), key=lambda rate: rate.name)
    for shown in (Shown.WINDOWS, Shown.SESSIONS)
}
"""The rates of windows and of sessions, in the order in which they are written."""


class _Operands:
    """What rates are of, by name: the figures as they are written, and what is derived from those."""

    __slots__ = ("counts", "monies", "numbers")

    def __init__(self, counts: Counts, numbers: Mapping[str, int], monies: Mapping[str, Money]) -> None:
        self.counts = counts
        self.numbers = numbers
        self.monies = monies

    def number(self, name: str) -> int:
        row = _DERIVED.get(name)
        if row is not None and row.first:
            until, since = self.first_known(row.plus), self.first_known(row.minus)
            return 0 if NEVER in (until, since) else until - since
        if row is not None:
            return capped(sum(map(self.number, row.plus)) - sum(map(self.number, row.minus)))
        return self.numbers[name]

    def first_known(self, names: tuple[str, ...]) -> int:
        """Of event times; `NEVER` when none is known."""
        times = (ended_at(self.counts) if name == ENDED_AT else getattr(self.counts, name) for name in names)
        return next((time for time in times if time != NEVER), NEVER)

    def money(self, name: str) -> Money:
        row = _DERIVED.get(name)
        if row is None:
            return self.monies[name]
        parts = [self.money(part) for part in row.plus]
        return {code: capped(sum(part.get(code, 0) for part in parts)) for code in sorted({*chain(*parts)})}


def rates_of(operands: _Operands, currency: str, shown: Shown) -> Value:
    """All rates that have a denominator, by name in sorted order."""
    found = ((rate.name, _WRITTEN[rate.of](operands, rate, currency)) for rate in _SORTED[shown])
    return {name: value for name, value in found if value is not None}


def _of_counts(operands: _Operands, rate: Rate, _: str) -> float | None:
    under = operands.number(rate.under)
    return ratio(operands.number(rate.over), under) if under >= rate.least else None


def _of_money(operands: _Operands, rate: Rate, _: str) -> Money | None:
    over = operands.money(rate.over)
    under = operands.number(rate.under) if over else 0
    if under < rate.least:
        return None
    return {code: capped(divide(rate.scale * minor, under)) for code, minor in over.items()}


def _share(operands: _Operands, rate: Rate, currency: str) -> float | None:
    under = operands.money(rate.under).get(currency, 0)
    return ratio(operands.money(rate.over).get(currency, 0), under) if under >= rate.least else None


def _shares(operands: _Operands, rate: Rate, _: str) -> dict[str, float] | None:
    over = operands.money(rate.over)
    parts = operands.money(rate.under).items()
    return {code: ratio(over.get(code, 0), under) for code, under in parts if under >= rate.least} or None


_WRITTEN: Final[Mapping[Of, Callable[[_Operands, Rate, str], object]]] = {
    Of.COUNTS: _of_counts,
    Of.MONEY: _of_money,
    Of.SHARE: _share,
    Of.SHARES: _shares,
}


def by_source(counts: Counts) -> Value:
    """A source appears when one of its figures is not 0."""
    sources = counts.sources or {}
    return {
        name: {
            "views": capped(source.views),
            "product_clicks": capped(source.clicks),
            "orders_paid": capped(source.orders),
            "gmv_minor": money(source.gmv),
        }
        for name, source in sorted(sources.items())
        if source.views or source.clicks or source.orders or any(source.gmv.values())
    }


def ranked(
    clicks: Clicks | None,
    orders: Orders | None,
    currency: str,
    id_name: str,
    money_name: str,
    *,
    labels: Labels | None = None,
    **others: Clicks | None,
) -> list[Value]:
    """By money in ``currency`` descending, clicks descending, id ascending; then the rest, then the unnamed.

    ``others`` by their names: what else is counted of the same ids, and does not rank them. No more do ``labels``.
    """
    if clicks is None and orders is None:
        return []
    clicks = clicks or Clicks()
    orders = orders or Orders()
    more = [(name, figures or Clicks()) for name, figures in others.items()]
    called: Mapping[str, Label] = {} if labels is None else labels.named
    rows = _rows(clicks.named, orders.named, currency)
    rows.sort()  # ids differ, so that no two sales are compared
    listed: list[Value] = [
        {
            id_name: id_,
            **_labelled(called.get(id_)),
            "product_clicks": -number,
            "orders_paid": capped(sales.orders),
            money_name: money(sales.money) if sales.money else {},
            **{name: capped(figures.named.get(id_, 0)) for name, figures in more},
        }
        for _, number, id_, sales in rows[:LISTED]
    ]
    if rows[LISTED:]:
        rest = Sales()
        for _, _, _, sales in rows[LISTED:]:
            rest.add(sales.orders, sales.money)
        number, *numbers = (
            sum(each.named.get(row[2], 0) for row in rows[LISTED:]) for each in (clicks, *(each for _, each in more))
        )
        sums = dict(zip(others, numbers, strict=True))
        listed.append(_sum({"rest": len(rows) - LISTED}, number, rest, money_name, sums))
    beyond = {name: figures.beyond for name, figures in more}
    if clicks.beyond or orders.beyond.orders or any(beyond.values()):
        listed.append(_sum({"unnamed": True}, clicks.beyond, orders.beyond, money_name, beyond))
    return listed


def _labelled(label: Label | None) -> Value:
    """What is not known is absent."""
    if label is None:
        return {}
    fields: Value = {"product_name": label.name, "basket_number": label.number}
    return {name: value for name, value in fields.items() if value}


_NO_SALES: Final = Sales()


def _rows(clicked: Mapping[str, int], sold: Mapping[str, Sales], currency: str) -> list[tuple[int, int, str, Sales]]:
    """(-money, -clicks, id, sales) of each id."""
    rows = [
        (
            0 if (sales := sold.get(id_, _NO_SALES)) is _NO_SALES else -capped(sales.money.get(currency, 0)),
            -capped(number),
            id_,
            sales,
        )
        for id_, number in clicked.items()
    ]
    rows += [
        (-capped(sales.money.get(currency, 0)), 0, id_, sales) for id_, sales in sold.items() if id_ not in clicked
    ]
    return rows


def _sum(head: Value, clicks: int, sales: Sales, money_name: str, others: Mapping[str, int]) -> Value:
    figures = {"product_clicks": capped(clicks), "orders_paid": capped(sales.orders), money_name: money(sales.money)}
    return {**head, **figures, **{name: capped(number) for name, number in others.items()}}


def labels_of(counts: Counts) -> Value:
    labels = {"seller_id": counts.seller, "creator_id": counts.creator, "platform": counts.platform}
    return {name: text for name, text in labels.items() if text} | host_names_of(counts)


def host_names_of(counts: Counts) -> dict[str, str]:
    """What starts have said, for display; a field of which none has said anything is absent."""
    said = counts.host_names
    return {} if said is None else {field: said.named[field].name for field in HOST_NAMES if field in said.named}


def figures_of(counts: Counts, currency: str, shown: Shown = Shown.WINDOWS) -> Value:
    """Everything a window or a session shows, from ``counts`` on."""
    numbers, monies = counts_of(counts), monies_of(counts)
    value: Value = {"counts": numbers, **monies}
    if counts.samples:
        value["concurrent_last"] = counts.last
        value["concurrent_peak"] = counts.peak
        value["concurrent_avg"] = divide(10 * capped(counts.sample_sum), capped(counts.samples)) / 10
    value["unique_viewers"] = estimate(counts.viewers)
    value["unique_buyers"] = estimate(counts.buyers)
    value["unique_error"] = UNIQUE_ERROR
    value["rates"] = rates_of(_Operands(counts, numbers, monies), currency, shown)
    value["by_source"] = by_source(counts)
    value["by_affiliate"] = ranked(
        counts.affiliate_clicks, counts.affiliate_orders, currency, "affiliate_id", "gmv_minor"
    )
    clicks, orders, pins = counts.product_clicks_by, counts.product_orders, counts.product_pins
    value["products"] = ranked(
        clicks, orders, currency, "product_id", "item_value_minor", labels=counts.product_labels, pins=pins
    )
    if counts.incomplete:
        value["incomplete"] = True
    return value


def window_value(session_id: str, counts: Counts, currency: str, head: Value) -> bytes:
    """``head``: run, generation, window, start, end, revision, reason."""
    return _value_of(_head(session_id, counts, head), counts, currency, Shown.WINDOWS)


def session_value(session_id: str, counts: Counts, currency: str, head: Value) -> bytes:
    """``head``: run, generation, revision, status."""
    value = _head(session_id, counts, head)
    if counts.last_event != NEVER:
        value["first_event"], value["last_event"] = counts.first_event, counts.last_event
    return _value_of(value, counts, currency, Shown.SESSIONS)


def _head(session_id: str, counts: Counts, head: Value) -> Value:
    value: Value = {"session_id": session_id, **labels_of(counts), **lifecycle_of(counts), **head}
    if digits := minor_digits(counts):
        value["minor_digits"] = digits
    return value


def _value_of(head: Value, counts: Counts, currency: str, shown: Shown) -> bytes:
    value = None if natively is None else natively(orjson.dumps(head), counts, currency, shown is Shown.SESSIONS)
    return in_python(head, counts, currency, shown) if value is None else value


def in_python(head: Value, counts: Counts, currency: str, shown: Shown = Shown.WINDOWS) -> bytes:
    """What native/rendering.pyx writes too, where it is built."""
    return orjson.dumps({**head, **figures_of(counts, currency, shown)})
