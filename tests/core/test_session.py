"""One session: its totals are those of all its events, wherever these lie, and it knows when it has ended."""

import json
from random import Random
from typing import Any

import msgspec
import pytest

from stream.core.counting import count_checkout, count_view
from stream.core.counts import NEVER, Counts
from stream.core.formats import NEWEST
from stream.core.packing import pack
from stream.core.panes import Pane, Rows
from stream.core.policy import HOUR, MINUTE, Policy
from stream.core.render import session_value
from stream.core.session import Session, head_in
from stream.model.events import Checkout, View
from tests.core.test_decode import CHECKOUT, VIEW

T0 = 1_700_000_000_000 - 1_700_000_000_000 % HOUR
LIMIT = 1000
POLICY = Policy()


def view(**fields: object) -> View:
    return msgspec.json.decode(json.dumps(VIEW | {"event_time": T0} | fields), type=View)


def order(**fields: object) -> Checkout:
    return msgspec.json.decode(json.dumps(CHECKOUT | {"event_time": T0} | fields), type=Checkout)


def pane_of(session: Session, start: int, *events: View | Checkout) -> Pane:
    pane = Pane(session, start)
    for event in events:
        count_view(pane, event, LIMIT) if isinstance(event, View) else count_checkout(pane, event, LIMIT)
    return pane


def shown(session: Session, totals: Counts) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(session_value(session.session_id, totals, "IDR", {}))
    return value


class Broadcast:
    """A session and its panes, and what has happened in it."""

    def __init__(self) -> None:
        self.session = Session(b"s")
        self.rows = Rows()
        self.clicks: dict[str, int] = {}
        self.viewers: set[str] = set()
        self.gmv = 0

    def happen(self, start: int, who: int, product: int) -> None:
        row = self.rows.made(start)
        pane = row.panes.get(b"s") or row.open(self.session)
        count_view(pane, view(event_time=start, viewer_id=f"v{who}"), LIMIT)
        count_view(pane, view(event_time=start, action="product_click", product_id=f"p{product}"), LIMIT)
        count_checkout(pane, order(event_time=start, viewer_id=f"v{who}", amount_minor=who), LIMIT)
        self.session.events += 3
        self.clicks[f"p{product}"] = self.clicks.get(f"p{product}", 0) + 1
        self.viewers.add(f"v{who}")
        self.gmv += who

    def drop_first(self) -> None:
        if self.rows.starts:
            row = self.rows[self.rows.starts[0]]
            counts = row.counts(b"s")
            del self.rows[row.start]
            if counts is not None:
                self.session.absorb(counts, row.start)

    def pack(self, start: int) -> None:
        row = self.rows.get(start)
        if row is not None and b"s" in row.panes:
            row.pack(row.panes[b"s"])

    def check(self) -> None:
        totals = shown(self.session, self.rows.of(self.session))
        number = sum(self.clicks.values())
        assert (totals["counts"]["views"], totals["counts"]["product_clicks"]) == (number, number)
        assert {each["product_id"]: each["product_clicks"] for each in totals.get("products", [])} == self.clicks | (
            {"p1": self.clicks.get("p1", 0)} if number else {}
        )
        assert (totals["unique_viewers"], totals["unique_buyers"]) == (len(self.viewers), len(self.viewers))
        assert totals["gmv_minor"] == ({"IDR": self.gmv} if number else {})


@pytest.mark.parametrize("seed", range(4))
def test_totals_are_those_of_all_events_wherever_they_lie(seed: int) -> None:
    """In panes counted into, in quiet ones, in some that are dropped; asked at any time, also after a rest."""
    rng, broadcast = Random(seed), Broadcast()
    for minute in range(60):
        start = T0 + max(0, minute - rng.randrange(4)) * MINUTE
        first = broadcast.rows.starts[0] if broadcast.rows.starts else start
        match rng.randrange(5):
            case 0:
                broadcast.drop_first()
            case 1 | 2:
                broadcast.pack(start)
            case 3:
                broadcast.check()
            case _:
                broadcast.happen(max(first, start), rng.randrange(9), rng.randrange(4))
        if not broadcast.rows:
            broadcast.session.rest()
            session = Session.unpacked(b"s", broadcast.session.packed(NEWEST))
            assert session.events == broadcast.session.events
            broadcast.session = session
    broadcast.check()


