"""The independent recount: what liveshop must have counted, worked out a second time from the raw logs.

It is the referee of the chaos tests, written from docs/architecture.md, counting.md and topics.md and nothing else.
Rule 1: nothing of `stream` is imported or copied here. Where the two differ, one of them has misread the documents.
Rule 2: no cleverness. Every set of ids is kept whole, nothing is ever dropped, "held" is decided by arithmetic alone.

Whole topics are read one after another, since "the last revision of every window is a function of the input logs and
the configuration alone" (law 1). Four things are no function of one topic's log and left out. Callers arrange for them
not to happen:
- `pane_gone`: no topic of a shard falls more than `state_retention` behind the newest clock;
- frozen totals: no session is touched again `session_keep` after its end;
- `incomplete`: the logs are whole, from offset 0;
- one session on two partitions (misplaced keys): raises ValueError, the results would share their keys.
"""

import base64
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

from datasketches import cpc_sketch, cpc_union

Event = Mapping[str, Any]  # a decoded event, as JSON has it
Value = dict[str, Any]  # a result, as JSON has it

MINUTE_MS, DAY_MS = 60_000, 86_400_000
TOO_MANY = ("too_many_sessions", "too_many_events")
LEAST_MS, SET_MS = 10**11, 10**12
MAX_SUM = 2**63 - 1
UNIQUE_ERROR = 0.015316
RANKED = 20

