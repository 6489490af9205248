"""The referee against small examples worked out by hand from the documents."""

import base64
import json
import random
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.recount import (
    COUNTS,
    MAX_SUM,
    LogRecord,
    Recounted,
    Rules,
    Tally,
    an_id,
    discount_rate,
    half_even,
    local_share,
    rates,
    ratio,
    recount,
    starts,
    unique,
    value_of,
)

T = 1_700_000_040_000  # a whole minute, and the start of no 5-minute block
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
PATIENCE = 310_000  # delay + lateness
ONE_MINUTE = Rules(windows=(("1m", MINUTE, MINUTE),))
Fields = dict[str, Any]


def common(number: int, time: int, **fields: object) -> Fields:
    event = {"event_id": f"e{number}", "event_time": time, "session_id": "7301", "seller_id": "s9"}
    return event | {"viewer_id": "v1", "platform": "tiktok_shop"} | fields


def view(action: str, time: int = T, **fields: object) -> Fields:
    return common(0, time, action=action, **fields)


def comment(time: int = T, **fields: object) -> Fields:
    return common(0, time, text="halo", **fields)


def checkout(status: str, time: int = T, **fields: object) -> Fields:
    money = {"amount_minor": 5_350_000, "currency": "IDR", "items": []}
    return common(0, time, checkout_id="c1", status=status) | money | fields


def item(product: str, quantity: int, price: int, **fields: object) -> Fields:
    return {"product_id": product, "quantity": quantity, "unit_price_minor": price, **fields}


def kind_of(event: Fields) -> str:
    return "views" if "action" in event else "comments" if "text" in event else "checkouts"


def log(*events: Fields) -> list[LogRecord]:
    """Records in the order given, each with an id of its own where it came with none (`e0`)."""
    offsets: Counter[str] = Counter()
    records = []
    for number, event in enumerate(events, 1):
        kind, stamped = kind_of(event), {**event}
        if stamped.get("event_id") == "e0":
            stamped["event_id"] = f"e{number}"
        records.append(raw(json.dumps(stamped).encode(), kind, offsets[kind], timestamp=event["event_time"]))
        offsets[kind] += 1
    return records


def raw(value: bytes | None, kind: str = "views", offset: int = 0, timestamp: int = T, **fields: Any) -> LogRecord:
    return LogRecord(kind, fields.pop("partition", 0), offset, timestamp, fields.pop("key", b"7301"), value, **fields)


def count(*events: Fields, rules: Rules = ONE_MINUTE) -> Recounted:
    return recount(log(*events), rules)


def totals(*events: Fields, rules: Rules = ONE_MINUTE) -> Fields:
    return count(*events, rules=rules).sessions["7301"]


def outcomes(*events: Fields, kind: str) -> list[str]:
    """The outcome of each event, found by recounting ever longer prefixes of the log."""
    found: list[str] = []
    before: Counter[tuple[str, str]] = Counter()
    for length in range(1, len(events) + 1):
        after = count(*events[:length]).outcomes
        found += [outcome for (of, outcome), _ in (after - before).items() if of == kind]
        before = after
    return found


def faults(record: LogRecord, rules: Rules = ONE_MINUTE) -> set[str]:
    result = recount([record], rules)
    assert sum(result.outcomes.values()) == 1
    found = result.faults.get(record.place, set())
    assert result.outcomes[record.kind, "rejected"] == bool(found)
    reason = result.dead.get(record.place)
    assert (reason in found) if found else (reason is None)
    return found


def faults_of(event: Fields, **changes: object) -> set[str]:
    """The faults after changes; `...` takes the field away."""
    changed = {name: value for name, value in (event | changes).items() if value is not ...}
    return faults(raw(json.dumps(changed).encode(), kind_of(event)))


# --- The examples of the documents -----------------------------------------------------------------------------------

EXAMPLE = dict.fromkeys(COUNTS, 0) | {
    "impressions": 900,
    "views": 400,
    "product_impressions": 350,
    "product_clicks": 120,
    "likes": 55,
    "shares": 3,
    "follows": 2,
    "comments": 61,
    "checkouts_initiated": 14,
    "orders_paid": 9,
    "cod_orders": 2,
}


def test_rates_are_those_of_the_example_in_the_contract() -> None:
    items = {
        "local_item_value_minor": {"IDR": 60_000_000},
        "cross_border_item_value_minor": {"IDR": 24_000_000},
    }
    assert rates(EXAMPLE, {"IDR": 81_900_000}) | local_share(items, "IDR") == {
        "aov_minor": {"IDR": 9_100_000},
        "comment_rate": 0.1525,
        "ctor": 0.075,
        "ctr": 0.3,
        "enter_room_rate": 0.444444,
        "follow_rate": 0.005,
        "gpm_minor": {"IDR": 204_750_000},
        "like_rate": 0.1375,
        "live_ctr": 0.342857,
        "local_share": 0.714286,
        "order_rate": 0.0225,
        "payment_rate": 0.583333,
        "share_rate": 0.0075,
    }