@pytest.mark.parametrize("dropped", range(4))
@pytest.mark.parametrize("quiet", range(4))
def test_it_names_no_more_ids_than_it_knows_and_counts_them_in_panes_that_are_full_too(
    dropped: int, quiet: int
) -> None:
    """Whichever of three panes are dropped, quiet, or counted into: the last has no room for an id of the first."""
    session = Session(b"s")
    clicks = ["ab", "ca", "cda"]
    panes = {T0 + minute * MINUTE: Pane(session, T0 + minute * MINUTE) for minute in range(len(clicks))}
    for start, products in zip(panes, clicks, strict=True):
        for product in products:
            click = view(event_time=start, action="product_click", product_id=product, affiliate_id=product)
            count_view(panes[start], click, 2)
    starts = list(panes)
    for start in starts[:dropped]:
        session.absorb(panes[start], start)
    packed = {start: pack(panes[start]) for start in starts[dropped:][:quiet]}
    busy: list[Counts] = [panes[start] for start in starts[dropped:][quiet:]]
    for _ in range(2):
        totals = shown(session, session.totals(busy, packed))
        assert {each.get("product_id"): each["product_clicks"] for each in totals["products"]} == {
            "a": 3,
            "b": 1,
            None: 3,
        }
        assert totals["counts"]["product_clicks"] == 7


def test_of_a_pane_without_events_nothing_is_left() -> None:
    session = Session(b"s")
    session.stale = False
    session.absorb(Pane(session, T0), T0)
    assert session.base is None
    assert not session.stale
    session.absorb(pane_of(session, T0, view()), T0)
    assert session.stale


def test_new_it_has_shown_nothing_and_is_held_and_kept_as_such() -> None:
    session = Session(b"s")
    for each in (session, Session.unpacked(b"s", session.packed(NEWEST))):
        assert (each.key, each.session_id, each.events, each.shown, each.gmv) == (b"s", "s", 0, [0, 0, 0, 0], {})
        assert {each.on_air_to, each.start_to, each.end_to, each.last_any, each.end_at, each.let_go_at} == {NEVER}
        assert (each.written_events, each.written_at, each.revision, each.turn) == (NEVER, NEVER, 0, 0)
        assert (each.base, each.sum, each.summed, dict(each.named)) == (None, None, (), {})
        assert not any((each.ended, each.frozen, each.written_ended, each.in_line))
        assert each.changed
    assert session.stale
    assert not each.stale, "it is as the state has it"


@pytest.mark.parametrize(
    ("events", "ended", "has_changed"), [(3, False, False), (4, False, True), (3, True, True), (4, True, True)]
)
def test_it_has_changed_when_more_was_counted_or_its_end_is_not_told(
    events: int, ended: bool, has_changed: bool
) -> None:
    session = Session(b"s")
    session.events, session.ended = events, ended
    session.written_events, session.written_ended = 3, False
    assert session.changed is has_changed
    session.written_events, session.written_ended = events, ended
    assert session.changed is False


def test_lost_offsets_are_told_with_all_that_was_counted() -> None:
    session = Session(b"s")
    session.absorb(pane_of(session, T0, view()), T0)
    quiet = {T0 + MINUTE: pack(pane_of(session, T0 + MINUTE, view(event_time=T0 + MINUTE)))}
    session.events = session.written_events = 2
    assert not session.totals([], quiet).incomplete
    session.stale = False
    session.mark_incomplete()
    assert session.stale
    assert session.changed
    totals = session.totals([], quiet)
    assert (totals.views, totals.incomplete) == (2, True)
    kept = Session.unpacked(b"s", session.packed(NEWEST))
    assert kept.base is not None
    assert (kept.base.views, kept.base.incomplete, kept.changed) == (1, True, True)
    empty = Session(b"s")
    empty.mark_incomplete()
    assert empty.totals([], {}).incomplete


