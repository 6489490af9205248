"""All sessions of a shard: who is open, ends, is written, rests in a page, is let go, and comes back from the state."""

import json
from typing import Any

import msgspec
import pytest

from stream.core import sessions
from stream.core.cooperative import drained
from stream.core.counting import count_checkout, count_comment, count_view
from stream.core.ids import hash_id
from stream.core.ontime import count_late
from stream.core.pages import LARGEST, PAGE
from stream.core.panes import Rows
from stream.core.policy import DAY, MINUTE, Policy
from stream.core.session import Session
from stream.core.sessions import PAGES_AT_ONCE, Sessions
from stream.core.state_format import Packed
from stream.core.state_keys import GONE, PANE, RESTING, SESSION, in_key
from stream.core.statelog import StateLog
from stream.model.events import Comment
from stream.model.results import Tally
from tests.core.test_decode import COMMENT, ITEM
from tests.core.test_session import LIMIT, T0, order, view

POLICY = Policy()
AFTER, GRACE, KEEP = POLICY.session_end_after_ms, POLICY.end_grace_ms, POLICY.session_keep_ms
EVERYTHING = 10**6


class Kept(StateLog):
    """The items that the state holds."""

    def __init__(self) -> None:
        super().__init__(60)
        self.items: dict[bytes, bytes] = {}

    def drop(self, key: bytes) -> None:
        self.items.pop(key, None)

    def of(self, sort: bytes) -> list[bytes]:
        return sorted(key[len(sort) :] for key in self.items if key[:1] == sort)


def said(**fields: object) -> Comment:
    return msgspec.json.decode(json.dumps(COMMENT | fields), type=Comment)