def test_rates_with_a_denominator_of_0_are_absent() -> None:
    nothing = dict.fromkeys(COUNTS, 0)
    assert rates(nothing, {}) == {}
    assert rates(nothing, {"IDR": 5}) == {}
    assert "payment_rate" not in rates(nothing | {"checkouts_initiated": 2, "cod_orders": 2, "orders_paid": 2}, {})
    assert local_share({"local_item_value_minor": {"USD": 7}, "cross_border_item_value_minor": {}}, "IDR") == {}
    assert discount_rate({"gmv_minor": {"IDR": 0}, "discount_minor": {}}) == {}


def test_a_window_of_one_heartbeat_has_every_count_map_and_list() -> None:
    result = count(view("heartbeat", T + 1))
    assert result.windows == {
        f"7301/1m/{T}": {
            "session_id": "7301",
            "seller_id": "s9",
            "platform": "tiktok_shop",
            "window": "1m",
            "start": T,
            "end": T + MINUTE,
            "counts": dict.fromkeys(COUNTS, 0),
            "gmv_minor": {},
            "item_value_minor": {},
            "local_item_value_minor": {},
            "cross_border_item_value_minor": {},
            "discount_minor": {},
            "unique_viewers": 0,
            "unique_buyers": 0,
            "unique_error": 0.015316,
            "rates": {},
            "by_source": {},
            "by_affiliate": [],
            "products": [],
        },
    }


def test_a_session_has_the_fields_of_a_window_but_four_and_two_more() -> None:
    result = count(view("enter", T + 1))
    (window,) = result.windows.values()
    expected = {name: value for name, value in window.items() if name not in {"window", "start", "end"}}
    assert result.sessions == {"7301": expected | {"first_event": T + 1, "last_event": T + 1}}


# --- Windows ---------------------------------------------------------------------------------------------------------


def test_windows_are_half_open_and_aligned_to_the_epoch() -> None:
    result = count(view("enter", T - 1), view("enter", T), view("enter", T + MINUTE - 1))
    assert {key: window["counts"]["views"] for key, window in result.windows.items()} == {
        f"7301/1m/{T - MINUTE}": 1,
        f"7301/1m/{T}": 2,
    }


def test_an_event_is_in_five_hopping_windows() -> None:
    result = count(view("enter", T), view("enter", T + 4 * MINUTE), rules=Rules())
    hopping = {w["start"]: w["counts"]["views"] for w in result.windows.values() if w["window"] == "5m"}
    assert hopping == {T + minutes * MINUTE: 2 if minutes == 0 else 1 for minutes in range(-4, 5)}


def test_panes_are_the_greatest_common_divisor() -> None:
    assert Rules().pane_ms == MINUTE
    assert Rules(windows=(("90s", 90_000, 90_000), ("4m", 240_000, MINUTE))).pane_ms == 30_000
    assert list(starts(30_000, 90_000, MINUTE)) == [0]
    assert list(starts(0, 90_000, MINUTE)) == [0, -MINUTE]


# --- Judging ---------------------------------------------------------------------------------------------------------


def test_a_tombstone_is_counted_as_such_whatever_its_key() -> None:
    result = recount([raw(None, key=None), raw(None, offset=1, key=b"another")])
    assert result == Recounted(outcomes=Counter({("views", "tombstone"): 2}))


def test_future_is_more_than_a_minute_after_the_brokers_timestamp() -> None:
    value = json.dumps(view("enter", T + MINUTE)).encode()
    assert faults(raw(value, timestamp=T)) == set()
    assert faults(raw(value, timestamp=T - 1)) == {"future"}


def test_a_time_in_seconds_is_a_bad_value_where_the_broker_s_clock_is_set() -> None:
    value = json.dumps(view("enter", 10**11 - 1)).encode()
    assert faults(raw(value, timestamp=10**12 + 1)) == {"bad_value"}
    assert faults(raw(value, timestamp=10**12)) == set()
    assert faults(raw(json.dumps(view("enter", 10**11)).encode(), timestamp=10**12 + 1)) == set()


def test_a_future_event_moves_no_clock() -> None:
    bad = raw(json.dumps(view("enter", T + HOUR)).encode(), offset=0)
    good = raw(json.dumps(view("enter", T)).encode(), offset=1)
    assert recount([bad, good]).outcomes == {("views", "rejected"): 1, ("views", "counted"): 1}


def test_late_is_when_time_and_delay_and_lateness_reach_the_own_clock() -> None:
    on_the_edge, late = view("enter", T + 1), view("enter", T)
    result = count(view("enter", T + PATIENCE), on_the_edge, late)
    assert result.outcomes == {("views", "counted"): 2, ("views", "late"): 1}
    assert result.dead == {("views", 0, 2): "late"}
    assert result.faults == {}


def test_late_looks_at_no_other_topic_and_no_other_partition() -> None:
    ahead = log(view("enter", T + HOUR))
    behind = log(comment(T))
    elsewhere = raw(json.dumps(view("enter", T, session_id="8")).encode(), partition=1, key=b"8")
    assert set(recount([*ahead, *behind, elsewhere]).outcomes) == {("views", "counted"), ("comments", "counted")}


