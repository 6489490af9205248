"""What a replay counted beside what was counted live: window by window, session by session. Pure.

Two results are equal when all they say is equal but for who wrote them, when and why (`NOT_COMPARED`): the fields that
recounts leave out, too.
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from stream.replay.results import Head, LastResults, Result

NOT_COMPARED: Final = frozenset({"run", "revision", "generation", "reason", "status"})
SESSIONS: Final = "sessions"
"""What totals are called where windows have their own names. No window is named so: those are lengths."""
TOP: Final = 20
"""Differences that are kept unless told otherwise."""
_IDS: Final = ("affiliate_id", "product_id", "number")
"""What elements of a list are known by."""
_SUMS: Final = ("rest", "unnamed")
"""Elements that stand for many."""
_AMOUNTS: Final = frozenset({"watch_ms", "gift_value"})
"""Counts that are not numbers of events: they do not say how large a difference is."""

_ADDED: Final = re.compile(r"\Acounts\.|_minor\.[A-Z]{3}\Z")
"""Paths of what is added up from events."""

Leaf = int | float | str | bool | None
"""Of JSON. None: it is not there."""
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Verdict(StrEnum):
    """What became of a window or of the totals of a session."""

    EQUAL = "equal"
    CHANGED = "changed"
    ONLY_LIVE = "only_live"
    ONLY_REPLAY = "only_replay"
    LIVE_EXPIRED = "live_expired"
    """Only the replay has it, and retention has deleted what was written live at that time."""
    PARTIAL = "partial"
    """Totals of a session of which the range has only a part: they are not compared."""


DIFFERS: Final = (Verdict.CHANGED, Verdict.ONLY_LIVE, Verdict.ONLY_REPLAY)


class Change(msgspec.Struct, frozen=True):
    """One value that differs, by its path: ``counts.orders_paid``, ``products[p4].orders_paid``."""

    name: str
    live: Leaf = None
    replay: Leaf = None
    difference: int | float | None = None
    """What the replay has more; None where there are no two numbers."""


class Difference(msgspec.Struct, frozen=True, order=False):
    """One window, or the totals of a session. Times are ms since 1970, UTC; totals have the session's own."""

    session_id: str
    window: str
    start: int
    end: int
    verdict: Verdict
    events: int
    """By how many events its counts differ, all of them added up."""
    changes: list[Change]

    @property
    def _rank(self) -> tuple[int, int, str, str, int]:
        return self.events, len(self.changes), self.session_id, self.window, self.start

    def __lt__(self, other: "Difference") -> bool:
        return self._rank < other._rank


def leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Leaf]]:
    """All that a result says, by path. Elements of lists are named by their ids, not by their places."""
    for name, each in value.items():
        yield from _leaves(each, f"{path}.{name}" if path else name)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, dict):
        yield from leaves(value, path)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(each, f"{path}[{_name_of(each, number)}]")
    else:
        yield path, value


def _name_of(element: Any, number: int) -> object:
    if not isinstance(element, dict):
        return number
    named = next((element[name] for name in _IDS if name in element), None)
    return named if named is not None else next((name for name in _SUMS if name in element), number)


def changes(live: Mapping[str, Any], replay: Mapping[str, Any]) -> list[Change]:
    """Every leaf that is not the same, in the order of the live result."""
    before, after = _compared(live), _compared(replay)
    if before == after:
        return []
    old, new = dict(leaves(before)), dict(leaves(after))
    return [_change(name, old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)]


def _compared(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in NOT_COMPARED}


def _change(name: str, live: Leaf, replay: Leaf) -> Change:
    if _ADDED.search(name):  # an amount of which there is none is not written
        live, replay = live or 0, replay or 0
    if isinstance(live, str | bool | None) or isinstance(replay, str | bool | None):
        return Change(name, live, replay)
    return Change(name, live, replay, round(replay - live, 6))


def is_partial(from_ms: int, to_ms: int, heads: Iterable[Head]) -> bool:
    """Whether an end of the range cuts a session, as its live totals or those of the replay say. Also one of which nobody
    can say it: cancels and refunds alone have no time.
    """
    return any(head.last_event < 0 or head.first_event < from_ms or head.last_event >= to_ms for head in heads)


Sums = dict[str, tuple[int, int]]
"""By path: what all live results have, and all of the replay."""