def test_it_knows_of_a_restored_pane_what_it_knew_before() -> None:
    kept, session = Session(b"s"), Session(b"s")
    events: list[View | Checkout] = [
        view(),
        view(event_time=T0 + 9, action="start"),
        view(event_time=T0 + 12, action="end"),
        view(event_time=T0 + 7, action="product_click", product_id="p1"),
        order(event_time=T0 + 5, amount_minor=70),
    ]
    kept.restore_base(pack(pane_of(session, T0, *events)))
    assert (kept.events, kept.shown, kept.gmv) == (5, [1, 1, 0, 1], {"IDR": 70})
    assert (kept.on_air_to, kept.start_to, kept.end_to, kept.last_any) == (T0 + 9, T0 + 9, T0 + 12, T0 + 12)
    earlier = Session(b"s")
    earlier.absorb(pane_of(session, T0 - MINUTE, view(event_time=T0 - MINUTE, action="like")), T0 - MINUTE)
    base = earlier.packed_base()
    assert base is not None
    kept.restore_base(base)
    assert (kept.events, kept.shown, kept.gmv) == (6, [1, 1, 0, 1], {"IDR": 70})
    assert (kept.on_air_to, kept.start_to, kept.end_to, kept.last_any) == (T0 + 9, T0 + 9, T0 + 12, T0 + 12)


def at(**times: int) -> Session:
    session = Session(b"s")
    for name, time in times.items():
        setattr(session, name, time)
    return session


AFTER, GRACE = POLICY.session_end_after_ms, POLICY.end_grace_ms


@pytest.mark.parametrize(
    ("times", "due"),
    [
        ({"on_air_to": T0, "last_any": T0 + 5}, T0 + AFTER),
        ({"last_any": T0}, T0),  # of checkouts alone
        ({"on_air_to": T0, "end_to": T0 + 1}, T0 + 1 + GRACE),
        ({"on_air_to": T0, "end_to": T0 + AFTER}, T0 + AFTER),  # silence comes first
        ({"on_air_to": T0, "start_to": T0 + 1, "end_to": T0 + 1}, T0 + AFTER),
        ({"on_air_to": T0 + AFTER, "end_to": T0}, T0 + GRACE),
        ({"on_air_to": T0 + AFTER + 1, "end_to": T0}, T0 + 2 * AFTER + 1),
    ],
)
def test_it_ends_after_silence_or_a_while_after_its_host_has_ended_it(times: dict[str, int], due: int) -> None:
    assert at(**times).end_due(POLICY) == due


def test_it_is_let_go_a_day_after_its_end_or_its_last_event_in_whole_panes() -> None:
    keep = POLICY.session_keep_ms
    assert at(on_air_to=T0, last_any=T0).let_go_due(POLICY) == T0 + AFTER + keep
    assert at(on_air_to=T0, last_any=T0 + AFTER + 1).let_go_due(POLICY) == T0 + AFTER + MINUTE + keep
    assert at(last_any=T0 + MINUTE - 1).let_go_due(POLICY) == T0 + MINUTE + keep


def test_all_of_it_comes_back_but_what_is_in_panes() -> None:
    session = Session(b"s")
    session.absorb(pane_of(session, T0, view(action="product_click", product_id="p1"), order()), T0)
    session.ended, session.frozen, session.revision = True, True, 7
    session.written_events, session.written_ended, session.written_at = 2, True, T0
    again = Session.unpacked(b"s", session.packed(NEWEST))
    for name in ("ended", "frozen", "revision", "written_events", "written_ended", "written_at", "named"):
        assert getattr(again, name) == getattr(session, name)
    assert again.named["product_clicks_by"] == {"p1"}
    assert (again.events, again.packed(NEWEST)) == (2, session.packed(NEWEST))
    head = head_in(session.packed(NEWEST))
    assert (head.events, head.product_clicks, head.orders_paid) == (2, 1, 1)


def test_one_of_which_one_flag_is_set_comes_back_with_that_one() -> None:
    for name in ("ended", "frozen", "written_ended"):
        session = Session(b"s")
        setattr(session, name, True)
        again = Session.unpacked(b"s", session.packed(NEWEST))
        flags = [each for each in ("ended", "frozen", "written_ended") if getattr(again, each)]
        assert flags == [name]