def test_duplicates_and_uncounted_checkouts_move_the_clock() -> None:
    first, cod = checkout("initiated", T), checkout("paid", T + PATIENCE, is_cod=True)
    assert outcomes(first, cod, checkout("failed", T), kind="checkouts") == ["counted", "not_an_order", "total_only"]


def test_a_late_checkout_is_in_the_totals_alone_as_long_as_its_repeats_are_known() -> None:
    order = checkout("paid", T, amount_minor=500)
    for behind, outcome in ((PATIENCE, "total_only"), (DAY - 1, "total_only"), (DAY, "late")):
        result = recount(log(order, view("enter", T)), Rules())
        assert result.outcomes["checkouts", "counted"] == 1
        ahead = checkout("failed", T + behind)
        result = recount(log(ahead, order, order), Rules())
        assert result.outcomes["checkouts", outcome] == (1 if outcome == "total_only" else 2)
        assert result.outcomes["checkouts", "duplicate"] == (1 if outcome == "total_only" else 0)
        orders = sum(window["counts"]["orders_paid"] for window in result.windows.values())
        assert (orders, result.sessions["7301"]["counts"]["orders_paid"]) == (0, int(outcome == "total_only"))


def test_an_id_counts_once_per_topic_session_and_pane() -> None:
    enter = view("enter", T, event_id="x")
    same_pane, next_pane = enter | {"event_time": T + 59_999}, enter | {"event_time": T + MINUTE}
    assert outcomes(enter, enter, same_pane, next_pane, kind="views") == [
        *("counted", "duplicate", "duplicate", "counted"),
    ]
    assert count(enter, comment(event_id="x")).outcomes == {("views", "counted"): 1, ("comments", "counted"): 1}


def test_a_repeat_is_a_duplicate_until_its_pane_is_dropped_and_then_late() -> None:
    enter = view("enter", T, event_id="x")
    edge = T + MINUTE + PATIENCE
    assert outcomes(enter, view("enter", edge - 1), enter, kind="views")[-1] == "duplicate"
    assert outcomes(enter, view("enter", edge), enter, kind="views")[-1] == "late"


def test_late_events_note_no_id() -> None:
    late = view("enter", T, event_id="x")
    within_the_pane = late | {"event_time": T + 1}
    assert outcomes(view("enter", T + PATIENCE), late, within_the_pane, kind="views") == ["counted", "late", "counted"]


def test_a_topic_admits_so_many_sessions_a_pane_and_knows_so_many() -> None:
    rules = Rules(max_new_sessions=1, max_sessions=2)
    names = ["a", "b", "a", "b", "c", "b"]
    times = [T, T, T, T + MINUTE, T + 2 * MINUTE, T + 2 * MINUTE]
    events = [
        raw(
            json.dumps(view("enter", time, session_id=name, event_id=f"e{at}")).encode(),
            offset=at,
            key=name.encode(),
            timestamp=time,
        )
        for at, (name, time) in enumerate(zip(names, times, strict=True))
    ]
    result = recount(events, rules)
    assert result.dead == {("views", 0, 1): "too_many_sessions", ("views", 0, 4): "too_many_sessions"}
    assert result.outcomes == {("views", "counted"): 4, ("views", "rejected"): 2}


@pytest.mark.parametrize(("later", "room"), [(DAY + MINUTE - 1, False), (DAY + MINUTE, True)])
def test_a_session_is_known_until_session_keep_after_its_latest_pane(later: int, room: bool) -> None:
    first = raw(json.dumps(view("enter", T)).encode(), offset=0)
    second = raw(json.dumps(view("enter", T + later, session_id="8")).encode(), offset=1, key=b"8", timestamp=T + later)
    assert recount([first, second], Rules(max_sessions=1)).outcomes["views", "counted"] == 1 + room


def test_a_checkout_counts_once_per_status_and_a_failure_once_per_attempt() -> None:
    events = [
        *(checkout("initiated"), checkout("initiated", T + HOUR), checkout("submitted"), checkout("paid")),
        *(checkout("failed"), checkout("failed", attempt=0), checkout("failed", attempt=1)),
        *(checkout("paid", checkout_id="c2"), checkout("paid", attempt=1)),
    ]
    late_free = [event | {"event_time": T + number} for number, event in enumerate(events)]
    assert outcomes(*late_free, kind="checkouts") == [
        *("counted", "duplicate", "counted", "counted", "counted", "duplicate", "counted", "counted", "duplicate"),
    ]


def test_checkout_keys_are_held_for_a_day_and_not_extended_by_repeats() -> None:
    first, repeat = checkout("paid", T), checkout("paid", T + HOUR)
    just_before, just_at = checkout("paid", T + DAY - 1), checkout("paid", T + DAY)
    assert outcomes(first, repeat, just_before, kind="checkouts") == ["counted", "duplicate", "duplicate"]
    assert outcomes(first, repeat, just_at, just_at, kind="checkouts") == [
        *("counted", "duplicate", "counted", "duplicate"),
    ]