class Comparison:
    """Adds up a comparison, partition by partition. Only the ``top`` largest differences are kept.

    ``max_future_ms``: by how much an event may be ahead of the broker's clock.
    """

    def __init__(self, from_ms: int, to_ms: int, max_future_ms: int, top: int = TOP) -> None:
        self.from_ms = from_ms
        self.to_ms = to_ms
        self.tallies: defaultdict[str, Counter[Verdict]] = defaultdict(Counter)
        """By name of the window, or `SESSIONS`."""
        self.sums: defaultdict[str, Sums] = defaultdict(dict)
        """By the same: of all that was compared, the counts and the GMV that differ or not."""
        self.incomplete: Counter[str] = Counter()
        """Results of the replay that say themselves that input was lost, by the same."""
        self.strays = 0
        self._max_future_ms = max_future_ms
        self._top = top
        self._largest: list[Difference] = []

    def add(self, live: LastResults, replay: LastResults) -> None:
        """All windows of a partition, or all totals."""
        self.strays += live.strays + replay.strays
        for key in live.results.keys() | replay.results.keys():
            self._add(live.results.get(key), replay.results.get(key), live.kept_from)

    def _add(self, live: Result | None, replay: Result | None, kept_from: int | None) -> None:
        heads = [each.head for each in (live, replay) if each is not None]
        name = heads[0].window or SESSIONS
        if not heads[0].window and is_partial(self.from_ms, self.to_ms, heads):
            self.tallies[name][Verdict.PARTIAL] += 1
            return
        if live is None and self._expired(heads[0], kept_from):
            self.tallies[name][Verdict.LIVE_EXPIRED] += 1
            return
        before, after = ({} if each is None else _decode(each.value) for each in (live, replay))
        self.incomplete[name] += bool(after.get("incomplete"))
        self._sum(name, before, after)
        if live is None or replay is None:
            verdict = Verdict.ONLY_REPLAY if live is None else Verdict.ONLY_LIVE
            found = changes(_added(before), _added(after))
        else:
            found = changes(before, after)
            verdict = Verdict.CHANGED if found else Verdict.EQUAL
        self.tallies[name][verdict] += 1
        if verdict is not Verdict.EQUAL:
            self._keep(heads[0], verdict, found)

    def _expired(self, head: Head, kept_from: int | None) -> bool:
        """No result is written before its last event, so what ends after the oldest record would still be there."""
        end = head.end if head.window else head.last_event
        return kept_from is not None and end - self._max_future_ms < kept_from

    def _sum(self, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        sums = self.sums[name]
        for place, value in enumerate((before, after)):
            for path, number in leaves(_added(value)):
                if isinstance(number, int):
                    both = sums.get(path, (0, 0))
                    sums[path] = (both[0] + number, both[1]) if place == 0 else (both[0], both[1] + number)

    def _keep(self, head: Head, verdict: Verdict, found: list[Change]) -> None:
        start, end = (head.start, head.end) if head.window else (head.first_event, head.last_event)
        events = sum(_events(change) for change in found)
        heapq.heappush(self._largest, Difference(head.session_id, head.window, start, end, verdict, events, found))
        if len(self._largest) > self._top:
            heapq.heappop(self._largest)

    @property
    def largest(self) -> list[Difference]:
        """Largest first."""
        return sorted(self._largest, reverse=True)

    @property
    def compared(self) -> int:
        """Windows and totals of which both sides could be known."""
        return sum(self._number(verdict) for verdict in (Verdict.EQUAL, *DIFFERS))

    @property
    def differing(self) -> int:
        return sum(self._number(verdict) for verdict in DIFFERS)

    def _number(self, verdict: Verdict) -> int:
        return sum(tally[verdict] for tally in self.tallies.values())

    @property
    def equal(self) -> bool:
        """Something was compared, or nothing was there on either side; and nothing differs."""
        return not self.differing and (bool(self.compared) or not self._number(Verdict.LIVE_EXPIRED))


def _added(value: Mapping[str, Any]) -> dict[str, Any]:
    """Of a result what all events add up to: that of one that is not there is 0."""
    numbers = {name: number for name, number in value.get("counts", {}).items() if number}
    return {"counts": numbers, "gmv_minor": value.get("gmv_minor", {})}


def _events(change: Change) -> int:
    kind, _, name = change.name.partition(".")
    if kind != "counts" or name in _AMOUNTS:
        return 0
    live, replay = (each if isinstance(each, int) else 0 for each in (change.live, change.replay))
    return abs(replay - live)


def plain(found: Comparison) -> dict[str, Any]:
    """As JSON has it: see schemas/replay-diff."""
    names = sorted(found.tallies, key=lambda name: (name != SESSIONS, name))
    return {
        "from": found.from_ms,
        "to": found.to_ms,
        "equal": found.equal,
        "compared": {name: {str(each): found.tallies[name][each] for each in Verdict} for name in names},
        "incomplete": {name: found.incomplete[name] for name in names},
        "sums": {name: [_plain_sum(path, *both) for path, both in _differing(found.sums[name])] for name in names},
        "largest": [msgspec.to_builtins(each) for each in found.largest],
        "strays": found.strays,
    }


def _differing(sums: Sums) -> list[tuple[str, tuple[int, int]]]:
    return [(path, both) for path, both in sums.items() if both[0] != both[1]]


def _plain_sum(path: str, live: int, replay: int) -> dict[str, Any]:
    return {"name": path, "live": live, "replay": replay, "difference": replay - live}
