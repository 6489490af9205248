"""One simulated live session: who is in it, and the messages of what they do."""

import json
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from stream.model.events import START
from stream.model.messages import Message
from stream.model.names import Kind
from stream.sandbox.catalog import CODES, GIFTS, Host, Product, title

RAMP_MS: Final = 60_000
CAPACITY: Final = 400
"""Visitors remembered in one broadcast; who comes when it is full makes one vanish without a word."""

(_IMPRESSION, _HEARTBEAT, _ENTER, _LEAVE) = (CODES[name] for name in ("impression", "heartbeat", "enter", "leave"))
(_SHOWN, _COMMENT, _CLICK, _LIKE) = (CODES[name] for name in ("product_impression", "comment", "product_click", "like"))
(_CART, _CHECKOUT, _GIFT, _PIN) = (CODES[name] for name in ("add_to_cart", "checkout", "gift", "pin"))
_NAMES: Final = list(CODES)


def _id(product: Product) -> str:
    return f',"product_id":"{product.product_id}"'


def _called(product: Product) -> str:
    """As pins and clicks say it."""
    return f'{_id(product)},"product_name":"{product.name}","basket_number":{product.number}'


class Visit:
    """One viewer in one broadcast. ``words`` are the JSON fields that every event of theirs carries."""

    __slots__ = ("seen", "words")

    def __init__(self, words: str) -> None:
        self.words = words
        self.seen = 0


class Environment(Protocol):
    """What broadcasts and checkouts need of the simulation around them."""

    rng: Random

    def event_id(self) -> str: ...
    def visitor(self) -> Visit: ...
    def comment(self) -> str: ...
    def delayed(self, at: int) -> int: ...
    def in_outage(self, at: int) -> bool: ...
    def later(self, at: int, happen: Callable[[int], Message | None]) -> None: ...