def test_a_duplicate_by_checkout_key_notes_no_id() -> None:
    resent = checkout("paid", T + 1, event_id="x")
    other = checkout("paid", T + 2, event_id="x", checkout_id="c2")
    assert outcomes(checkout("paid"), resent, other, kind="checkouts") == ["counted", "duplicate", "counted"]


def test_paid_of_a_cod_checkout_is_never_an_order_and_notes_its_id_and_key() -> None:
    paid = checkout("paid", is_cod=True, event_id="x")
    assert outcomes(paid, paid, checkout("paid"), kind="checkouts") == ["not_an_order", "duplicate", "duplicate"]
    assert count(paid) == Recounted(outcomes=Counter({("checkouts", "not_an_order"): 1}))


# --- Faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", {"invalid_json"}),
        (b"{", {"invalid_json"}),
        (b"\xef\xbb\xbf{}", {"invalid_json"}),
        (b'{"x": NaN}', {"invalid_json"}),
        (b'{"x": -Infinity}', {"invalid_json"}),
        (b'{"x": "\n"}', {"invalid_json"}),
        (b'{"x": "\\ud800"}', {"invalid_json"}),
        (b'{"x": [["\\udc00"]], "x": 1}', {"invalid_json"}),
        (b'{"\\ud83d\\u0041": 1}', {"invalid_json"}),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {"invalid_json"}),
        (b"null", {"wrong_type"}),
        (b"[]", {"wrong_type"}),
        (b'"text"', {"wrong_type"}),
        (b"\xff", {"not_utf8", "invalid_json"}),
        (b'"\xff"', {"not_utf8", "wrong_type"}),
    ],
)
def test_a_value_that_is_no_event_at_all(value: bytes, expected: set[str]) -> None:
    assert faults(raw(value)) == expected


def test_utf8_is_demanded_of_ignored_fields_too() -> None:
    good = json.dumps(view("enter", ignored="X")).encode()
    assert faults(raw(good.replace(b"X", b"\xed\xa0\x80"))) == {"not_utf8"}
    assert faults(raw(good.replace(b"X", "\U0001f600".encode()))) == set()
    assert faults(raw(good.replace(b"X", b"\\ud83d\\ude00 \\\\ud800"))) == set()


VIEW, COMMENT, CHECKOUT = view("enter"), comment(), checkout("paid")
ONE_ITEM = item("p1", 1, 1)


@pytest.mark.parametrize(
    ("event", "required"),
    [
        (VIEW, "event_id event_time session_id seller_id viewer_id platform action"),
        (COMMENT, "event_id event_time session_id seller_id viewer_id platform text"),
        (CHECKOUT, "checkout_id status amount_minor currency items"),
    ],
)
def test_required_fields_are_missing_or_of_the_wrong_type_when_null(event: Fields, required: str) -> None:
    for name in required.split():
        assert faults_of(event, **{name: ...}) == {"missing_field"}
        assert faults_of(event, **{name: None}) == {"wrong_type"}


@pytest.mark.parametrize(
    ("event", "optional"),
    [
        (VIEW, "creator_id affiliate_id source product_id product_name basket_number count gift_value"),
        (VIEW, "concurrent_viewers title seller_name creator_name"),
        (VIEW, "watch_ms"),
        (COMMENT, "comment_id language"),
        (CHECKOUT, "attempt order_id payment_method is_cod failure_code discount_minor voucher_id"),
    ],
)
def test_optional_fields_may_be_null_but_not_of_another_type(event: Fields, optional: str) -> None:
    for name in optional.split():
        assert faults_of(event, **{name: None}) == set()
        assert faults_of(event, **{name: [1]}) == {"wrong_type"}


@pytest.mark.parametrize(
    ("event", "name", "fine", "bad"),
    [
        (VIEW, "event_time", (10**11, T), (-1, 0, 10**11 - 1, 10**400)),
        (VIEW, "count", (1, 10**6), (0, 10**6 + 1)),
        (VIEW, "gift_value", (0, 10**13), (-1, 10**13 + 1, 2**64)),
        (VIEW, "watch_ms", (0, DAY), (-1, DAY + 1)),
        (VIEW, "concurrent_viewers", (0, 10**9), (-1, 10**9 + 1, 2**64)),
        (CHECKOUT, "attempt", (0, 1000), (-1, 1001)),
        (CHECKOUT, "amount_minor", (0, 10**13), (-1, 10**13 + 1, -(2**63) - 1)),
        (CHECKOUT, "discount_minor", (0, 10**13), (-1, 10**13 + 1, 2**64)),
        (CHECKOUT, "voucher_id", ("a/b", "x" * 128), ("", "x" * 129, "a\n")),
        (CHECKOUT, "currency", ("IDR", "USD", "MYR"), ("idr", "ZZZ", "")),
        (CHECKOUT, "items", ([], [ONE_ITEM] * 200), ([ONE_ITEM] * 201,)),
        (VIEW, "event_id", ("a", "é" * 128, "a/b"), ("", "a" * 129, "a\n", "a\x7f", "\x85")),
        (VIEW, "seller_id", ("a b",), ("a/b",)),
        (VIEW, "affiliate_id", ("a",), ("", "a/b")),
        (VIEW, "product_id", ("a/b",), ("",)),
        (VIEW, "product_name", ("", "\n", "é" * 200), ("é" * 201,)),
        (VIEW, "basket_number", (1, 10**6), (0, 10**6 + 1)),
        (VIEW, "title", ("", "\n", "é" * 200), ("é" * 201,)),
        (VIEW, "seller_name", ("é" * 200,), ("é" * 201,)),
        (VIEW, "creator_name", ("é" * 200,), ("é" * 201,)),
        (COMMENT, "text", ("", "x" * 5000, "\n"), ()),
        (VIEW, "platform", ("", "x" * 500), ()),
    ],
)
def test_values_have_ranges(event: Fields, name: str, fine: Iterable[object], bad: Iterable[object]) -> None:
    for value in fine:
        assert faults_of(event, **{name: value}) == set()
    for value in bad:
        assert faults_of(event, **{name: value}) - {"future"} == {"bad_value"}