KINDS = ("views", "comments", "checkouts")
SOURCES = frozenset(
    {
        *("for_you", "following", "search", "share", "live_feed", "shop_tab", "profile", "affiliate_link"),
        *("push", "ads", "other"),
    },
)
PLATFORMS = frozenset({"tiktok_shop", "tokopedia", "shopee", "lazada", "blibli"})
# Views by action: the counter each moves ("views = enter"; heartbeat and leave move none; likes add `count`).
ACTIONS = {
    "impression": "impressions",
    "enter": "views",
    "heartbeat": None,
    "leave": None,
    "product_impression": "product_impressions",
    "product_click": "product_clicks",
    "add_to_cart": "adds_to_cart",
    "like": "likes",
    "share": "shares",
    "follow": "follows",
    "gift": "gifts",
    "pin": None,
    "unpin": None,
    "start": None,
    "end": None,
}
# Checkouts by status: paid ones are orders, and only if not COD.
STATUSES = {
    "initiated": "checkouts_initiated",
    "submitted": "checkouts_submitted",
    "paid": None,
    "failed": "checkouts_failed",
    "cancelled": "orders_cancelled",
    "refunded": "orders_refunded",
}
COUNTS = (
    *("impressions", "views", "product_impressions", "product_clicks", "adds_to_cart", "likes", "shares", "follows"),
    *("watch_ms", "comments", "checkouts_initiated", "checkouts_submitted", "checkouts_failed"),
    *("orders_paid", "cod_orders", "items_sold", "orders_cancelled", "orders_refunded"),
    *("gifts", "gift_value", "discounted_orders"),
)
# ISO 4217, those with minor units: no metals, bonds, test or "no currency" codes, an amount in which has no meaning.
CURRENCIES = frozenset(
    re.findall(
        "[A-Z]{3}",
        """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE
    CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD
    MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR
    RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH
    UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
        """,
    ),
)
DIGITS = {  # of the minor unit, where it has not 2
    **dict.fromkeys(re.findall("[A-Z]{3}", "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"), 0),
    **dict.fromkeys(re.findall("[A-Z]{3}", "BHD IQD JOD KWD LYD OMR TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


@dataclass(frozen=True)
class LogRecord:
    """One record of an input topic, as it lies in the log."""

    kind: str  # views, comments or checkouts
    partition: int
    offset: int
    timestamp: int  # the broker's, ms
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    create_time: bool = False  # its producer stamped it: its batch is of the type CreateTime

    @property
    def place(self) -> tuple[str, int, int]:
        return self.kind, self.partition, self.offset


@dataclass(frozen=True)
class RefusedBatch:
    """A batch that no consumer can read, as whoever sent it knows it: one dead letter, and all its records rejected."""

    kind: str
    partition: int
    first: int  # offset
    records: int
    reason: str  # too_large or unreadable
    data: bytes  # as it lies in the log

    @property
    def place(self) -> tuple[str, int, int]:
        return self.kind, self.partition, self.first


@dataclass(frozen=True)
class Rules:
    """The settings that decide results, with their defaults."""

    windows: tuple[tuple[str, int, int], ...] = (("1m", 60_000, 60_000), ("5m", 300_000, 60_000))  # name, size, slide
    delay_ms: int = 10_000
    lateness_ms: int = 300_000
    max_future_ms: int = 60_000
    currency: str = "IDR"
    max_value: int = 1_048_576
    max_ids: int = 1000
    trust_producer_time: bool = False
    session_keep_ms: int = DAY_MS
    late_totals_ms: int = DAY_MS
    max_new_sessions: int = 20_000
    max_sessions: int = 200_000
    max_checkout_keys: int = 5_000_000
    max_pane_events: int = 5_000_000
    run: str = "live"

    @cached_property
    def pane_ms(self) -> int:
        """The pane length is the greatest common divisor of all window sizes and slides."""
        return math.gcd(*(length for _, size, slide in self.windows for length in (size, slide)))

    @cached_property
    def patience_ms(self) -> int:
        return max(1, self.delay_ms + self.lateness_ms)  # 0 would make every event late by itself


@dataclass
class Recounted:
    """What the outputs must say in the end."""

    windows: dict[str, Value] = field(default_factory=dict)  # "<session>/<window>/<start>" -> the last revision
    sessions: dict[str, Value] = field(default_factory=dict)  # session id -> totals
    dead: dict[tuple[str, int, int], str] = field(default_factory=dict)  # (kind, partition, offset) -> reason
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, outcome) -> records
    not_on_time: Counter[str] = field(default_factory=Counter)  # kind -> counted events that alerts do not see
    faults: dict[tuple[str, int, int], set[str]] = field(default_factory=dict)  # every true reason of a rejected one
    refused: dict[tuple[str, int, int], RefusedBatch] = field(default_factory=dict)


def recount(records: Iterable[LogRecord], rules: Rules = Rules(), refused: Iterable[RefusedBatch] = ()) -> Recounted:
    """Judge and count every record, per topic and partition in offset order; the order given does not matter."""
    result = Recounted()
    for batch in refused:  # it moves no clock, so that it matters to no record
        result.refused[batch.place] = batch
        result.dead[batch.place] = batch.reason
        result.outcomes[batch.kind, "rejected"] += batch.records
    tallies = Tallies(rules)
    ordered = sorted(records, key=lambda record: (KINDS.index(record.kind), record.partition, record.offset))
    for _, log in groupby(ordered, key=lambda record: (record.kind, record.partition)):
        judge = Judge(rules)
        for record in log:
            event, outcome = judge.judge(record, result)
            result.outcomes[record.kind, outcome] += 1
            if event is not None and outcome in ("counted", "total_only"):
                tallies.count(record, event, totals_only=outcome == "total_only")
            if event is not None and outcome == "counted":
                result.not_on_time[record.kind] += not judge.is_on_time(event)
    result.windows = tallies.windows()
    result.sessions = tallies.sessions()
    return result


# --- JSON ------------------------------------------------------------------------------------------------------------

BEYOND_64_BITS = 10**30  # stands for every integer of more than 30 digits: Python refuses those of more than 4,300
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def an_int(digits: str) -> int:
    if len(digits) <= 30:
        return int(digits)
    return -BEYOND_64_BITS if digits.startswith("-") else BEYOND_64_BITS


def refuse_constant(name: str) -> None:
    """NaN and the infinities are JavaScript, not JSON."""
    raise ValueError(name)


def refuse_lone_surrogates(value: object) -> None:
    """Raise UnicodeEncodeError, a ValueError, where a string has half a surrogate pair. Objects were seen before."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list | tuple):
        for part in value:
            refuse_lone_surrogates(part)


def checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    refuse_lone_surrogates(pairs)  # also of repeated keys, of which only the last counts
    return dict(pairs)


PLAIN = json.JSONDecoder(parse_constant=refuse_constant, parse_int=an_int)
CAREFUL = json.JSONDecoder(parse_constant=refuse_constant, parse_int=an_int, object_pairs_hook=checked_object)


def read_object(value: bytes) -> tuple[dict[str, Any] | None, set[str]]:
    """The JSON object and the faults of the text as a whole. A text that is no JSON has no faults in its fields."""
    faults: set[str] = set()
    try:
        text = value.decode()
    except UnicodeDecodeError:  # "also in fields that are ignored"; what else is wrong with it stays true
        faults.add("not_utf8")
        text = value.decode(errors="replace")
    try:
        decoder = CAREFUL if ESCAPED_SURROGATE.search(text) else PLAIN
        parsed = decoder.decode(text)
        refuse_lone_surrogates(parsed)
    except (ValueError, RecursionError):
        return None, faults | {"invalid_json"}
    return (parsed, faults) if isinstance(parsed, dict) else (None, faults | {"wrong_type"})


# --- Fields ----------------------------------------------------------------------------------------------------------

Check = Callable[[object], Iterable[str]]  # a present value -> its faults
Field = tuple[str, bool, Check]  # name, required?, check
FINE: tuple[str, ...] = ()
WRONG_TYPE = ("wrong_type",)
BAD_VALUE = ("bad_value",)
REQUIRED, OPTIONAL = True, False
MAX_MONEY = 10**13
MAX_ITEMS = 200


def an_id(forbidden: str = "") -> Check:
    """Strings "of 1 to 128 characters without control characters"; some also "without `/` (they become keys)"."""
    allowed = re.compile(rf"[^{forbidden}\x00-\x1f\x7f-\x9f]{{1,128}}")

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, str):
            return WRONG_TYPE
        return FINE if allowed.fullmatch(value) else BAD_VALUE

    return check


def an_integer(lowest: int, highest: int) -> Check:
    """Integers in a range, both ends included: `1.0` is no integer, and neither is true."""

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, int) or isinstance(value, bool):
            return WRONG_TYPE
        return FINE if lowest <= value <= highest else BAD_VALUE

    return check


def one_of(names: Iterable[str], otherwise: str) -> Check:
    allowed = frozenset(names)

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, str):
            return WRONG_TYPE
        return FINE if value in allowed else (otherwise,)

    return check


def a_text(value: object) -> tuple[str, ...]:
    return FINE if isinstance(value, str) else WRONG_TYPE


def a_name(value: object) -> tuple[str, ...]:
    """For display: "up to 200 characters"."""
    if not isinstance(value, str):
        return WRONG_TYPE
    return FINE if len(value) <= 200 else BAD_VALUE


def a_flag(value: object) -> tuple[str, ...]:
    return FINE if isinstance(value, bool) else WRONG_TYPE


def item_faults(item: object) -> set[str]:
    if not isinstance(item, dict):
        return set(WRONG_TYPE)
    faults = field_faults(item, ITEM)
    quantity, price = item.get("quantity"), item.get("unit_price_minor")
    if isinstance(quantity, int) and isinstance(price, int) and quantity * price > MAX_MONEY:
        faults.add("bad_value")  # "money and each quantity x unit_price_minor 0 to 10^13"
    return faults


def some_items(value: object) -> Iterable[str]:
    if not isinstance(value, list):
        return WRONG_TYPE
    faults = set().union(*map(item_faults, value))
    return faults | set(BAD_VALUE) if len(value) > MAX_ITEMS else faults


def field_faults(fields: Mapping[str, object], wanted: Iterable[Field]) -> set[str]:
    """Unknown fields are ignored; "`null` is absent for an optional field, `wrong_type` for a required one"."""
    faults: set[str] = set()
    for name, required, check in wanted:
        value = fields.get(name)
        if value is not None:
            faults.update(check(value))
        elif required:
            faults.add("wrong_type" if name in fields else "missing_field")
    return faults


ITEM: tuple[Field, ...] = (
    ("product_id", REQUIRED, an_id()),
    ("quantity", REQUIRED, an_integer(1, 10_000)),
    ("unit_price_minor", REQUIRED, an_integer(0, MAX_MONEY)),
    ("local", OPTIONAL, a_flag),
)
COMMON: tuple[Field, ...] = (
    ("event_id", REQUIRED, an_id()),
    ("event_time", REQUIRED, an_integer(0, 2**42)),
    ("session_id", REQUIRED, an_id("/")),
    ("seller_id", REQUIRED, an_id("/")),
    ("creator_id", OPTIONAL, an_id("/")),
    ("affiliate_id", OPTIONAL, an_id("/")),
    ("viewer_id", REQUIRED, an_id()),
    ("source", OPTIONAL, a_text),
    ("platform", REQUIRED, a_text),
)
FIELDS: dict[str, tuple[Field, ...]] = {
    "views": (
        *COMMON,
        ("action", REQUIRED, one_of(ACTIONS, "unknown_action")),
        ("product_id", OPTIONAL, an_id()),
        ("product_name", OPTIONAL, a_name),
        ("basket_number", OPTIONAL, an_integer(1, 10**6)),
        ("title", OPTIONAL, a_name),
        ("seller_name", OPTIONAL, a_name),
        ("creator_name", OPTIONAL, a_name),
        ("count", OPTIONAL, an_integer(1, 10**6)),
        ("gift_value", OPTIONAL, an_integer(0, MAX_MONEY)),
        ("watch_ms", OPTIONAL, an_integer(0, DAY_MS)),
        ("concurrent_viewers", OPTIONAL, an_integer(0, 10**9)),
    ),
    "comments": (
        *COMMON,
        ("comment_id", OPTIONAL, an_id()),
        ("text", REQUIRED, a_text),
        ("language", OPTIONAL, a_text),
    ),
    "checkouts": (
        *COMMON,
        ("checkout_id", REQUIRED, an_id()),
        ("status", REQUIRED, one_of(STATUSES, "unknown_status")),
        ("attempt", OPTIONAL, an_integer(0, 1000)),
        ("order_id", OPTIONAL, an_id()),
        ("amount_minor", REQUIRED, an_integer(0, MAX_MONEY)),
        ("currency", REQUIRED, one_of(CURRENCIES, "bad_value")),
        ("items", REQUIRED, some_items),
        ("payment_method", OPTIONAL, a_text),
        ("is_cod", OPTIONAL, a_flag),
        ("failure_code", OPTIONAL, a_text),
        ("discount_minor", OPTIONAL, an_integer(0, MAX_MONEY)),
        ("voucher_id", OPTIONAL, an_id()),
    ),
}


# --- Decoding a record -----------------------------------------------------------------------------------------------

# The reason named when several are true. `too_large` is "judged first", `future` only after decoding.
PRECEDENCE = (
    *("too_large", "producer_time", "too_many_headers", "not_utf8", "invalid_json", "wrong_type", "missing_field"),
    "bad_value",
    *("unknown_action", "unknown_status", "key_mismatch", "future"),
)


def decode(record: LogRecord, value: bytes, rules: Rules) -> tuple[dict[str, Any], set[str]]:
    """The event and every fault of it: good for use only when there is none."""
    if len(value) > rules.max_value:
        return {}, {"too_large"}
    if record.create_time and not rules.trust_producer_time:  # "each batch's own type bit decides"
        return {}, {"producer_time"}
    if len(record.headers) > 1000 or sum(len(n.encode()) + len(v or b"") for n, v in record.headers) > 64 * 1024:
        return {}, {"too_many_headers"}
    parsed, faults = read_event(record, value)
    if not record.key:
        faults.add("key_mismatch")
    if parsed is None:
        return {}, faults
    faults |= field_faults(parsed, FIELDS[record.kind])
    if record.kind == "views" and parsed.get("action") in ("pin", "unpin"):  # "required for pin and unpin"
        faults |= field_faults(parsed, (("product_id", REQUIRED, an_id()),))
    session, time = parsed.get("session_id"), parsed.get("event_time")
    if isinstance(session, str) and session.encode() != record.key:
        faults.add("key_mismatch")  # "an empty key or a key that is not the `session_id`"
    if isinstance(time, int) and time < LEAST_MS and record.timestamp > SET_MS:
        faults.add("bad_value")  # "an event time in seconds (below 10^11 while the broker timestamp is above 10^12)"
    if isinstance(time, int) and time > record.timestamp + rules.max_future_ms:
        faults.add("future")  # "stamped more than `max_future` after its record's broker timestamp"
    return parsed, faults


def read_event(record: LogRecord, value: bytes) -> tuple[dict[str, Any] | None, set[str]]:
    """The event's JSON object. In CloudEvents' binary mode, as without CloudEvents, the value is the event."""
    parsed, faults = read_object(value)
    if parsed is not None and is_structured(record):
        parsed, more = unwrap(parsed)
        faults |= more
    return parsed, faults


def is_structured(record: LogRecord) -> bool:
    return any(
        name == "content-type" and content.lower().startswith(b"application/cloudevents+json")
        for name, content in record.headers
    )


def unwrap(envelope: Mapping[str, Any]) -> tuple[dict[str, Any] | None, set[str]]:
    """The event in a CloudEvents envelope: `data`, else the bytes in `data_base64`."""
    data, encoded = envelope.get("data"), envelope.get("data_base64")
    if data is not None:
        return (data, set()) if isinstance(data, dict) else (None, {"wrong_type"})
    if encoded is None:
        return None, {"missing_field"} | ({"wrong_type"} if {"data", "data_base64"} & envelope.keys() else set())
    if not isinstance(encoded, str):
        return None, {"wrong_type"}
    try:
        return read_object(base64.b64decode(encoded, validate=True))
    except ValueError:  # the documents give no name to this fault
        return None, {"bad_value", "invalid_json"}


# --- Judging a record ------------------------------------------------------------------------------------------------


class Judge:
    """How the records of one topic partition are judged, in offset order. It has one clock and sees no other topic."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.clock = -1  # "the largest min(event time, broker timestamp) of one topic partition so far"
        self.ids: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)  # by the start of the pane
        self.first_counted: dict[tuple[str, ...], int] = {}  # checkout key -> event time
        self.noted: Counter[int] = Counter()  # minute -> checkout keys noted in it that may still count
        self.forgotten_before = 0  # minutes: checkout keys of before are forgotten, there were too many
        self.latest_pane: dict[str, int] = {}  # session -> start of the latest pane with an event that was counted
        self.admitted: Counter[int] = Counter()  # start of a pane -> sessions that were not known before

    def judge(self, record: LogRecord, result: Recounted) -> tuple[dict[str, Any] | None, str]:
        """Steps 0 to 9 of "How an event is judged" (docs/architecture.md), without step 6 (pane_gone)."""
        if record.value is None:
            return None, "tombstone"
        event, faults = decode(record, record.value, self.rules)
        if faults:
            result.faults[record.place] = faults
            result.dead[record.place] = min(faults, key=PRECEDENCE.index)
            return None, "rejected"
        self.clock = max(self.clock, min(event["event_time"], record.timestamp))
        outcome = self.judge_valid(record.kind, event)
        if outcome in ("late", *TOO_MANY):
            result.dead[record.place] = outcome
        return event, "rejected" if outcome in TOO_MANY else outcome

    def judge_valid(self, kind: str, event: Event) -> str:
        """Steps 4 to 9. "Only 8 and 9 note ids and checkout keys"."""
        if self.is_repeat(event):
            return "duplicate"
        if event["event_time"] + self.rules.patience_ms <= self.clock:
            return self.judge_late(kind, event)
        if not self.is_admitted(event, self.pane(event)):
            return "too_many_sessions"
        if len(self.ids[self.pane(event)]) >= self.rules.max_pane_events:
            return "too_many_events"
        if kind == "checkouts":
            if self.is_resent(event):
                return "duplicate"
            self.note_checkout(event)
        self.ids[self.pane(event)].add((event["session_id"], event["event_id"]))
        if kind == "checkouts" and event["status"] == "paid" and event.get("is_cod"):
            return "not_an_order"
        self.know(event, self.pane(event))
        return "counted"

    def judge_late(self, kind: str, event: Event) -> str:
        """ "A checkout that step 5 or 6 would refuse, but whose event time + `late_totals` is > its own topic's clock"."""
        if kind != "checkouts" or event["event_time"] + self.rules.late_totals_ms <= self.clock:
            return "late"
        if event["event_time"] // MINUTE_MS < self.forgotten_before:
            return "late"  # its copies would be counted again
        now = self.clock - self.clock % self.rules.pane_ms  # its session is known from now on
        if not self.is_admitted(event, now):
            return "too_many_sessions"
        if self.is_resent(event):
            return "duplicate"
        self.note_checkout(event)  # "it notes its checkout key and no id"
        if event["status"] == "paid" and event.get("is_cod"):
            return "not_an_order"
        self.know(event, now)
        return "total_only"

    def is_on_time(self, event: Event) -> bool:
        """The event judged last: "event time + delay > own topic's clock on arrival"; at the clock it always is."""
        on_time: bool = event["event_time"] + max(1, self.rules.delay_ms) > self.clock
        return on_time

    def pane(self, event: Event) -> int:
        time: int = event["event_time"]
        return time - time % self.rules.pane_ms

    def is_repeat(self, event: Event) -> bool:
        """Ids "are kept per topic and pane, dropped when that topic's own clock >= pane end + delay + lateness"."""
        pane = self.pane(event)
        held = self.clock < pane + self.rules.pane_ms + self.rules.patience_ms
        return held and (event["session_id"], event["event_id"]) in self.ids[pane]

    def knows(self, session: str) -> bool:
        """ "Until its own clock passes the end of the latest pane it counted of it + `session_keep`"; lateness at least."""
        keep = max(self.rules.session_keep_ms, self.rules.patience_ms)
        return session in self.latest_pane and self.clock < self.latest_pane[session] + self.rules.pane_ms + keep

    def is_admitted(self, event: Event, pane: int) -> bool:
        """ "If its topic has admitted `max_new_sessions` in that pane or knows `max_sessions`": of an unknown one."""
        if self.knows(event["session_id"]):
            return True
        number = sum(map(self.knows, self.latest_pane))
        return number < self.rules.max_sessions and self.admitted[pane] < self.rules.max_new_sessions

    def know(self, event: Event, pane: int) -> None:
        session = event["session_id"]
        known = self.knows(session)
        self.admitted[pane] += not known
        self.latest_pane[session] = max(pane, self.latest_pane[session]) if known else pane

    def is_resent(self, event: Event) -> bool:
        """Checkout keys are "held while the first counted one's event time + 24 h > the checkouts clock"."""
        first = self.first_counted.get(checkout_key(event))
        return first is not None and first + DAY_MS > self.clock and first // MINUTE_MS >= self.forgotten_before

    def note_checkout(self, event: Event) -> None:
        """At most `max_checkout_keys` are known; "of more, whole minutes are forgotten, the oldest first"."""
        time = event["event_time"]
        for minute in [minute for minute in self.noted if (minute + 1) * MINUTE_MS + DAY_MS <= self.clock]:
            del self.noted[minute]
        if time // MINUTE_MS < self.forgotten_before:
            return
        self.first_counted[checkout_key(event)] = time
        self.noted[time // MINUTE_MS] += 1
        while self.noted.total() > self.rules.max_checkout_keys:
            oldest = min(self.noted)
            del self.noted[oldest]
            self.forgotten_before = oldest + 1


def checkout_key(event: Event) -> tuple[str, ...]:
    """By (session, checkout_id, status); `failed` by (session, checkout_id, status, attempt)."""
    key = (event["session_id"], event["checkout_id"], event["status"])
    return (*key, str(event.get("attempt") or 0)) if event["status"] == "failed" else key


# --- Counting --------------------------------------------------------------------------------------------------------

Money = dict[str, int]  # currency -> minor units; present once something in it was counted, be it 0


def add_money(total: Money, more: Money) -> None:
    for currency, amount in more.items():
        total[currency] = total.get(currency, 0) + amount


@dataclass(slots=True)
class Sums:
    """The figures of one element of a breakdown."""

    views: int = 0
    clicks: int = 0
    pins: int = 0
    orders: int = 0
    money: Money = field(default_factory=dict)

    def add_order(self, money: Money) -> None:
        self.orders += 1
        add_money(self.money, money)

    def add(self, other: "Sums") -> None:
        self.views += other.views
        self.clicks += other.clicks
        self.pins += other.pins
        self.orders += other.orders
        add_money(self.money, other.money)

    def is_zero(self) -> bool:
        return not (self.views or self.clicks or self.pins or self.orders or any(self.money.values()))


@dataclass(slots=True)
class Breakdown:
    """Sums by id, exact up to a bound: "the first 1,000 ids counted from views (in log order) are named, and
    separately the first 1,000 from checkouts; the rest adds to that side's unnamed sum".
    """

    named: dict[str, Sums] = field(default_factory=dict)
    unnamed: Sums = field(default_factory=Sums)
    from_views: set[str] = field(default_factory=set)
    from_checkouts: set[str] = field(default_factory=set)
    called: dict[str, dict[str, tuple[int, str | int]]] = field(
        default_factory=dict
    )  # id -> field -> event time, value

    def click(self, name: str, bound: int) -> None:
        self.sums(name, self.from_views, bound).clicks += 1

    def pin(self, name: str, bound: int) -> None:
        self.sums(name, self.from_views, bound).pins += 1

    def order(self, name: str, money: Money, bound: int) -> None:
        self.sums(name, self.from_checkouts, bound).add_order(money)

    def call(self, name: str, field: str, said: tuple[int, str | int], bound: int) -> None:
        """Names and numbers of products, "each on its own", of "the first 1,000 products of which events say any"."""
        if name in self.called or len(self.called) < bound:
            fields = self.called.setdefault(name, {})
            fields[field] = max(fields.get(field, said), said)

    def sums(self, name: str, side: set[str], bound: int) -> Sums:
        if name not in side:
            if len(side) >= bound:
                return self.unnamed
            side.add(name)
        return self.named.setdefault(name, Sums())

    def add(self, other: "Breakdown") -> None:
        """Pane by pane: "a window adds the named and unnamed sums of its panes"."""
        for name, sums in other.named.items():
            self.named.setdefault(name, Sums()).add(sums)
        self.unnamed.add(other.unnamed)
        for name, fields in other.called.items():
            for field_, said in fields.items():
                self.call(name, field_, said, sys.maxsize)


@dataclass(slots=True)
class Tally:
    """Everything counted of one session, in one pane, one window or all told."""

    counts: Counter[str] = field(default_factory=Counter)
    gmv: Money = field(default_factory=dict)
    item_value: Money = field(default_factory=dict)
    local_item_value: Money = field(default_factory=dict)
    cross_border_item_value: Money = field(default_factory=dict)
    discount: Money = field(default_factory=dict)
    samples: int = 0
    samples_sum: int = 0
    samples_peak: int = 0
    samples_last: tuple[int, int] = (-1, -1)  # event time, viewers: "last by event time, ties to the larger"
    viewers: set[str] = field(default_factory=set)
    buyers: set[str] = field(default_factory=set)
    labels: dict[str, tuple[int, str]] = field(default_factory=dict)  # name -> event time, text
    sources: dict[str, Sums] = field(default_factory=dict)
    affiliates: Breakdown = field(default_factory=Breakdown)
    products: Breakdown = field(default_factory=Breakdown)
    times: tuple[int, int] | None = None  # first and last event, cancels and refunds aside
    on_air: tuple[int, int] | None = None  # first and last view or comment
    starts: list[int] = field(default_factory=list)  # of the host
    ends: list[int] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Sums, maxima and unions: what a window makes of its panes."""
        for name, number in other.counts.items():
            self.counts[name] += number
        add_money(self.gmv, other.gmv)
        add_money(self.item_value, other.item_value)
        add_money(self.local_item_value, other.local_item_value)
        add_money(self.cross_border_item_value, other.cross_border_item_value)
        add_money(self.discount, other.discount)
        self.samples += other.samples
        self.samples_sum += other.samples_sum
        self.samples_peak = max(self.samples_peak, other.samples_peak)
        self.samples_last = max(self.samples_last, other.samples_last)
        self.viewers |= other.viewers
        self.buyers |= other.buyers
        for name, label in other.labels.items():
            self.labels[name] = max(self.labels.get(name, label), label)
        for source, sums in other.sources.items():
            self.sources.setdefault(source, Sums()).add(sums)
        self.affiliates.add(other.affiliates)
        self.products.add(other.products)
        self.starts += other.starts
        self.ends += other.ends

    def lifecycle(self) -> Value:
        """`started_at` is the smallest start, `ended_at` the largest end without a start at or after it."""
        found = {"started_at": min(self.starts)} if self.starts else {}
        if self.ends and max(self.ends) > max(self.starts, default=-1):
            found["ended_at"] = max(self.ends)
        return found


class Tallies:
    """The counted events of all sessions, by pane and in total."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.panes: defaultdict[tuple[str, int], Tally] = defaultdict(Tally)  # session, start
        self.totals: defaultdict[str, Tally] = defaultdict(Tally)
        self.partitions: dict[str, int] = {}

    def count(self, record: LogRecord, event: Event, *, totals_only: bool) -> None:
        session, time = event["session_id"], event["event_time"]
        if self.partitions.setdefault(session, record.partition) != record.partition:
            raise ValueError(f"session {session!r} is on two partitions, {record.place} is the second")
        pane = [] if totals_only else [self.panes[session, time - time % self.rules.pane_ms]]
        for tally in (*pane, self.totals[session]):  # the totals have a bound of their own for breakdowns
            count_labels(tally, event)
            COUNTING[record.kind](tally, event, self.rules.max_ids)

    def windows(self) -> dict[str, Value]:
        """Sum the panes: "a window exists when at least one event of it was counted (heartbeat and leave too)"."""
        windows: defaultdict[tuple[str, str, int, int], Tally] = defaultdict(Tally)
        for (session, pane), tally in self.panes.items():
            for name, size, slide in self.rules.windows:
                for start in starts(pane, size, slide):
                    windows[session, name, start, start + size].add(tally)
        return {
            f"{session}/{name}/{start}": {"window": name, "start": start, "end": end}
            | value_of(session, tally, self.rules)
            for (session, name, start, end), tally in windows.items()
        }

    def sessions(self) -> dict[str, Value]:
        return {
            session: with_hours(value_of(session, tally, self.rules) | first_and_last(tally), tally)
            for session, tally in self.totals.items()
        }


def starts(pane: int, size: int, slide: int) -> Iterable[int]:
    """The starts of the windows `[start, end)`, aligned to the epoch, that contain the pane."""
    start = pane - pane % slide
    while start + size > pane:
        yield start
        start -= slide


def count_labels(tally: Tally, event: Event) -> None:
    """Labels: "each field on its own, from the event with the latest event time that carries it, ties to the greater
    bytes". Python compares strings by code point, which is the order of their UTF-8 bytes.
    """
    platform = event["platform"] if event["platform"] in PLATFORMS else "other"
    for name, text in (
        ("seller_id", event["seller_id"]),
        ("creator_id", event.get("creator_id")),
        ("platform", platform),
    ):
        if text is not None:
            label = (event["event_time"], text)
            tally.labels[name] = max(tally.labels.get(name, label), label)


def count_time(tally: Tally, time: int) -> None:
    tally.times = widened(tally.times, time)


def widened(span: tuple[int, int] | None, time: int) -> tuple[int, int]:
    first, last = span or (time, time)
    return min(first, time), max(last, time)


def source_of(event: Event) -> str:
    source = event.get("source")
    if source is None:
        return "unknown"
    return source if source in SOURCES else "other"


def count_host(tally: Tally, event: Event) -> None:
    """`start` and `end` "set `started_at` and `ended_at`, and count in nothing else"; "with start, also for display"
    what it and its people are called, "latest by event time".
    """
    is_start = event["action"] == "start"
    (tally.starts if is_start else tally.ends).append(event["event_time"])
    count_time(tally, event["event_time"])
    if is_start:
        tally.on_air = widened(tally.on_air, event["event_time"])
        for name in ("title", "seller_name", "creator_name"):
            if event.get(name):  # an empty one names nothing
                label = (event["event_time"], event[name])
                tally.labels[name] = max(tally.labels.get(name, label), label)


def count_view(tally: Tally, event: Event, bound: int) -> None:
    action = event["action"]
    if action in ("start", "end"):
        count_host(tally, event)
        return
    name = ACTIONS[action]
    if name is not None:
        tally.counts[name] += (event.get("count") or 1) if action in ("like", "gift") else 1
    if action == "gift":
        tally.counts["gift_value"] += event.get("gift_value") or 0
    if action == "pin":
        tally.products.pin(event["product_id"], bound)
    tally.counts["watch_ms"] += event.get("watch_ms") or 0
    count_time(tally, event["event_time"])
    tally.on_air = widened(tally.on_air, event["event_time"])
    count_sample(tally, event)
    if action == "enter":
        tally.viewers.add(event["viewer_id"])
        tally.sources.setdefault(source_of(event), Sums()).views += 1
    if action == "product_click":
        count_click(tally, event, bound)
    if action in ("pin", "unpin", "product_impression", "product_click", "add_to_cart") and event.get("product_id"):
        for name in ("product_name", "basket_number"):
            if event.get(name):  # an empty name names nothing
                tally.products.call(event["product_id"], name, (event["event_time"], event[name]), bound)


def count_sample(tally: Tally, event: Event) -> None:
    sample = event.get("concurrent_viewers")
    if sample is None:
        return
    tally.samples += 1
    tally.samples_sum += sample
    tally.samples_peak = max(tally.samples_peak, sample)
    tally.samples_last = max(tally.samples_last, (event["event_time"], sample))


def count_click(tally: Tally, event: Event, bound: int) -> None:
    tally.sources.setdefault(source_of(event), Sums()).clicks += 1
    affiliate, product = event.get("affiliate_id"), event.get("product_id")
    if affiliate is not None:
        tally.affiliates.click(affiliate, bound)
    if product is not None:
        tally.products.click(product, bound)


def count_comment(tally: Tally, event: Event, _bound: int) -> None:
    tally.counts["comments"] += 1
    count_time(tally, event["event_time"])
    tally.on_air = widened(tally.on_air, event["event_time"])


def count_checkout(tally: Tally, event: Event, bound: int) -> None:
    status = event["status"]
    name = STATUSES[status]
    if name is not None:
        tally.counts[name] += 1
    if status not in {"cancelled", "refunded"}:
        count_time(tally, event["event_time"])
    if status == "initiated" and event.get("is_cod"):
        tally.counts["cod_orders"] += 1
        count_order(tally, event, bound)
    if status == "paid":  # those with is_cod are not_an_order and never come here
        count_order(tally, event, bound)


def count_order(tally: Tally, event: Event, bound: int) -> None:
    """Paid checkouts and COD initiations, and what they contain."""
    amount = {event["currency"]: event["amount_minor"]}
    tally.counts["orders_paid"] += 1
    add_money(tally.gmv, amount)
    if event.get("discount_minor"):  # "orders with a discount above 0, and its sum by currency"
        tally.counts["discounted_orders"] += 1
        add_money(tally.discount, {event["currency"]: event["discount_minor"]})
    tally.buyers.add(event["viewer_id"])
    tally.sources.setdefault(source_of(event), Sums()).add_order(amount)
    if event.get("affiliate_id") is not None:
        tally.affiliates.order(event["affiliate_id"], amount, bound)
    for product, money in count_items(tally, event).items():
        tally.products.order(product, money, bound)


def count_items(tally: Tally, event: Event) -> dict[str, Money]:
    """The value of the order by product, in the order of the items: a product named twice is in it once."""
    products: dict[str, Money] = {}
    for item in event["items"]:
        value = {event["currency"]: item["quantity"] * item["unit_price_minor"]}
        tally.counts["items_sold"] += item["quantity"]
        add_money(tally.item_value, value)
        if item.get("local") is True:
            add_money(tally.local_item_value, value)
        if item.get("local") is False:  # "items that say nothing are in neither of the two"
            add_money(tally.cross_border_item_value, value)
        add_money(products.setdefault(item["product_id"], {}), value)
    return products


COUNTING = {"views": count_view, "comments": count_comment, "checkouts": count_checkout}


# --- Values ----------------------------------------------------------------------------------------------------------


def half_even(numerator: int, denominator: int) -> int:
    """The quotient of two numbers that are not negative, to the nearest integer, halves to the even one."""
    quotient, remainder = divmod(numerator, denominator)
    return quotient + (2 * remainder + quotient % 2 > denominator)


def ratio(numerator: int, denominator: int, decimals: int) -> float:
    """Rounded half-even from exact integers. The last division gives the float nearest to the decimal."""
    scale: int = 10**decimals
    return half_even(numerator * scale, denominator) / scale


def capped(number: int) -> int:
    """Hold the rule "sums saturate at 2^63 - 1"."""
    return min(number, MAX_SUM)


def money_value(money: Money) -> Money:
    return {currency: capped(money[currency]) for currency in sorted(money)}


def unique(texts: Iterable[str]) -> int:
    """Over cpc_sketch(11) "always `round(cpc_union(11)…get_result().get_estimate())`, also of one part"."""
    sketch = cpc_sketch(11)
    for text in texts:
        sketch.update(text)
    union = cpc_union(11)
    union.update(sketch)
    estimate: float = union.get_result().get_estimate()
    return round(estimate)


def value_of(session: str, tally: Tally, rules: Rules) -> Value:
    """All the fields a window and a session have in common."""
    counts = {name: capped(tally.counts[name]) for name in COUNTS}
    gmv = money_value(tally.gmv)
    value: Value = {
        "session_id": session,
        "counts": counts,
        "gmv_minor": gmv,
        "item_value_minor": money_value(tally.item_value),
        "local_item_value_minor": money_value(tally.local_item_value),
        "cross_border_item_value_minor": money_value(tally.cross_border_item_value),
        "discount_minor": money_value(tally.discount),
        "unique_viewers": unique(tally.viewers),
        "unique_buyers": unique(tally.buyers),
        "unique_error": UNIQUE_ERROR,
        "by_source": by_source(tally.sources),
        "by_affiliate": ranked(tally.affiliates, "affiliate_id", "gmv_minor", rules.currency),
        "products": ranked(tally.products, "product_id", "item_value_minor", rules.currency),
    }
    codes = {code for name in value if name.endswith("_minor") for code in value[name]}
    if codes:
        value["minor_digits"] = {code: DIGITS.get(code, 2) for code in codes}
    value["rates"] = rates(counts, gmv) | local_share(value, rules.currency) | discount_rate(value)
    value |= {name: text for name, (_, text) in tally.labels.items()}
    return value | concurrent(tally) | tally.lifecycle()


def first_and_last(tally: Tally) -> Value:
    return {} if tally.times is None else {"first_event": tally.times[0], "last_event": tally.times[1]}


HOUR_MS = 3_600_000
TEN_MINUTES_MS = 600_000


def with_hours(value: Value, tally: Tally) -> Value:
    """`gmv_per_hour_minor`: GMV by the hours from `started_at` (else the first view or comment) to `ended_at` (else the
    last), "from 10 minutes on".
    """
    first, last = tally.on_air or (None, None)
    first, last = value.get("started_at", first), value.get("ended_at", last)
    if first is None or last is None:
        return value
    if value["gmv_minor"] and last - first >= TEN_MINUTES_MS:
        by_hour = {code: capped(half_even(HOUR_MS * n, last - first)) for code, n in value["gmv_minor"].items()}
        value["rates"]["gmv_per_hour_minor"] = by_hour
    return value


def concurrent(tally: Tally) -> Value:
    """`concurrent_*` without a sample are absent; "avg is the mean of the samples, 1 decimal"."""
    if not tally.samples:
        return {}
    return {
        "concurrent_last": tally.samples_last[1],
        "concurrent_peak": tally.samples_peak,
        "concurrent_avg": ratio(capped(tally.samples_sum), tally.samples, 1),
    }


def rates(counts: Mapping[str, int], gmv: Money) -> Value:
    """The table "Rates (absent when the denominator is 0)", but for those of items and discounts, and by the hour."""
    views, clicks, orders, cod = (counts[name] for name in ("views", "product_clicks", "orders_paid", "cod_orders"))
    fractions = {
        "enter_room_rate": (views, counts["impressions"]),
        "ctr": (clicks, views),
        "live_ctr": (clicks, counts["product_impressions"]),
        "ctor": (orders, clicks),
        "order_rate": (orders, views),
        "payment_rate": (orders - cod, counts["checkouts_initiated"] - cod),
        "comment_rate": (counts["comments"], views),
        "like_rate": (counts["likes"], views),
        "share_rate": (counts["shares"], views),
        "follow_rate": (counts["follows"], views),
    }
    found: Value = {name: ratio(above, below, 6) for name, (above, below) in fractions.items() if below}
    if gmv and views:
        found["gpm_minor"] = {code: capped(half_even(1000 * amount, views)) for code, amount in gmv.items()}
    if gmv and orders:
        found["aov_minor"] = {code: half_even(amount, orders) for code, amount in gmv.items()}
    return found


def local_share(value: Value, currency: str) -> Value:
    """Divide local by local and cross-border item value, in the configured currency."""
    local = value["local_item_value_minor"].get(currency, 0)
    total = capped(local + value["cross_border_item_value_minor"].get(currency, 0))
    return {"local_share": ratio(local, total, 6)} if total else {}


def discount_rate(value: Value) -> Value:
    """Divide discounts by GMV and discounts, by currency."""
    found = {}
    for currency, amount in value["gmv_minor"].items():  # every discount is of an order
        discount = value["discount_minor"].get(currency, 0)
        if amount + discount:
            found[currency] = ratio(discount, capped(amount + discount), 6)
    return {"discount_rate": found} if found else {}


def by_source(sources: Mapping[str, Sums]) -> Value:
    """Elements by source: "a source appears when one of its figures is not 0", and is only made when one moves."""
    return {
        name: {
            "views": capped(sums.views),
            "product_clicks": capped(sums.clicks),
            "orders_paid": capped(sums.orders),
            "gmv_minor": money_value(sums.money),
        }
        for name, sums in sorted(sources.items())
    }


def ranked(breakdown: Breakdown, id_name: str, money_name: str, currency: str) -> list[Value]:
    """Sorted "by GMV (item value) in `currency` descending, clicks descending, id ascending by bytes; 20 elements;
    then, if more are named, `{"rest": n, …sums}`; then, if not all 0, `{"unnamed": true, …sums}`".
    """

    def place(element: tuple[str, Sums]) -> tuple[int, int, str]:
        name, sums = element
        return (
            -capped(sums.money.get(currency, 0)),
            -capped(sums.clicks),
            name,
        )  # what is beyond may be lost by a restart

    def element(label: Value, sums: Sums) -> Value:
        pins = {"pins": capped(sums.pins)} if id_name == "product_id" else {}
        called = breakdown.called.get(label.get(id_name, ""), {})
        return label | {
            **{field: value for field, (_, value) in called.items()},
            "product_clicks": capped(sums.clicks),
            "orders_paid": capped(sums.orders),
            money_name: money_value(sums.money),
            **pins,
        }

    ordered = sorted(breakdown.named.items(), key=place)
    elements = [element({id_name: name}, sums) for name, sums in ordered[:RANKED]]
    others = ordered[RANKED:]
    if others:
        rest = Sums()
        for _, sums in others:
            rest.add(sums)
        elements.append(element({"rest": len(others)}, rest))
    if not breakdown.unnamed.is_zero():
        elements.append(element({"unnamed": True}, breakdown.unnamed))
    return elements
