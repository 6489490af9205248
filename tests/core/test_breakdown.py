"""Breakdowns by id: named up to a bound of the pane and one of the session, and nothing is lost beyond them."""

import pytest

from stream.core.breakdown import Clicks, Label, Labels, Money, Orders, Sales, Source, add_money
from stream.core.figures import NEVER


def clicks(ids: str, limit: int, known: set[str]) -> Clicks:
    found = Clicks()
    for id_ in ids:
        found.count(id_, limit, known)
    return found


def fields(each: Clicks) -> tuple[dict[str, int], int, dict[str, int]]:
    return each.named, each.beyond, each.spilled


def test_money_adds_up_by_currency() -> None:
    money: Money = {"IDR": 5}
    add_money(money, {"IDR": 2, "USD": 1})
    add_money(money, {"USD": 3})
    assert money == {"IDR": 7, "USD": 4}


def test_figures_of_a_source_add_up_and_money_is_its_own() -> None:
    one, other = Source(1, 2, 3, {"IDR": 4}), Source(10, 20, 30, {"IDR": 40, "USD": 5})
    one.add(other)
    assert one == Source(11, 22, 33, {"IDR": 44, "USD": 5})
    one.add(Source(views=1))
    assert (one.views, one.gmv, other.gmv) == (12, {"IDR": 44, "USD": 5}, {"IDR": 40, "USD": 5})


def test_a_pane_names_so_many_ids_and_the_session_as_many() -> None:
    known: set[str] = set()
    assert fields(clicks("abcac", 2, known)) == ({"a": 2, "b": 1}, 2, {})
    assert known == {"a", "b"}
    # another pane is full of others: what the session knows is kept by id, the rest is not
    assert fields(clicks("cdaabe", 2, known)) == ({"c": 1, "d": 1}, 1, {"a": 2, "b": 1})
    assert known == {"a", "b"}


def test_who_counts_says_whether_the_session_names_one_more() -> None:
    known, found = {"a"}, Clicks()
    assert [found.count(id_, 2, known) for id_ in "abbcd"] == [False, True, False, False, False]
    assert known == {"a", "b"}


def test_an_id_may_be_named_without_a_click() -> None:
    known, found = set[str](), Clicks()
    assert [found.name(id_, 2, known) for id_ in "aabc"] == [True, False, True, False]
    assert (fields(found), known) == (({"a": 0, "b": 0}, 0, {}), {"a", "b"})
    assert [Clicks().name("a", 2, {"a"}), Clicks().name("z", 1, {"a"})] == [False, False]


def test_one_bound_holds_for_several_figures_of_the_same_ids() -> None:
    known: set[str] = set()
    bound, pins = clicks("ab", 2, known), Clicks()
    bound.count("c", 2, known)
    for id_ in "aaczbb":
        pins.count_as(bound, id_, known)
    assert fields(pins) == ({"a": 2, "b": 2}, 2, {})
    other, more = clicks("cd", 2, known), Clicks()
    for id_ in "aacz":
        more.count_as(other, id_, known)
    assert fields(more) == ({"c": 1}, 1, {"a": 2})


def test_a_window_adds_what_was_spilled_to_what_it_does_not_name_and_a_session_to_what_it_does() -> None:
    known: set[str] = set()
    first, second = clicks("abcab", 2, known), clicks("cdaaez", 2, known)
    window = Clicks()
    for pane in (first, second):
        window.merge(pane)
    assert fields(window) == ({"a": 2, "b": 2, "c": 1, "d": 1}, 1 + 2 + 2, {})
    session = Clicks()
    for pane in (first, second):
        session.merge(pane, known)
    assert fields(session) == ({"a": 4, "b": 2}, 1 + 2 + 2, {})
    assert fields(first) == ({"a": 2, "b": 2}, 1, {}), "what is added stays as it is"
    assert fields(second) == ({"c": 1, "d": 1}, 2, {"a": 2})


def sales(number: int, minor: int = 0) -> Sales:
    return Sales(number, {"IDR": minor} if minor else {})


def orders(ids: str, limit: int, known: set[str], minor: int = 10) -> Orders:
    found = Orders()
    for id_ in ids:
        found.count(id_, {"IDR": minor}, limit, known)
    return found


def test_orders_are_named_like_clicks_and_keep_their_money() -> None:
    known: set[str] = set()
    found = orders("abcac", 2, known)
    assert (found.named, found.beyond, found.spilled) == ({"a": sales(2, 20), "b": sales(1, 10)}, sales(2, 20), {})
    other = orders("cdaabe", 2, known)
    assert (other.named, other.beyond) == ({"c": sales(1, 10), "d": sales(1, 10)}, sales(1, 10))
    assert other.spilled == {"a": sales(2, 20), "b": sales(1, 10)}
    assert known == {"a", "b"}
    fresh = Orders()
    assert [fresh.count(id_, {}, 2, {"a"}) for id_ in "abcb"] == [False, True, False, False]


def test_orders_merge_like_clicks_and_nothing_is_shared() -> None:
    known: set[str] = set()
    first, second = orders("abcab", 2, known), orders("cdaaezb", 2, known, minor=1)
    window, session = Orders(), Orders()
    for pane in (first, second, first):
        window.merge(pane)
        session.merge(pane, known)
    assert window.named == {"a": sales(4, 40), "b": sales(4, 40), "c": sales(1, 1), "d": sales(1, 1)}
    assert (window.beyond, window.spilled) == (sales(2 + 5, 20 + 5), {})
    assert session.named == {"a": sales(6, 42), "b": sales(5, 41)}
    assert (session.beyond, session.spilled) == (sales(2 + 4, 20 + 4), {})
    assert first.named == {"a": sales(2, 20), "b": sales(2, 20)}
    assert second.spilled == {"a": sales(2, 2), "b": sales(1, 1)}


SAID = [(5, "tea", 3), (7, "", 4), (6, "cup", 0), (7, "mug", 2), (7, "jar", 9), (4, "zzz", 99)]


@pytest.mark.parametrize("turn", range(len(SAID)))
def test_a_name_and_a_number_are_each_of_the_latest_event_that_says_it(turn: int) -> None:
    label = Label()
    assert (label.name_at, label.name, label.number_at, label.number) == (NEVER, "", NEVER, 0)
    for time, name, number in (*SAID[turn:], *SAID[:turn]):
        label.take(time, name, number)
    assert label == Label(7, "mug", 7, 9)


def test_labels_have_a_bound_and_are_merged_like_counts() -> None:
    known: set[str] = set()
    first, second = Labels(), Labels()
    for labels, ids in ((first, "ab"), (second, "cda")):
        for id_ in ids:
            label = labels.label(id_, 2, known)
            assert label is not None
            label.take(ord(id_), f"{id_}{len(known)}", 1)
    assert second.label("z", 2, known) is None
    assert (set(first.named), set(second.named), set(second.spilled), known) == (
        *({"a", "b"}, {"c", "d"}, {"a"}, {"a", "b"}),
    )
    spilled = second.label("a", 2, known)
    assert spilled is second.spilled["a"]
    window, session = Labels(), Labels()
    for labels in (first, second):
        window.merge(labels)
        session.merge(labels, known)
    assert set(window.named) == {"a", "b", "c", "d"}
    assert set(session.named) == {"a", "b"}
    assert (session.named["a"].name, window.named["a"].name) == ("a2", "a1")
    assert session.named["b"] == Label(98, "b2", 98, 1)
    assert window.named["c"] == second.named["c"]
    assert window.named["c"] is not second.named["c"]
    assert not window.spilled