@pytest.mark.parametrize("action", ["pin", "unpin"])
def test_a_pin_is_of_a_product(action: str) -> None:
    assert faults_of(VIEW, action=action, product_id="p1") == set()
    assert faults_of(VIEW, action=action, product_id=...) == {"missing_field"}
    assert faults_of(VIEW, action=action, product_id=None) == {"wrong_type"}
    assert faults_of(VIEW, action="gift", product_id=...) == set()


def test_event_time_ends_at_2_to_the_42() -> None:
    for time, expected in ((2**42, set()), (2**42 + 1, {"bad_value"})):
        assert faults(raw(json.dumps(view("enter", time)).encode(), timestamp=2**42)) == expected


@pytest.mark.parametrize("value", [1.0, 1.5, True, "1"])
def test_integers_are_only_integers(value: object) -> None:
    assert faults_of(VIEW, count=value) == {"wrong_type"}
    assert faults_of(CHECKOUT, items=[ONE_ITEM | {"quantity": value}]) == {"wrong_type"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"quantity": 10_000, "unit_price_minor": 10**9}, set()),
        ({"quantity": 10_000, "unit_price_minor": 10**9 + 1}, {"bad_value"}),
        ({"quantity": 0}, {"bad_value"}),
        ({"quantity": 10_001}, {"bad_value"}),
        ({"unit_price_minor": -1}, {"bad_value"}),
        ({"local": None}, set()),
        ({"local": 1}, {"wrong_type"}),
        ({"product_id": None, "quantity": 0}, {"wrong_type", "bad_value"}),
    ],
)
def test_items_are_checked_too(changed: Fields, expected: set[str]) -> None:
    assert faults_of(CHECKOUT, items=[ONE_ITEM, ONE_ITEM | changed]) == expected
    assert faults_of(CHECKOUT, items=[[]]) == {"wrong_type"}


def test_unknown_actions_and_statuses_have_reasons_of_their_own() -> None:
    assert faults_of(VIEW, action="teleport") == {"unknown_action"}
    assert faults_of(CHECKOUT, status="Paid") == {"unknown_status"}
    assert faults_of(VIEW, action=7, seller_id=...) == {"wrong_type", "missing_field"}


def test_of_a_repeated_key_the_last_counts() -> None:
    value = json.dumps(VIEW).encode()
    assert faults(raw(b'{"count": "x", ' + value[1:-1] + b', "count": 2}')) == set()


@pytest.mark.parametrize("key", [None, b"", b"7302", b"7301 ", b"\xff"])
def test_the_key_must_be_the_session(key: bytes | None) -> None:
    assert faults(raw(json.dumps(VIEW).encode(), key=key)) == {"key_mismatch"}


def test_too_large_is_judged_first() -> None:
    rules = Rules(max_value=20)
    assert faults(raw(b"{" * 21, key=None), rules) == {"too_large"}
    assert faults(raw(b"{" * 20), rules) == {"invalid_json"}


def test_control_characters_are_those_of_unicodes_category_cc() -> None:
    check = an_id()
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) == "Cc":
            assert check(chr(code)) == ("bad_value",)
    assert check("\u200b\u2028") == ()


STRUCTURED = (("content-type", b"application/cloudevents+json; charset=utf-8"),)


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        ({"specversion": "1.0", "data": VIEW}, set()),
        ({"data_base64": base64.b64encode(json.dumps(VIEW).encode()).decode()}, set()),
        ({"data": VIEW | {"action": "x"}}, {"unknown_action"}),
        ({"data": json.dumps(VIEW)}, {"wrong_type"}),
        ({"data_base64": base64.b64encode(b"\xff{").decode()}, {"not_utf8", "invalid_json"}),
        (VIEW, {"missing_field"}),
    ],
)
def test_structured_cloudevents_are_opened(envelope: Fields, expected: set[str]) -> None:
    assert faults(raw(json.dumps(envelope).encode(), headers=STRUCTURED)) == expected


