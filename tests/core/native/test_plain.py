"""Whatever the bytes are, an event is what Python makes of it; and what the structs say of a plain one is the same."""

import json
from collections.abc import Sequence
from typing import Any, get_args

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from stream.core.decode import SMALL, Events, Rejected, decode_all, decode_batch, decode_one
from stream.model.events import LEAST_MS, Action, Comment, View
from stream.model.names import Kind
from tests.bench.events import Maker
from tests.core.native import BUILT
from tests.recount import LogRecord

if not BUILT:
    pytest.skip("built without a C compiler", allow_module_level=True)

from stream.core.native.plain import PlainEvents, read_plain

MAX_VALUE = 2**20
VIEW: dict[str, Any] = {
    "event_id": "e1",
    "event_time": 1_700_000_000_000,
    "session_id": "s1",
    "seller_id": "s9",
    "viewer_id": "v1",
    "platform": "shopee",
    "action": "enter",
}
COMMENT = {name: value for name, value in VIEW.items() if name != "action"} | {"text": "halo kak"}
BASES = {Kind.VIEWS: VIEW, Kind.COMMENTS: COMMENT}
MORE: dict[str, Any] = {
    "creator_id": "c1",
    "affiliate_id": None,
    "source": "for_you",
    "product_id": "p 7",
    "product_name": "XL/a",
    "basket_number": 10**6,
    "title": "a/b",
    "seller_name": "",
    "creator_name": None,
    "count": 5,
    "gift_value": 10**13,
    "watch_ms": 86_400_000,
    "concurrent_viewers": 0,
    "comment_id": "m1",
    "language": "id",
    "text": "\N{FIRE} bagus / kak \x7f",
    "action": "product_impression",
    "more": "x/y",
    "flag": True,
    "nothing": None,
    "ratio": -1.25,
    "number": 17,
}
NAMES = sorted(VIEW.keys() | MORE.keys())

rarely = st.sampled_from([False] * 9 + [True])
kinds = st.sampled_from([Kind.VIEWS, Kind.COMMENTS])
characters = st.sampled_from('ab/\\"\x00\x1f \x7f\x85é\u2028\ud800\U0001f525')
texts = st.text(characters, max_size=20) | st.text("ab", min_size=120, max_size=140) | st.sampled_from(get_args(Action))
numbers = (
    st.integers(-2, 3)
    | st.sampled_from(
        [
            2**42,
            2**42 + 1,
            10**11 - 1,
            10**11,
            10**6,
            10**6 + 1,
            86_400_001,
            10**9 + 1,
            10**13 + 1,
            10**17,
            10**18,
            2**63,
            2**64,
            10**400,
        ]
    )
    | st.integers()
    | st.floats()
)
values: st.SearchStrategy[Any] = (
    texts | numbers | st.none() | st.booleans() | st.lists(st.integers(), max_size=2) | st.just({"a": {}})
)
dumps = st.builds(
    lambda comma, colon, ascii_only: {"separators": (comma, colon), "ensure_ascii": ascii_only},
    st.sampled_from([",", ", ", " ,\n\t", ",,"]),
    st.sampled_from([":", ": ", " :\r"]),
    st.booleans(),
)


@st.composite
def events(draw: st.DrawFn) -> tuple[Kind, list[tuple[str, Any]]]:
    """Fields in any order; now and then one is missing, twice there or nonsense."""
    kind = draw(kinds)
    fields = list(BASES[kind].items())
    fields += [(name, MORE[name]) for name in draw(st.lists(st.sampled_from(sorted(MORE)), max_size=5))]
    if draw(st.booleans()):
        fields = draw(st.permutations(fields))
    if draw(st.booleans()):
        fields = list(dict(fields).items())
    for name, value in draw(st.dictionaries(st.sampled_from(NAMES) | texts, values, max_size=2)).items():
        fields.insert(draw(st.integers(0, len(fields))), (name, value))
    return kind, fields


def encoded(fields: Sequence[tuple[str, Any]], how: dict[str, Any]) -> bytes:
    comma, colon = how["separators"]
    inside = comma.join(f"{json.dumps(name)}{colon}{json.dumps(value, **how)}" for name, value in fields)
    return f"{{{inside}}}".encode(errors="surrogatepass")


@st.composite
def records(draw: st.DrawFn) -> tuple[Kind, LogRecord]:
    kind, fields = draw(events())
    value: bytes | None = encoded(fields, draw(dumps))
    for cut, keep, put in draw(
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)), max_size=2)
    ):
        assert value is not None
        at = cut % (len(value) + 1)
        value = value[:at] + put + value[at + keep :]
    if draw(rarely):
        value = draw(st.none() | st.binary(max_size=300))
    key = draw(st.sampled_from([b"s1"] * 9 + [b"s2", b"", None, b"s", b"x" * 200]))
    headers: Any = draw(
        st.sampled_from([()] * 9 + [(("content-type", b"application/cloudevents+json"),), (("x", None),)])
    )
    time = VIEW["event_time"]
    stamp = draw(st.sampled_from([0, 10**12, 10**12 + 1, time - 1, time, time + 1, 2**42 + 2]))
    return kind, LogRecord(str(kind), 0, 0, stamp, key, value, headers)