class Broadcast:
    """State of one session. ``happen`` turns an action code into a message."""

    __slots__ = (
        "_begin",
        "_clicks",
        "_environment",
        "_factor",
        "_host_visit",
        "_pinned",
        "_present",
        "_surge",
        "_title",
        "common",
        "host",
        "key",
        "table",
    )

    def __init__(self, environment: Environment, session_id: str, host: Host, begin: int) -> None:
        creator = f',"creator_id":"{host.creator_id}"' if host.creator_id else ""
        self.common = (
            f'"session_id":"{session_id}","seller_id":"{host.seller_id}"{creator},"platform":"{host.platform}"'
        )
        self.key = session_id.encode()
        self.table = host.table
        self.host = host
        self._title = title(session_id, host)
        self._environment = environment
        self._begin = begin
        self._surge = 0
        self._factor = 1.0
        self._pinned = host.products[0]
        self._host_visit = Visit(f'"viewer_id":"host-{host.creator_id or host.seller_id}"')
        self._present = [environment.visitor() for _ in range(1 + int(20 * host.audience))]
        self._clicks: list[tuple[Visit, Product]] = []

    def lifecycle(self, at: int, action: str) -> Message:
        """The host starts or ends the broadcast: it has begun or is over when the message comes."""
        names = {"title": self._title, "seller_name": self.host.seller_name, "creator_name": self.host.creator_name}
        said = {name: text for name, text in names.items() if text} if action == START else {}
        more = "".join(f',"{name}":{json.dumps(text, ensure_ascii=False)}' for name, text in said.items())
        return self._view(at, at, self._host_visit, action, more)

    def weight(self, now: int) -> float:
        """How much happens here, against other broadcasts. Called once a second; surges begin and end here."""
        rng = self._environment.rng
        if now >= self._surge:
            self._factor = 1.0
            if rng.random() < 1 / 300:
                self._factor = rng.uniform(3, 10)
                self._surge = now + rng.randint(20_000, 60_000)
        ramp = min(1.0, 0.2 + 0.8 * (now - self._begin) / RAMP_MS)
        return self.host.audience * ramp * self._factor

    def happen(self, action: int, at: int, t: int) -> Message | None:
        """The message of one action that arrives at ``at`` and happened at ``t``; None when a checkout begins."""
        if action == _IMPRESSION:
            return self._view(at, t, self._environment.visitor(), "impression")
        if action == _ENTER:
            return self._view(at, t, self._enter(at), "enter")
        present = self._present
        index = int(self._environment.rng.random() * len(present))
        visit = present[index]
        if action in (_HEARTBEAT, _LEAVE):
            return self._stay_or_leave(action, at, t, index)
        if action == _COMMENT:
            return self._comment(at, t, visit)
        if action == _CHECKOUT and self._clicks:
            return None
        if action in (_SHOWN, _CLICK, _CART, _CHECKOUT):
            return self._product(_CLICK if action == _CHECKOUT else action, at, t, visit)
        if action == _LIKE:
            return self._view(at, t, visit, "like", f',"count":{1 + int(self._environment.rng.random() ** 3 * 40)}')
        if action == _GIFT:
            return self._gift(at, t, visit)
        if action == _PIN:
            return self._pin_another(at, t)
        return self._view(at, t, visit, _NAMES[action])

    def buyer(self) -> tuple[Visit, Product]:
        """Somebody who clicked on something here, and does not do so again."""
        clicks = self._clicks
        return clicks.pop(int(self._environment.rng.random() * len(clicks)))

    def _view(self, at: int, t: int, visit: Visit, action: str, more: str = "") -> Message:
        words = f'{self.common},{visit.words},"action":"{action}"{more}'
        value = f'{{"event_id":"{self._environment.event_id()}","event_time":{t},{words}}}'
        return Message(at, Kind.VIEWS, self.key, value.encode(), t)

    def _enter(self, at: int) -> Visit:
        visit = self._environment.visitor()
        visit.seen = at
        if len(self._present) < CAPACITY:
            self._present.append(visit)
        else:
            self._present[int(self._environment.rng.random() * CAPACITY)] = visit
        return visit

    def _stay_or_leave(self, action: int, at: int, t: int, index: int) -> Message:
        present = self._present
        visit = present[index]
        watched = min(at - visit.seen, 600_000) if visit.seen else 0
        visit.seen = at
        more = f',"watch_ms":{watched},"concurrent_viewers":{len(present) * 7}'
        if action == _HEARTBEAT or len(present) == 1:
            return self._view(at, t, visit, "heartbeat", more)
        present[index] = present[-1]
        present.pop()
        return self._view(at, t, visit, "leave", more)

    def _product(self, action: int, at: int, t: int, visit: Visit) -> Message:
        rng = self._environment.rng
        product = self._pinned if rng.random() < 0.7 else rng.choice(self.host.products)  # noqa: PLR2004
        if action == _CLICK:
            self._clicks.append((visit, product))
            if len(self._clicks) > CAPACITY:
                del self._clicks[0 : CAPACITY // 2]
        return self._view(at, t, visit, _NAMES[action], _called(product) if action == _CLICK else _id(product))

    def _gift(self, at: int, t: int, visit: Visit) -> Message:
        rng = self._environment.rng
        number = 1 + int(rng.random() ** 3 * 20)
        return self._view(at, t, visit, "gift", f',"count":{number},"gift_value":{number * rng.choice(GIFTS)}')

    def _pin_another(self, at: int, t: int) -> Message:
        """The host takes down what is pinned, and pins something else soon."""
        before, self._pinned = self._pinned, self._environment.rng.choice(self.host.products)
        pinned = self._pinned
        self._environment.later(at + 2_000, lambda now: self._pin(now, self._environment.delayed(now), "pin", pinned))
        return self._pin(at, t, "unpin", before)

    def _pin(self, at: int, t: int, action: str, product: Product) -> Message:
        return self._view(at, t, self._host_visit, action, _called(product))

    def _comment(self, at: int, t: int, visit: Visit) -> Message:
        event_id = self._environment.event_id()
        value = (
            f'{{"event_id":"{event_id}","event_time":{t},{self.common},{visit.words},"comment_id":"m{event_id}"'
            f',"text":{self._environment.comment()},"language":"id"}}'
        )
        return Message(at, Kind.COMMENTS, self.key, value.encode(), t)