def test_in_binary_cloudevents_the_value_is_the_event() -> None:
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"other"), ("content-type", b"application/json"))
    assert faults(raw(json.dumps(VIEW).encode(), headers=headers)) == set()


# --- Counting --------------------------------------------------------------------------------------------------------


def test_actions_move_their_counters_and_only_likes_and_gifts_come_in_bundles() -> None:
    actions = (
        "impression enter heartbeat leave product_impression product_click add_to_cart like share follow gift unpin"
    )
    views = [view(action, count=5, product_id="p") for action in actions.split()]
    counts = totals(*views, view("like"), comment())["counts"]
    assert counts == dict.fromkeys(COUNTS, 0) | {
        "impressions": 1,
        "views": 1,
        "product_impressions": 1,
        "product_clicks": 1,
        "adds_to_cart": 1,
        "likes": 6,
        "shares": 1,
        "follows": 1,
        "comments": 1,
        "gifts": 5,
    }


def test_orders_are_paid_checkouts_and_cod_initiations() -> None:
    bought = [item("p1", 2, 100, local=True), item("p2", 3, 10, local=False), item("p1", 1, 50)]
    value = totals(
        checkout("initiated", items=bought),
        checkout("submitted", items=bought),
        checkout("paid", items=bought, amount_minor=300, viewer_id="a"),
        checkout("initiated", checkout_id="c2", is_cod=True, amount_minor=0, currency="USD", viewer_id="b"),
        checkout("submitted", checkout_id="c2", is_cod=True),
        checkout("failed", checkout_id="c3", items=bought),
        checkout("cancelled", checkout_id="c1", items=bought),
        checkout("refunded", checkout_id="c1", items=bought),
    )
    assert value["counts"] == dict.fromkeys(COUNTS, 0) | {
        "checkouts_initiated": 2,
        "checkouts_submitted": 2,
        "checkouts_failed": 1,
        "orders_paid": 2,
        "cod_orders": 1,
        "items_sold": 6,
        "orders_cancelled": 1,
        "orders_refunded": 1,
    }
    assert value["gmv_minor"] == {"IDR": 300, "USD": 0}
    assert value["item_value_minor"] == {"IDR": 280}
    assert value["local_item_value_minor"] == {"IDR": 200}
    assert value["cross_border_item_value_minor"] == {"IDR": 30}
    assert value["unique_buyers"] == 2
    assert value["products"] == [
        clicked("p1", 0, 1, IDR=250),
        clicked("p2", 0, 1, IDR=30),
    ]
    assert value["rates"] == {
        "aov_minor": {"IDR": 150, "USD": 0},
        "discount_rate": {"IDR": 0.0},
        "local_share": 0.869565,
        "payment_rate": 1.0,
    }


def test_first_and_last_event_leave_cancels_and_refunds_aside() -> None:
    value = totals(checkout("cancelled", T), view("leave", T + 1), comment(T + 2), checkout("refunded", T + 3))
    assert (value["first_event"], value["last_event"]) == (T + 1, T + 2)
    only = totals(checkout("cancelled", T))
    assert {"first_event", "last_event"} & only.keys() == set()
    assert only["counts"]["orders_cancelled"] == 1


def test_concurrent_viewers_last_peak_and_mean() -> None:
    samples = ((T, 9), (T + 5, 2), (T + 5, 3), (T + 1, 7))
    value = totals(*(view("heartbeat", time, concurrent_viewers=n) for time, n in samples), view("like", watch_ms=3))
    assert (value["concurrent_last"], value["concurrent_peak"], value["concurrent_avg"]) == (3, 9, 5.2)  # 5.25
    assert value["counts"]["watch_ms"] == 3
    assert totals(view("leave", concurrent_viewers=0))["concurrent_peak"] == 0


def test_labels_are_each_from_the_latest_event_that_carries_it() -> None:
    value = totals(
        view("enter", T + 2, seller_id="a", creator_id="old", platform="shopee"),
        checkout("refunded", T + 3, seller_id="b", platform="zoo"),
        comment(T + 3, seller_id="é", platform="lazada"),
    )
    assert (value["seller_id"], value["creator_id"], value["platform"]) == ("é", "old", "other")


def test_sources_appear_when_a_figure_is_not_0() -> None:
    value = totals(
        *(view("enter"), view("enter", source="ads"), view("product_click", source="billboard")),
        *(view("like", source="push"), checkout("paid", source="ads", amount_minor=5)),
        checkout("initiated", checkout_id="c2", source="search"),
    )
    nothing: Fields = {"views": 0, "product_clicks": 0, "orders_paid": 0, "gmv_minor": {}}
    assert value["by_source"] == {
        "ads": nothing | {"views": 1, "orders_paid": 1, "gmv_minor": {"IDR": 5}},
        "other": nothing | {"product_clicks": 1},
        "unknown": nothing | {"views": 1},
    }


def clicked(product: str, clicks: int = 0, orders: int = 0, pins: int = 0, **money: int) -> Fields:
    figures = {"product_clicks": clicks, "orders_paid": orders, "item_value_minor": money, "pins": pins}
    return {"product_id": product, **figures}