def told(event: View | Comment, stamp: int) -> dict[str, Any]:
    """What the struct of a plain event has to say."""
    seed = xxhash.xxh3_64_intdigest(event.session_id.encode())
    names = ("event_time", "session_id", "seller_id", "viewer_id", "platform", "creator_id", "affiliate_id", "source")
    figures = ("count", "gift_value", "watch_ms", "concurrent_viewers", "basket_number")
    return (
        {name: getattr(event, name) for name in names}
        | {name: -1 if getattr(event, name, None) is None else getattr(event, name) for name in figures}
        | {
            "product_id": getattr(event, "product_id", None),
            "product_name": getattr(event, "product_name", None),
            "action": get_args(Action).index(event.action) if isinstance(event, View) else 0,
            "seed": seed,
            "id": xxhash.xxh3_64_intdigest(event.event_id.encode(), seed),
            "moment": min(event.event_time, stamp),
        }
    )


def check(kind: Kind, batch: Sequence[LogRecord]) -> PlainEvents:
    """What is read is what Python decodes, to whoever asks in whatever way."""
    expected = decode_all(kind, batch, MAX_VALUE)
    found = read_plain(kind, batch, MAX_VALUE, decode_one)
    assert list(found) == expected
    assert [found[place] for place in range(-len(found), 0)] == expected
    same(found, expected)
    times = {time for place in range(len(expected)) if (time := expected.time_of(place)) is not None}
    for limit in sorted({-1, *times, *(time - 1 for time in times)})[:: 1 + len(times) // 10]:
        for begin in range(0, len(expected) + 1, 1 + len(expected) // 20):
            assert found.first_above(begin, limit) == expected.first_above(begin, limit)
    for place, event in enumerate(expected):
        assert found.time_of(place) == expected.time_of(place)
        if found.is_plain(place):
            assert isinstance(event, View | Comment)
            assert found.as_dict(place) == told(event, batch[place].timestamp)
    return found


def same(found: Events, expected: Events) -> None:
    assert len(found) == len(expected)
    assert (found.clean, found.newest_ms) == (expected.clean, expected.newest_ms)


def given_value(kind: Kind, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()) -> LogRecord:
    return LogRecord(str(kind), 0, 0, 0, b"s1", value, headers)


@given(records())
def test_an_event_is_what_python_makes_of_it(record: tuple[Kind, LogRecord]) -> None:
    kind, one = record
    check(kind, [one])


@given(kinds, st.binary(max_size=200), st.binary(max_size=10))
def test_no_bytes_mislead_it(kind: Kind, value: bytes, key: bytes) -> None:
    found = check(kind, [LogRecord(str(kind), 0, 0, 0, key, value, ())])
    assert isinstance(found[0], Rejected)


@given(kinds, st.lists(records(), max_size=12), st.slices(12))
def test_a_part_of_a_batch_is_a_batch(kind: Kind, made: list[tuple[Kind, LogRecord]], where: slice) -> None:
    batch = [record for _, record in made]
    where = slice(where.start, where.stop)
    found = check(kind, batch)[where]
    expected = decode_all(kind, batch, MAX_VALUE)[where]
    assert list(found) == expected
    same(found, decode_all(kind, batch[where], MAX_VALUE))
    assert [found.time_of(place) for place in range(len(found))] == [
        None if event is None or isinstance(event, Rejected) else event.event_time for event in expected
    ]


def test_every_cut_of_a_value_is_seen() -> None:
    for kind, base in BASES.items():
        value = encoded([*base.items(), ("source", None)], {"separators": (",", ":")})
        assert check(kind, [given_value(kind, value)]).is_plain(0)
        assert not any(check(kind, [given_value(kind, value[:end])]).is_plain(0) for end in range(len(value)))


@pytest.mark.parametrize("name", ["seller_id", "source", "more", "text"])
def test_every_byte_in_every_place_of_a_word(name: str) -> None:
    kind = Kind.COMMENTS if name == "text" else Kind.VIEWS
    value = encoded(list((BASES[kind] | {name: "abcdefghijkl?"}).items()), {"separators": (",", ":")})
    at = value.index(b"abc")
    batch = [
        given_value(kind, value[: at + place] + bytes([byte]) + value[at + place + 1 :])
        for place in range(12)
        for byte in range(256)
    ]
    found = check(kind, batch)
    plain = [found.is_plain(place) for place in range(256)]
    assert all(plain[byte] for byte in range(0x20, 0x7F) if chr(byte) not in '"\\/')
    assert plain[ord("/")] == (name != "seller_id")


def test_what_comes_in_great_numbers_is_plain() -> None:
    batches: dict[Kind, list[LogRecord]] = {Kind.VIEWS: [], Kind.COMMENTS: []}
    for made in Maker(2000, 50, 1_700_000_000_000, 60_000):
        if made.kind in batches:
            batches[Kind(made.kind)].append(LogRecord(made.kind, 0, 0, 0, made.key, made.value, ()))
    for kind, batch in batches.items():
        found = check(kind, batch)
        assert all(found.is_plain(place) for place in range(len(batch)))
        assert found.clean


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            Kind.VIEWS,
            {
                name: value
                for name, value in MORE.items()
                if name not in {"text", "nothing", "ratio", "flag", "seller_name", "creator_name"}
            },
        ),
        (
            Kind.COMMENTS,
            {
                name: value
                for name, value in MORE.items()
                if name not in {"gift_value", "basket_number", "flag", "number", "title", "seller_name", "creator_name"}
            },
        ),
        (Kind.COMMENTS, {"text": "\N{LATIN SMALL LETTER E WITH ACUTE}\u2028\U0010ffff" * 5}),
        (Kind.VIEWS, {"event_time": 2**42, "event_id": "e" * 128, "platform": "", "viewer_id": "a/b"}),
        (Kind.VIEWS, {"a/b": 0, "": -0.5, "c": 10**17}),
    ],
)
@pytest.mark.parametrize("space", [("", ""), (" ", "\n")])
def test_this_is_plain(kind: Kind, fields: dict[str, Any], space: tuple[str, str]) -> None:
    before, behind = space
    how = {"separators": (f"{before},{behind}", f"{before}:{behind}"), "ensure_ascii": False}
    value = before.encode() + encoded(list((BASES[kind] | fields).items()), how) + behind.encode()
    assert check(kind, [given_value(kind, value)]).is_plain(0)