class Hall:
    """Sessions and their panes as a shard has them, without what judges events and moves clocks."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.rows = Rows()
        self.sessions = Sessions(policy, self.rows)
        self.log = Kept()
        self.tally = Tally()
        self.watermark: int | None = None

    def come(self, name: str, at: int = T0, action: str = "enter", **fields: Any) -> None:
        """``action``: of a view, "paid", or "comment"."""
        key = name.encode()
        session, _ = self.sessions.meet(key, self.watermark)
        row = self.rows.made(at // MINUTE * MINUTE)
        pane = row.panes.get(key) or row.open(session)
        if action == "paid":
            count_checkout(pane, order(session_id=name, event_time=at, **fields), LIMIT)
        elif action == "comment":
            count_comment(pane, said(session_id=name, event_time=at), LIMIT)
        else:
            count_view(pane, view(session_id=name, event_time=at, action=action, **fields), LIMIT)
        self.sessions.hear(pane, self.tally)

    def drop_panes(self) -> None:
        for start, row in list(self.rows.items()):
            for key in row.all_keys():
                counts, _ = row.take(key)
                assert counts is not None
                self.sessions.absorb(key, counts, start)
            del self.rows[start]

    def at(self, watermark: int) -> None:
        """Event time has come that far."""
        self.watermark = watermark
        drained(self.sessions.end(watermark))
        drained(self.sessions.let_go(watermark, self.log))

    def write(self, most: int = EVERYTHING, *, everything: bool = True) -> list[str]:
        records = drained(self.sessions.write_totals(most, self.watermark, 1, everything=everything))
        return [key.decode() for key, _ in records]

    def rest(self, watermark: int) -> None:
        """All are ended, written, in no pane any more, and packed where there are enough of them."""
        self.at(watermark)
        self.write()
        self.drop_panes()
        self.pack()

    def pack(self) -> None:
        while any(True for _ in self.sessions.pack(self.log)):
            pass

    def checkpoint(self) -> None:
        puts: dict[bytes, bytes] = {}
        drained(self.sessions.collect(self.log, puts))
        drained(self.rows.collect([pane for row in self.rows.values() for pane in row.panes.values()], [], puts))
        self.log.items |= puts

    def restored(self) -> "Hall":
        self.checkpoint()
        hall = Hall(self.policy)
        hall.log.items, hall.watermark = dict(self.log.items), self.watermark
        items = dict(self.log.items)
        hall.sessions.restore(items, lambda *_: None)
        for bucket, chunk in self.sessions.gone.additions(self.log):
            hall.sessions.gone.restore(bucket, [chunk])
        hall.sessions.restore_pages(items, self.watermark)
        return hall

    def find(self, name: str) -> Session:
        session = self.sessions.find(name.encode())
        assert session is not None
        return session


def resting(number: int = PAGE, policy: Policy = POLICY) -> Hall:
    """Of so many sessions, each with a view and an order of 10, all ended and at rest but those beyond whole pages."""
    hall = Hall(policy)
    for each in range(number):
        hall.come(f"s{each}")
        hall.come(f"s{each}", action="paid", amount_minor=10)
    hall.rest(T0 + AFTER)
    return hall


def held(hall: Hall) -> tuple[int, int]:
    return len(hall.sessions.held), len(hall.sessions.pages)


# -- what people are shown


def test_what_is_shown_is_of_all_that_are_held_wherever_they_lie() -> None:
    hall = resting()
    assert held(hall) == (0, PAGE)
    assert len(hall.sessions) == PAGE
    hall.come("new", T0 + AFTER, action="product_click", product_id="p1")
    hall.come("new", T0 + AFTER, action="paid", amount_minor=5, currency="USD")
    for _ in range(2):
        hall.come("new", T0 + AFTER, action="comment")
    hall.at(T0 + AFTER)
    for each in (hall, hall.restored()):
        assert each.sessions.shown == [PAGE, 1, 2, PAGE + 1]
        assert each.sessions.gmv == {"IDR": 10 * PAGE, "USD": 5}
        assert (len(each.sessions), each.sessions.open) == (PAGE + 1, 1)
    assert (hall.tally.views, hall.tally.product_clicks, hall.tally.comments, hall.tally.orders_paid) == (
        *(PAGE, 1, 2, PAGE + 1),
    )
    assert hall.tally.gmv_minor == {"IDR": 10 * PAGE, "USD": 5}
    assert hall.find("new").shown == [0, 1, 2, 1]
    assert hall.find("new").gmv == {"USD": 5}
    hall.at(T0 + AFTER + 2 * KEEP)
    hall.write()
    hall.drop_panes()
    hall.at(T0 + AFTER + 3 * KEEP)
    assert hall.sessions.shown == [0, 0, 0, 0]
    assert not +hall.sessions.gmv
    assert (len(hall.sessions), hall.sessions.open) == (0, 0)


def test_one_is_found_wherever_it_lies_and_stays_there() -> None:
    hall = resting()
    hall.come("new", T0 + AFTER)
    assert hall.sessions.find(b"new") is hall.sessions.held[b"new"]
    found = hall.find("s1")
    assert (found.key, found.session_id, found.events, found.written_ended) == (b"s1", "s1", 2, True)
    assert hall.sessions.find(b"nobody") is None
    assert held(hall) == (1, PAGE)
    assert {each.key for each in hall.sessions.each()} == {b"new", *(b"s%d" % each for each in range(PAGE))}
    assert {(page, each.key) for page, each in hall.sessions.at_rest()} == {(0, b"s%d" % each) for each in range(PAGE)}
    hall.sessions.mark_incomplete()
    assert all(each.base and each.base.incomplete for _, each in hall.sessions.at_rest())
    assert all(each.base and each.base.incomplete for each in hall.sessions.each())


def test_who_is_met_is_new_once_and_comes_out_of_its_page_with_all_it_had() -> None:
    hall = resting()
    session, is_new = hall.sessions.meet(b"new", None)
    assert is_new
    assert (session.key, session.ended, session.written_ended, session.frozen) == (b"new", True, True, False)
    assert hall.sessions.meet(b"new", None) == (session, False)
    woken, is_new = hall.sessions.meet(b"s1", T0 + AFTER)
    assert not is_new
    assert (woken.key, woken.events, woken.revision, woken.written_events) == (b"s1", 2, 1, 2)
    assert hall.sessions.held[b"s1"] is woken
    assert len(hall.sessions) == PAGE + 1
    assert len(hall.sessions.pages) >= PAGE - 1
    assert not hall.write(), "there is nothing new to tell of it"


# -- opening and ending


def test_a_view_opens_a_session_silence_ends_it_and_a_view_opens_it_again() -> None:
    hall = Hall()
    hall.come("s")
    assert hall.sessions.open == 0, "at the next checkpoint it is"
    hall.at(T0)
    assert (hall.sessions.open, hall.find("s").ended) == (1, False)
    hall.come("s", T0 + MINUTE)
    hall.at(T0 + AFTER + MINUTE - 1)
    assert (hall.sessions.open, hall.find("s").ended) == (1, False)
    assert hall.write() == ["s"]
    hall.checkpoint()
    hall.at(T0 + AFTER + MINUTE)
    assert (hall.sessions.open, hall.find("s").ended) == (0, True)
    assert (b"s" in hall.sessions.stale, hall.find("s").stale) == (True, True)
    assert hall.write(everything=False) == ["s"], "at its end at once"
    hall.come("s", T0 + AFTER + MINUTE)
    hall.at(T0 + AFTER + MINUTE)
    assert (hall.sessions.open, hall.find("s").ended) == (1, False)
    hall.at(T0 + 2 * AFTER + MINUTE)
    assert (hall.sessions.open, hall.find("s").ended) == (0, True)
    hall.at(T0 + 3 * AFTER)
    assert hall.sessions.open == 0


def test_orders_open_nothing_and_move_no_end() -> None:
    hall = Hall()
    hall.come("s", action="paid")
    hall.at(T0)
    assert (hall.sessions.open, hall.find("s").ended) == (0, True)
    hall.come("t")
    hall.come("t", T0 + MINUTE, action="paid")
    hall.at(T0 + AFTER)
    assert hall.find("t").ended
    hall.come("t", T0 + 2 * AFTER, action="paid")
    hall.at(T0 + 2 * AFTER)
    assert hall.find("t").ended


@pytest.mark.parametrize("crash", [False, True])
def test_its_host_ends_it_sooner_and_only_a_start_opens_it_again(crash: bool) -> None:
    hall = Hall()
    hall.come("s")
    hall.at(T0)
    hall.come("s", T0 + 5, action="end")
    hall.at(T0 + 5)
    if crash:
        hall = hall.restored()
    assert not hall.find("s").ended
    hall.at(T0 + 5 + GRACE)
    assert hall.find("s").ended
    hall.come("s", T0 + 6 + GRACE)
    hall.at(T0 + 6 + GRACE)
    if crash:
        hall = hall.restored()
    assert hall.find("s").ended, "a view soon after the end"
    hall.come("s", T0 + 7 + GRACE, action="start")
    hall.come("s", T0 + 8 + GRACE)
    hall.at(T0 + 8 + GRACE)
    assert not hall.find("s").ended
    assert hall.sessions.open == 1
    hall.at(T0 + 8 + GRACE + AFTER)
    assert hall.find("s").ended


def silent() -> Hall:
    """Of one session that has ended by silence, which is written."""
    hall = Hall()
    hall.come("s")
    hall.at(T0 + AFTER)
    assert hall.write() == ["s"]
    return hall


def test_what_comes_of_one_that_has_ended_and_opens_nothing_waits_like_others() -> None:
    for action in ("paid", "end"):
        hall = silent()
        hall.come("s", T0 + 1, action=action)
        hall.at(T0 + AFTER)
        assert (hall.find("s").ended, hall.sessions.open) == (True, 0)
        assert hall.write(everything=False) == [], "nothing has ended now"
        hall.at(T0 + AFTER + POLICY.totals_every_ms)
        assert hall.write(everything=False) == ["s"]


def test_a_view_soon_after_an_end_opens_one_for_no_longer_than_the_end_leaves() -> None:
    hall = silent()
    hall.come("s", T0 + AFTER + 1, action="end")
    hall.at(T0 + AFTER + 1)
    assert (hall.find("s").ended, hall.sessions.open) == (True, 0)
    hall.come("s", T0 + AFTER + 2)
    hall.at(T0 + AFTER + 2)
    assert (hall.find("s").ended, hall.sessions.open) == (False, 1)
    hall.at(T0 + AFTER + 1 + GRACE)
    assert (hall.find("s").ended, hall.sessions.open) == (True, 0)
    hall.come("s", T0 + AFTER + 2 + GRACE)
    hall.at(T0 + AFTER + 2 + GRACE)
    assert (hall.find("s").ended, hall.sessions.open) == (True, 0), "the end was long enough ago"
    hall.come("s", T0 + 2 * AFTER + 2)
    hall.at(T0 + 2 * AFTER + 2)
    assert (hall.find("s").ended, hall.sessions.open) == (False, 1)


def test_a_start_opens_one_though_an_end_came_with_it() -> None:
    hall = silent()
    for at, action in enumerate(("start", "end", "enter")):
        hall.come("s", T0 + AFTER + 1 + at, action=action)
    hall.at(T0 + AFTER + 3)
    assert (hall.find("s").ended, hall.sessions.open) == (False, 1)
    hall.come("s", T0 + AFTER + 4, action="start")
    hall.at(T0 + AFTER + 4)
    assert hall.sessions.open == 1, "it is open already"


def test_what_came_late_counts_for_how_long_it_is_kept() -> None:
    hall = Hall()
    hall.come("s")
    pane = hall.rows[T0].panes[b"s"]
    count_late(count_view, pane, view(event_time=T0 + 7, action="like"), LIMIT)
    hall.sessions.hear(pane, hall.tally)
    assert hall.find("s").last_any == T0 + 7


def test_when_one_that_was_ended_sooner_would_have_ended_it_may_be_at_rest() -> None:
    hall = Hall()
    hall.sessions.pages.size = 1
    hall.come("s")
    hall.at(T0)
    hall.come("s", T0 + 5, action="end")
    hall.rest(T0 + 5 + GRACE)
    assert held(hall) == (0, 1)
    hall.at(T0 + AFTER)
    assert (held(hall), hall.sessions.open) == ((0, 1), 0)


def test_an_end_that_comes_first_opens_nothing() -> None:
    hall = Hall()
    hall.come("s", action="end")
    hall.at(T0)
    assert hall.find("s").ended
    assert hall.sessions.open == 0


def test_several_end_each_in_its_turn() -> None:
    hall = Hall()
    for each in range(4):
        hall.come(f"s{each}", T0 + each)
    hall.at(T0 + 4)
    hall.come("s0", T0 + MINUTE)
    hall.at(T0 + AFTER + 2)
    assert [hall.find(f"s{each}").ended for each in range(4)] == [False, True, True, False]
    assert hall.sessions.open == 2


def test_one_that_is_restored_ends_like_others() -> None:
    hall = Hall()
    hall.come("s")
    hall.come("t")
    hall.at(T0)
    hall.write()
    hall = hall.restored()
    assert hall.sessions.open == 2
    assert not hall.write(), "both are written"
    hall.at(T0 + AFTER - 1)
    assert hall.sessions.open == 2
    hall.at(T0 + AFTER)
    assert hall.sessions.open == 0
    assert sorted(hall.write()) == ["s", "t"]


def test_what_was_not_written_before_a_restart_is_written_after_it() -> None:
    hall = Hall()
    hall.come("s")
    hall.at(T0)
    assert hall.restored().write() == ["s"]


# -- totals


def test_at_most_so_many_totals_are_written_and_the_state_hears_of_it() -> None:
    hall = Hall()
    for each in range(5):
        hall.come(f"s{each}")
    hall.at(T0)
    hall.checkpoint()
    assert not hall.sessions.stale
    assert hall.write(2) == ["s0", "s1"]
    assert set(hall.sessions.stale) == {b"s0", b"s1"}
    assert hall.restored().write() == ["s2", "s3", "s4"]
    assert hall.write(2) == ["s2", "s3"]
    assert hall.write(2) == ["s4"]


def test_totals_say_of_which_generation_they_are_and_reckon_in_the_currency_of_the_settings() -> None:
    hall = Hall(Policy(currency="USD"))
    for currency, local in (("USD", True), ("IDR", False)):
        hall.come("s", action="paid", currency=currency, items=[ITEM | {"local": local}])
    hall.at(T0)
    [(_, value)] = drained(hall.sessions.write_totals(EVERYTHING, T0, 3, everything=True))
    totals = json.loads(value)
    assert (totals["generation"], totals["rates"]["local_share"]) == (3, 1)


def test_totals_of_one_checkpoint_have_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall()
    for each in range(8):
        hall.come(f"s{each}")
    hall.at(T0)
    monkeypatch.setattr(sessions, "TOTALS_BYTES", 2000)
    sizes = []
    while records := drained(hall.sessions.write_totals(EVERYTHING, T0, 1, everything=True)):
        sizes.append([len(value) for _, value in records])
    assert sum(map(len, sizes)) == 8
    assert len(sizes) > 1
    for each_size in sizes[:-1]:
        assert sum(each_size[:-1]) < 2000 <= sum(each_size)


def test_one_counted_after_its_end_in_no_window_is_kept_at_once() -> None:
    hall = Hall()
    session, _ = hall.sessions.meet(b"s", None)
    pane = Rows().made(T0).open(session)
    count_checkout(pane, order(amount_minor=7), LIMIT)
    hall.sessions.add(pane, hall.tally)
    assert (session.events, session.shown, session.gmv) == (1, [0, 0, 0, 1], {"IDR": 7})
    assert hall.sessions.stale == {b"s": session}
    assert hall.write() == ["s"]
    hall.sessions.pages.size = 1
    hall.pack()
    assert held(hall) == (0, 1)
    assert hall.find("s").events == 1


# -- rest


def test_those_at_rest_are_packed_a_page_at_a_time_and_the_state_holds_pages_alone() -> None:
    hall = resting(2 * PAGE + 3)
    assert held(hall) == (3, 2 * PAGE)
    hall.checkpoint()
    assert len(hall.log.of(SESSION)) == 3
    assert len(hall.log.of(RESTING)) == 2
    again = hall.restored()
    assert held(again) == (3, 2 * PAGE)
    for each in range(3):
        again.come(f"more{each}", T0 + AFTER)
    for each in range(PAGE - 6):
        again.come(f"many{each}", T0 + AFTER)
    again.rest(T0 + 2 * AFTER)
    assert held(again) == (0, 3 * PAGE)
    again.checkpoint()
    assert again.log.of(SESSION) == []


def test_so_many_pages_are_packed_at_a_time() -> None:
    hall = Hall()
    hall.sessions.pages.size = 2
    for each in range(2 * PAGES_AT_ONCE + 4):
        hall.come(f"s{each}")
    hall.at(T0 + AFTER)
    hall.write()
    hall.drop_panes()
    steps = sum(1 for _ in hall.sessions.pack(hall.log))
    assert (steps, len(hall.sessions.pages)) == (PAGES_AT_ONCE, 2 * PAGES_AT_ONCE)
    steps = sum(1 for _ in hall.sessions.pack(hall.log))
    assert (steps, held(hall)) == (2, (0, 2 * PAGES_AT_ONCE + 4))


def test_pages_half_dead_are_merged_though_nothing_more_is_packed() -> None:
    hall = resting(2 * PAGE)
    for _, session in list(hall.sessions.at_rest())[::2]:
        hall.sessions.meet(session.key, hall.watermark)
    hall.pack()
    assert hall.sessions.pages.gone == [0, 1]
    assert held(hall) == (PAGE, PAGE)


def one_more(hall: Hall) -> None:
    """So that there are enough for a page."""
    for each in range(PAGE):
        hall.come(f"more{each}", T0)


@pytest.mark.parametrize("why", ["open", "not written", "in a pane"])
def test_one_is_not_packed_that_is_not_at_rest(why: str) -> None:
    hall = Hall()
    one_more(hall)
    hall.at(T0 + AFTER)
    hall.write()
    hall.drop_panes()
    if why == "open":
        hall.come("more0", T0 + AFTER)
        hall.at(T0 + AFTER)
        hall.write()
        hall.drop_panes()
    elif why == "not written":
        hall.come("more0", T0 + AFTER, action="paid")
        hall.drop_panes()
    else:
        hall.come("more0", T0, action="paid")
        hall.write()
    hall.come("another", T0)
    hall.at(T0 + AFTER)
    hall.write()
    pane = hall.rows[T0].panes.pop(b"another")
    hall.sessions.absorb(b"another", pane, T0)
    hall.pack()
    assert b"more0" in hall.sessions.held
    assert b"another" in hall.sessions.pages


def test_a_large_one_is_not_packed() -> None:
    hall = Hall()
    one_more(hall)
    for product in range(LARGEST // 100):
        hall.come("more0", T0, action="product_click", product_id=f"{product}".rjust(100))
    hall.come("another", T0)
    hall.rest(T0 + AFTER)
    assert len(hall.find("more0").packed(hall.sessions.format)) > LARGEST
    assert b"more0" in hall.sessions.held
    assert hall.find("more0").sum is None, "it takes less memory, too"
    assert len(hall.sessions) == PAGE + 1
    assert len(hall.sessions.pages) >= PAGE - 1


def test_one_that_comes_back_is_kept_until_it_is_let_go_and_written_when_it_changes() -> None:
    hall = resting()
    hall.come("s1", T0 + AFTER)
    assert hall.sessions.held[b"s1"].stale
    assert hall.write() == ["s1"]
    hall.at(T0 + AFTER)
    assert not hall.find("s1").ended
    hall = hall.restored()
    assert held(hall) == (1, PAGE - 1)
    assert (hall.find("s1").events, hall.find("s1").revision) == (3, 2)
    hall.at(T0 + 2 * AFTER)
    hall.write()
    hall.drop_panes()
    hall.at(T0 + 2 * AFTER + KEEP)
    assert len(hall.sessions) == 0


# -- lost offsets


@pytest.mark.parametrize("crash", [False, True])
def test_lost_offsets_are_told_of_each_once(crash: bool) -> None:
    hall = resting(2 * PAGE + 2)
    hall.checkpoint()
    hall.sessions.mark_incomplete()
    assert set(hall.sessions.stale) == set(hall.sessions.held)
    if crash:
        hall = hall.restored()
    told: list[str] = []
    while names := hall.write(50):
        assert len(names) <= 50
        told += names
        hall.pack()
    assert sorted(told) == sorted(f"s{each}" for each in range(2 * PAGE + 2))
    assert held(hall) == (2, 2 * PAGE)
    again = hall.restored()
    assert not again.write()
    assert all(each.base and each.base.incomplete and each.revision == 2 for each in again.sessions.each())
    assert again.sessions.shown == [2 * PAGE + 2, 0, 0, 2 * PAGE + 2]


def test_pages_are_woken_until_a_checkpoint_has_enough_to_write() -> None:
    hall = resting(2 * PAGE)
    hall.sessions.mark_incomplete()
    assert len(hall.write(PAGE + 1)) == PAGE + 1
    hall.checkpoint()
    assert len(hall.write()) == PAGE - 1


# -- letting go


def test_those_kept_long_enough_are_let_go_and_remembered() -> None:
    hall = resting(PAGE + 1)
    hall.checkpoint()
    due = T0 + AFTER + KEEP
    hall.at(due - 1)
    assert held(hall) == (1, PAGE)
    hall.at(due)
    assert held(hall) == (0, 0)
    hall.checkpoint()
    assert hall.log.items == {}
    assert hall.sessions.gone.holds(hash_id(b"s0"), due)
    for each in (hall, hall.restored()):
        assert all(each.sessions.meet(b"s%d" % number, due)[0].frozen for number in (0, PAGE))
        assert not each.sessions.meet(b"other", due)[0].frozen


def test_those_let_go_are_kept_in_the_state_by_days() -> None:
    hall = resting(1)
    due = T0 + AFTER + KEEP
    hall.at(due)
    [(bucket, _)] = hall.sessions.gone.additions(hall.log)
    assert bucket == GONE + in_key(due // DAY)


def test_without_a_watermark_nobody_is_taken_for_one_that_was_let_go() -> None:
    hall = resting(1)
    hall.at(T0 + AFTER + KEEP)
    assert not hall.sessions.meet(b"s0", None)[0].frozen


def test_it_is_remembered_for_90_days_and_a_bound_goes_by_days() -> None:
    for days, frozen in ((90 * DAY - 1, True), (90 * DAY, False)):
        hall = resting(1)
        due = T0 + AFTER + KEEP
        hall.at(due)
        assert hall.sessions.meet(b"s0", due + days)[0].frozen is frozen
    hall = Hall(Policy(max_gone_sessions=2))
    for each in range(3):
        hall.come(f"s{each}", T0 + each * DAY)
        hall.at(T0 + each * DAY + AFTER)
        hall.write()
        hall.drop_panes()
    hall.at(T0 + DAY + AFTER)
    hall.at(T0 + 2 * DAY + AFTER)
    hall.at(T0 + 4 * DAY)
    assert [hall.sessions.meet(b"s%d" % each, T0 + 4 * DAY)[0].frozen for each in range(3)] == [False, True, True]


def test_one_of_which_something_is_in_a_pane_or_not_written_is_held_on_to() -> None:
    hall = resting(1)
    due = T0 + AFTER + KEEP
    hall.come("s0", T0 + AFTER, action="paid")
    hall.at(due)
    assert held(hall) == (1, 0), "it is not written"
    hall.write()
    hall.at(due + MINUTE)
    assert held(hall) == (1, 0), "it is in a pane"
    hall.drop_panes()
    hall.at(due + 2 * MINUTE - 1)
    assert held(hall) == (1, 0), "it is looked at once a minute"
    hall.at(due + 2 * MINUTE)
    assert held(hall) == (0, 0)


def test_one_that_is_held_on_to_keeps_nobody_else() -> None:
    hall = resting(3)
    hall.come("s0", T0 + 1, action="paid")
    hall.write()
    hall.at(T0 + AFTER + KEEP)
    assert set(hall.sessions.held) == {b"s0"}
    hall.drop_panes()
    hall.at(T0 + AFTER + KEEP + MINUTE)
    assert held(hall) == (0, 0)


def test_one_that_is_not_written_is_held_on_to_though_it_is_in_no_pane_unless_it_is_never_written() -> None:
    for frozen in (False, True):
        hall = resting(1)
        hall.come("s0", T0 + 1, action="paid")
        hall.drop_panes()
        hall.sessions.held[b"s0"].frozen = frozen
        hall.at(T0 + AFTER + KEEP)
        assert held(hall) == (not frozen, 0)


def test_one_that_is_heard_of_again_is_kept_from_then_on() -> None:
    hall = resting(1)
    due = T0 + AFTER + KEEP
    hall.come("s0", T0 + 2 * AFTER, action="paid")
    hall.write()
    hall.drop_panes()
    hall.at(due)
    assert held(hall) == (1, 0)
    hall.at(due + AFTER - 1)
    assert held(hall) == (1, 0)
    hall.at(due + AFTER)
    assert held(hall) == (0, 0)


def test_one_that_comes_back_after_it_was_let_go_is_counted_and_never_told_and_let_go_again() -> None:
    hall = resting(1)
    due = T0 + AFTER + KEEP
    hall.at(due)
    hall.come("s0", due)
    hall.at(due)
    assert (hall.find("s0").frozen, hall.sessions.open) == (True, 1)
    assert hall.write() == []
    hall.at(due + AFTER)
    hall.drop_panes()
    hall.sessions.pages.size = 1
    hall.pack()
    assert held(hall) == (0, 1)
    again = hall.restored()
    assert held(again) == (0, 1), "a frozen one that rests is no dead copy"
    for each in (hall, again):
        each.at(due + AFTER + KEEP)
        assert held(each) == (0, 0)
        assert each.sessions.shown == [0, 0, 0, 0]


# -- the state


def test_only_what_has_changed_is_put_into_the_state() -> None:
    hall = Hall()
    hall.come("s")
    hall.come("t")
    hall.at(T0)
    hall.checkpoint()
    hall.log.items.clear()
    hall.checkpoint()
    assert hall.log.of(SESSION) == []
    hall.come("s", T0 + 1, action="product_click", product_id="p1")
    hall.checkpoint()
    assert hall.log.of(SESSION) == [b"s"], "it names one more product"
    assert not hall.find("s").stale
    assert hall.log.of(PANE) == [in_key(T0) + b"s", in_key(T0) + b"t"]


def test_the_value_of_an_item_is_that_of_its_session_or_page() -> None:
    hall = resting(PAGE + 1)
    hall.checkpoint()
    [name], [page] = hall.log.of(SESSION), hall.log.of(RESTING)
    for key in (SESSION + name, RESTING + page):
        assert hall.sessions.value(key) == hall.log.items[key]
    assert hall.sessions.value(SESSION + name) == hall.sessions.held[name].packed(hall.sessions.format)


def test_a_dead_copy_in_a_page_stays_dead() -> None:
    """Of one that came back, of one that is due, and of one that was let go."""
    hall = resting()
    hall.checkpoint()
    pages = {key: value for key, value in hall.log.items.items() if key[:1] == RESTING}
    hall.come("s1", T0 + AFTER)
    hall = hall.restored()
    assert hall.log.items.items() >= pages.items()
    assert held(hall) == (1, PAGE - 1)
    assert hall.find("s1").events == 3
    assert hall.sessions.shown == [PAGE + 1, 0, 0, PAGE]
    later = resting()
    later.watermark = T0 + AFTER + KEEP
    assert held(later.restored()) == (0, 0)
    later.watermark -= 1
    assert held(later.restored()) == (0, PAGE)
    later.sessions.gone.note(hash_id(b"s1"), later.watermark, later.watermark)
    assert b"s1" not in later.restored().sessions.pages


def test_what_is_packed_can_be_looked_at_without_unpacking() -> None:
    hall = resting(PAGE + 1)
    hall.come("new", T0 + AFTER)
    [name] = hall.sessions.held.keys() - {b"new"}
    looked_at = list(hall.sessions.vetted())
    assert looked_at[:2] == [
        (SESSION + name, "the totals of a session", True),
        (SESSION + b"new", "the totals of a session", True),
    ]
    assert looked_at[2:] == [(RESTING + in_key(0), "the totals of a session at rest", True)] * PAGE
    hall.sessions.held[name]._base = b"\x91\x01"
    assert next(hall.sessions.vetted()) == (SESSION + name, "the totals of a session", False)


def test_one_at_rest_whose_totals_are_damaged_is_told() -> None:
    hall = resting(1)
    base = hall.sessions.held[b"s0"].packed_base()
    assert base is not None
    fields = msgspec.msgpack.decode(base)
    fields[Packed.__struct_fields__.index("viewers")] = b"no sketch"
    hall.sessions.held[b"s0"]._base = msgspec.msgpack.encode(fields)
    hall.sessions.pages.size = 1
    hall.pack()
    assert held(hall) == (0, 1)
    assert list(hall.sessions.vetted()) == [(RESTING + in_key(0), "the totals of a session at rest", False)]