def test_products_are_ranked_by_value_then_clicks_then_id() -> None:
    value = totals(
        *(view("product_click", product_id=name) for name in ("é", "z", "b", "b", "a")),
        view("product_click"),
        view("product_impression", product_id="seen"),
        checkout("paid", items=[item("cheap", 1, 1)]),
        checkout("paid", checkout_id="c2", currency="USD", items=[item("dollars", 1, 9)]),
    )
    assert value["products"] == [
        *(clicked("cheap", 0, 1, IDR=1), clicked("b", 2), clicked("a", 1), clicked("z", 1), clicked("é", 1)),
        clicked("dollars", 0, 1, USD=9),
    ]


def test_beyond_twenty_the_rest_is_one_element() -> None:
    clicks = [view("product_click", affiliate_id=f"a{n:02}") for n in range(22)]
    order = checkout("paid", affiliate_id="buyers", amount_minor=7)
    elements = totals(*clicks, order)["by_affiliate"]
    assert elements[0] == {"affiliate_id": "buyers", "product_clicks": 0, "orders_paid": 1, "gmv_minor": {"IDR": 7}}
    assert [element.get("affiliate_id") for element in elements[1:]] == [*(f"a{n:02}" for n in range(19)), None]
    assert elements[20:] == [{"rest": 3, "product_clicks": 3, "orders_paid": 0, "gmv_minor": {}}]


def test_names_are_bounded_per_pane_and_side_and_once_more_per_session() -> None:
    rules = Rules(windows=(("1m", MINUTE, MINUTE), ("2m", 2 * MINUTE, 2 * MINUTE)), max_ids=2)
    start = T - T % (2 * MINUTE)
    result = count(
        *(view("product_click", start, product_id=name) for name in ("a", "b", "c", "a")),
        view("product_click", start + MINUTE, product_id="c"),
        checkout("paid", start, items=[item("d", 1, 1), item("c", 1, 2), item("a", 1, 4), item("a", 1, 8)]),
        rules=rules,
    )
    unnamed = {"unnamed": True, "product_clicks": 1, "orders_paid": 1, "item_value_minor": {"IDR": 12}, "pins": 0}
    first = [clicked("c", 0, 1, IDR=2), clicked("d", 0, 1, IDR=1), clicked("a", 2), clicked("b", 1), unnamed]
    both = [clicked("c", 1, 1, IDR=2), *first[1:]]
    assert result.windows[f"7301/1m/{start}"]["products"] == first
    assert result.windows[f"7301/1m/{start + MINUTE}"]["products"] == [clicked("c", 1)]
    assert result.windows[f"7301/2m/{start}"]["products"] == both
    assert result.sessions["7301"]["products"] == [*first[:4], unnamed | {"product_clicks": 2}]


def test_gifts_come_in_bundles_and_have_a_value() -> None:
    gifts = (
        view("gift", count=5, gift_value=495),
        view("gift", gift_value=1),
        view("gift"),
        view("like", gift_value=9),
    )
    counts = totals(*gifts)["counts"]
    assert (counts["gifts"], counts["gift_value"], counts["likes"]) == (7, 496, 1)


def test_discounts_are_of_orders_and_above_0() -> None:
    orders = [("IDR", 90, 10), ("IDR", 100, 0), ("IDR", 30, None), ("USD", 0, 7), ("MYR", 0, 0)]
    bought = [
        checkout("paid", checkout_id=f"d{n}", currency=code, amount_minor=amount, discount_minor=off)
        for n, (code, amount, off) in enumerate(orders)
    ]
    value = totals(*bought, checkout("failed", checkout_id="f", discount_minor=1000))
    assert value["discount_minor"] == {"IDR": 10, "USD": 7}
    assert value["counts"]["discounted_orders"] == 2
    assert value["rates"]["discount_rate"] == {"IDR": 0.043478, "USD": 1.0}


def test_pins_are_counted_by_product_and_share_the_bound_of_clicks() -> None:
    pins = [
        view(action, product_id=name) for action, name in (("pin", "a"), ("pin", "b"), ("unpin", "a"), ("pin", "a"))
    ]
    clicks = [view("product_click", product_id=name) for name in ("b", "c")]
    value = count(*pins, *clicks, rules=Rules(windows=(("1m", MINUTE, MINUTE),), max_ids=2)).sessions["7301"]
    unnamed = {"unnamed": True, "product_clicks": 1, "orders_paid": 0, "item_value_minor": {}, "pins": 0}
    assert value["products"] == [clicked("b", 1, pins=1), clicked("a", pins=2), unnamed]


def test_gmv_per_hour_is_from_the_first_view_or_comment_to_the_last_and_from_ten_minutes_on() -> None:
    order, late = checkout("paid", T, amount_minor=500), checkout("submitted", T + 3 * HOUR, checkout_id="c9")
    for minutes, expected in ((10, {"IDR": 3000}), (45, {"IDR": 667})):
        value = totals(view("leave", T + 5), order, comment(T + 5 + minutes * MINUTE), late)
        assert value["rates"]["gmv_per_hour_minor"] == expected
    value = totals(view("leave", T + 5), order, comment(T + 4 + 10 * MINUTE), late)
    assert "gmv_per_hour_minor" not in value["rates"]