@pytest.mark.parametrize(
    "bad",
    [
        "c0 80",
        "e0 9f bf",
        "ed a0 80",
        "f0 8f bf bf",
        "f4 90 80 80",
        "f5 80 80 80",
        "80",
        "c3",
        "e2 80",
    ],
)
def test_a_text_must_be_utf_8(bad: str) -> None:
    value = encoded(list((COMMENT | {"text": "?"}).items()), {"separators": (",", ":")}).replace(
        b"?", bytes.fromhex(bad)
    )
    assert not check(Kind.COMMENTS, [given_value(Kind.COMMENTS, value)]).clean


def test_values_that_are_no_bytes_are_left_to_python() -> None:
    value = encoded(list(VIEW.items()), {"separators": (",", ":")})
    other: Any = bytearray(value)
    assert not check(Kind.VIEWS, [given_value(Kind.VIEWS, other)]).is_plain(0)


def test_large_values_and_those_with_headers_are_left_to_python() -> None:
    value = encoded(list(VIEW.items()), {"separators": (",", ":")})
    padded = [value[:-1] + b" " * (size - len(value)) + b"}" for size in (SMALL, SMALL + 1)]
    found = check(Kind.VIEWS, [given_value(Kind.VIEWS, each) for each in padded])
    assert [found.is_plain(place) for place in range(2)] == [True, False]
    assert not check(Kind.VIEWS, [given_value(Kind.VIEWS, value, (("x", b""),))]).is_plain(0)


@pytest.mark.parametrize("timestamp", [10**12, 10**12 + 1])
def test_times_that_may_be_seconds_are_left_to_python(timestamp: int) -> None:
    values = [
        encoded(list((VIEW | {"event_time": time}).items()), {"separators": (",", ":")})
        for time in (LEAST_MS - 1, LEAST_MS)
    ]
    found = check(Kind.VIEWS, [LogRecord("views", 0, 0, timestamp, b"s1", value, ()) for value in values])
    assert [found.is_plain(place) for place in range(2)] == [False, True]
    assert isinstance(found[0], Rejected) is (timestamp > 10**12)


def test_of_checkouts_nothing_is_plain() -> None:
    with pytest.raises(ValueError, match="nothing is plain"):
        read_plain(Kind.CHECKOUTS, [], MAX_VALUE, decode_one)
    assert not isinstance(decode_batch(Kind.CHECKOUTS, [], MAX_VALUE), PlainEvents)
    assert isinstance(decode_batch(Kind.VIEWS, [], MAX_VALUE), PlainEvents)


@pytest.mark.parametrize("action", ["pin", "unpin"])
def test_a_pin_without_a_product_is_left_to_python(action: str) -> None:
    pin = VIEW | {"action": action}
    for fields, plain in (({}, False), ({"product_id": None}, False), ({"product_id": "p1"}, True)):
        value = encoded(list((pin | fields).items()), {"separators": (",", ":")})
        found = check(Kind.VIEWS, [given_value(Kind.VIEWS, value)])
        assert found.is_plain(0) is plain
        assert isinstance(found[0], Rejected) is not plain


def test_places_are_those_of_a_sequence() -> None:
    found = read_plain(Kind.VIEWS, [given_value(Kind.VIEWS, None)], MAX_VALUE, decode_one)
    assert found[-1] is None
    for wrong in (1, -2):
        with pytest.raises(IndexError):
            found[wrong]
    with pytest.raises(ValueError, match="step"):
        found[::2]
    assert list(found[1:]) == []
    assert isinstance(found, Events)
