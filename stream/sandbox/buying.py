"""Simulated checkouts: begun, submitted, paid or failed and tried again; cash on delivery; later cancels, refunds."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from stream.model.messages import Message
from stream.model.names import Kind
from stream.sandbox import catalog
from stream.sandbox.broadcast import Broadcast, Environment, Visit
from stream.sandbox.catalog import Product

COD: Final = 0.3
ABANDONED: Final = 0.2
FAILS: Final = 0.07
FAILS_IN_OUTAGE: Final = 0.95
TRIES_AGAIN: Final = 0.6
MOST_ATTEMPTS: Final = 3
COLLECTED: Final = 0.5
CANCELLED: Final = {True: 0.08, False: 0.03}
"""By whether it is paid on delivery."""
REFUNDED: Final = 0.02
RESENT: Final = 0.02
"""Share of messages that a shop sends again under a new event id, besides exact repeats."""


@dataclass(slots=True)
class Order:
    """One checkout on its way. ``words`` are the JSON fields that all its messages share."""

    broadcast: Broadcast
    visit: Visit
    checkout_id: str
    words: str
    cod: bool
    attempt: int = 0


class Buying:
    """Makes the messages of checkouts; what comes later is handed to the simulation's heap."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._begun = 0

    def begin(self, broadcast: Broadcast, at: int) -> Message:
        """Somebody who clicked puts goods into a checkout."""
        rng = self._environment.rng
        visit, product = broadcast.buyer()
        cod = rng.random() < COD
        event_id = self._environment.event_id()
        order = Order(broadcast, visit, f"k{event_id}", _words(rng, broadcast, product, event_id, cod=cod), cod)
        if cod:
            self._cash_on_delivery(order, at)
        elif rng.random() >= ABANDONED:
            self._after(at, 2_000, 15_000, lambda now: self._submit(order, now))
        return self._message(order, "initiated", at)

    def _cash_on_delivery(self, order: Order, at: int) -> None:
        """The courier's ``paid`` comes after days; here sooner, so that it is seen."""
        luck = self._environment.rng.random()
        if luck < COLLECTED:
            self._after(at, 5_000, 120_000, lambda now: self._message(order, "paid", now))
        elif luck < COLLECTED + CANCELLED[True]:
            self._after(at, 5_000, 600_000, lambda now: self._message(order, "cancelled", now))

    def _submit(self, order: Order, at: int) -> Message:
        self._after(at, 1_000, 8_000, lambda now: self._pay(order, now))
        return self._message(order, "submitted", at)

    def _pay(self, order: Order, at: int) -> Message:
        rng = self._environment.rng
        outage = self._environment.in_outage(at)
        if rng.random() < (FAILS_IN_OUTAGE if outage else FAILS):
            code = rng.choice(catalog.OUTAGE_FAILURES if outage else catalog.FAILURES)
            message = self._message(order, "failed", at, f',"failure_code":"{code}"')
            if rng.random() < TRIES_AGAIN and order.attempt < MOST_ATTEMPTS:
                order.attempt += 1
                self._after(at, 4_000, 15_000, lambda now: self._pay(order, now))
            return message
        luck = rng.random()
        if luck < CANCELLED[False] + REFUNDED:
            status = "cancelled" if luck < CANCELLED[False] else "refunded"
            self._after(at, 5_000, 900_000, lambda now: self._message(order, status, now))
        return self._message(order, "paid", at)

    def _message(self, order: Order, status: str, at: int, more: str = "") -> Message:
        event_id = self._environment.event_id()
        t = self._environment.delayed(at)
        fields = f"{order.broadcast.common},{order.visit.words},{order.words}"
        rest = f'"event_time":{t},{fields},"status":"{status}","attempt":{order.attempt}{more}}}'
        message = Message(at, Kind.CHECKOUTS, order.broadcast.key, f'{{"event_id":"{event_id}",{rest}'.encode(), t)
        if self._environment.rng.random() < RESENT:
            again = f'{{"event_id":"r{event_id}",{rest}'.encode()
            self._after(at, 500, 30_000, lambda now: message._replace(at=now, value=again))
        return message

    def _after(self, at: int, low: int, high: int, happen: Callable[[int], Message | None]) -> None:
        """After low to high ms, the short ones more often: each factor of two is as likely as the next."""
        self._environment.later(at + int(low * (high / low) ** self._environment.rng.random()), happen)


def _words(rng: Random, broadcast: Broadcast, product: Product, event_id: str, *, cod: bool) -> str:
    """Goods, amount and payment. A voucher takes up to a fifth off what the goods cost."""
    goods = {product.product_id: product}
    while rng.random() < 0.25:  # noqa: PLR2004
        extra = rng.choice(broadcast.host.products)
        goods[extra.product_id] = extra
    items, total = [], 0
    for each in goods.values():
        quantity = rng.choices((1, 2, 3, 5), weights=(80, 13, 5, 2))[0]
        total += quantity * each.price_minor
        local = "" if each.local is None else f',"local":{str(each.local).lower()}'
        items.append(
            f'{{"product_id":"{each.product_id}","quantity":{quantity},"unit_price_minor":{each.price_minor}{local}}}'
        )
    off = rng.choice((0, 0, 0, 5, 10, 20))
    amount = total * (100 - off) // 100
    discount = f',"discount_minor":{total - amount},"voucher_id":"LIVE{off}"' if off else ""
    method = "cod" if cod else catalog.pick(rng, catalog.PAYMENTS)
    return (
        f'"checkout_id":"k{event_id}","order_id":"o{event_id}","amount_minor":{amount},"currency":"IDR"'
        f',"items":[{",".join(items)}],"payment_method":"{method}","is_cod":{str(cod).lower()}{discount}'
    )