def test_unique_viewers_are_those_who_entered() -> None:
    value = totals(*(view("enter", viewer_id=f"v{n % 7}") for n in range(30)), view("like", viewer_id="liker"))
    assert value["unique_viewers"] == 7
    assert unique([]) == 0


def test_uniques_do_not_depend_on_the_order() -> None:
    texts = [f"v{n}" for n in range(20_000)]
    assert unique(texts) == unique(reversed(texts)) == pytest.approx(20_000, rel=4 * 0.015316)


# --- Numbers ---------------------------------------------------------------------------------------------------------


def test_halves_go_to_the_even_neighbour() -> None:
    assert [half_even(n, 2) for n in range(6)] == [0, 0, 1, 2, 2, 2]
    assert [half_even(n, 3) for n in range(6)] == [0, 0, 1, 1, 1, 2]
    assert half_even(10**30 + 1, 2) == 10**30 // 2


def test_ratios_are_rounded_from_exact_integers() -> None:
    assert ratio(1, 2_000_000, 6) == 0.0
    assert ratio(3, 2_000_000, 6) == 0.000002
    assert ratio(231_450_001, 10**6 * 100, 1) == 2.3
    assert json.dumps(ratio(400, 900, 6)) == "0.444444"


def test_sums_saturate() -> None:
    tally = Tally(item_value={"IDR": MAX_SUM + 1, "USD": MAX_SUM}, gmv={"IDR": MAX_SUM}, counts=Counter(views=10))
    value = value_of("7301", tally, Rules())
    assert value["item_value_minor"] == {"IDR": MAX_SUM, "USD": MAX_SUM}
    assert value["rates"]["gpm_minor"] == {"IDR": MAX_SUM}


# --- Laws ------------------------------------------------------------------------------------------------------------


def some_events(chance: random.Random, number: int) -> Iterable[Fields]:
    for n in range(number):
        time = T + 1000 * n - chance.choice((0, 0, 0, 2_000, 400_000))
        names: Fields = {"event_id": f"e{chance.randrange(1, number)}", "viewer_id": f"v{chance.randrange(50)}"}
        names |= {"affiliate_id": chance.choice((None, "a", "b")), "creator_id": chance.choice((None, "c", "d"))}
        kind = chance.randrange(3)
        if kind == 0:
            action = chance.choice(("enter", "like", "product_click", "fly", "gift", "pin"))
            yield view(action, time, product_id="p", gift_value=n, concurrent_viewers=chance.randrange(9), **names)
        elif kind == 1:
            yield comment(time, **names)
        else:
            status = chance.choice(("initiated", "paid", "failed", "refunded"))
            cod, name = chance.random() < 0.5, f"c{chance.randrange(number)}"
            yield checkout(status, time, checkout_id=name, is_cod=cod, items=[ONE_ITEM], discount_minor=n % 3, **names)


@pytest.mark.parametrize("seed", range(5))
def test_the_result_is_a_function_of_the_logs_and_the_outcomes_add_up(seed: int) -> None:
    chance = random.Random(seed)
    records = log(*some_events(chance, 600))
    expected = recount(records, Rules(max_ids=1))
    chance.shuffle(records)
    assert recount(records, Rules(max_ids=1)) == expected
    assert sum(expected.outcomes.values()) == len(records)
    assert {outcome for _, outcome in expected.outcomes} == {
        *("counted", "total_only", "duplicate", "late", "not_an_order", "rejected"),
    }
    refused = sum(n for (_, outcome), n in expected.outcomes.items() if outcome in {"late", "rejected"})
    assert len(expected.dead) == refused


@pytest.mark.parametrize("seed", range(3))
def test_tumbling_windows_add_up_to_the_totals(seed: int) -> None:
    result = count(*some_events(random.Random(seed), 400), rules=replace(ONE_MINUTE, late_totals_ms=0))
    added: Counter[str] = Counter()
    for window in result.windows.values():
        added.update(window["counts"])
    assert added == Counter(result.sessions["7301"]["counts"])


@pytest.mark.parametrize("seed", range(3))
def test_a_window_over_all_panes_says_what_the_session_says(seed: int) -> None:
    rules = Rules(windows=(("day", DAY, DAY), ("1m", MINUTE, MINUTE)), late_totals_ms=0)
    result = count(*some_events(random.Random(seed), 400), rules=rules)
    (window,) = (value for value in result.windows.values() if value["window"] == "day")
    totals = result.sessions["7301"]
    totals["rates"].pop("gmv_per_hour_minor", None)  # of totals only
    assert {name: window[name] for name in window if name not in {"window", "start", "end"}} == {
        name: totals[name] for name in totals if name not in {"first_event", "last_event"}
    }


def test_a_session_on_two_partitions_is_refused() -> None:
    value = json.dumps(VIEW).encode()
    with pytest.raises(ValueError, match="two partitions"):
        recount([raw(value), raw(value, partition=1)])
