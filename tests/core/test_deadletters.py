"""The form of a dead letter, which is a public contract."""

from dataclasses import dataclass, field

import xxhash
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from stream.core import deadletters
from stream.core.deadletters import (
    LEAST_LETTER,
    LETTER_BYTES,
    REASON,
    LetterSize,
    Oversize,
    fitting,
    originals,
    oversize,
    redrives,
    rows,
    shortened,
    size_of,
)
from stream.core.decode import decode_batch
from stream.model.names import INPUTS, Kind, Reason
from stream.model.results import DeadLetter, RefusedBatch
from tests.kafka.tools import view

TOPICS = {str(kind): f"p.{name}" for kind, name in INPUTS.items()}


@dataclass
class Given:
    value: bytes | None
    key: bytes | None = b"s1"
    offset: int = 7
    timestamp: int = 1234
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def written(
    record: Given | Oversize, detail: str = "seller_id: missing"
) -> tuple[bytes | None, bytes | None, dict[str, bytes | None]]:
    letter = DeadLetter(Kind.VIEWS, record, Reason.MISSING_FIELD, detail)
    [(key, value, headers)] = rows([letter], TOPICS, 3, 2)
    assert len(dict(headers)) == len(headers)
    return key, value, dict(headers)


def test_a_letter_has_the_original_bytes_and_says_where_from_and_why() -> None:
    assert written(Given(b"\xff{", headers=[("trace", b"1")])) == (
        b"s1",
        b"\xff{",
        {
            "liveshop-reason": b"missing_field",
            "liveshop-detail": b"seller_id: missing",
            "liveshop-origin": b"p.live.views/3/7/1234",
            "liveshop-run": b"live",
            "liveshop-generation": b"2",
            "liveshop-redrives": b"0",
            "trace": b"1",
        },
    )


def test_an_empty_value_and_no_key_stay_what_they_are() -> None:
    key, value, _ = written(Given(b"", key=None))
    assert (key, value) == (None, b"")


def test_redrives_are_carried_over_and_earlier_headers_of_ours_are_replaced() -> None:
    earlier = [("liveshop-redrives", b"2"), ("liveshop-reason", b"late"), ("liveshop-origin", b"x/1/1/1")]
    _, _, headers = written(Given(b"{", headers=earlier))
    assert headers["liveshop-redrives"] == b"2"
    assert headers["liveshop-reason"] == b"missing_field"
    assert headers["liveshop-origin"] == b"p.live.views/3/7/1234"


def test_a_nonsense_number_of_redrives_is_none() -> None:
    for nonsense in (b"", b"-1", b"x", b"1.5", "²".encode()):
        assert redrives([("liveshop-redrives", nonsense)]) == 0
    assert redrives([("liveshop-redrives", None)]) == 0
    assert redrives([("liveshop-redrives", b"9" * 5000)]) == 999_999_999


def test_keys_are_cut_at_64_kb() -> None:
    key, _, _ = written(Given(b"{", key=b"k" * 70_000))
    assert key == b"k" * 65_536


def test_headers_beyond_64_kb_are_dropped_and_counted() -> None:
    kept = originals([("a", b"x" * 60_000), ("b", b"y" * 60_000), ("c", b"z"), ("d", b"w" * 65_536)])
    assert kept == [("a", b"x" * 60_000), ("c", b"z"), ("liveshop-headers-dropped", b"2")]
    fits = [("name", b"x" * (65_536 - 4))]
    assert originals(fits) == fits
    assert len(originals([("", b"")] * 300_000)) == 1001


def test_what_we_have_set_anew_is_left_out_wherever_it_stands() -> None:
    assert originals([(REASON, b"1"), ("a", b"x"), (REASON, b"2"), ("b", None)]) == [("a", b"x"), ("b", None)]


def test_a_value_too_large_is_cut_with_size_and_hash_and_not_held() -> None:
    large = view(1) + b" " * 2_000_000
    records = [Given(view(0)), Given(large), Given(b"{")]
    events = decode_batch(Kind.VIEWS, records, 1_048_576)
    kept = shortened(records, events)
    assert kept[0] is records[0]
    assert kept[2] is records[2]
    short = kept[1]
    assert isinstance(short, Oversize)
    _, value, headers = written(short)
    assert value == large[:65_536]
    assert headers[deadletters.SIZE] == str(len(large)).encode()
    assert headers[deadletters.XXH3] == xxhash.xxh3_64_hexdigest(large).encode()


def test_a_batch_has_one_letter_that_says_how_many_records_it_stands_for() -> None:
    batch = RefusedBatch(5, 9, 4, 1234, Reason.TOO_LARGE, "batch: large", b"raw" * 9, 70_000, "0123456789abcdef")
    (kept,) = shortened([batch], decode_batch(Kind.VIEWS, [batch], 1_048_576))
    assert kept is batch
    [(key, value, headers)] = rows([DeadLetter(Kind.VIEWS, batch, batch.reason, batch.detail)], TOPICS, 3, 2)
    assert (key, value) == (None, b"raw" * 9)
    assert dict(headers) == {
        "liveshop-reason": b"too_large",
        "liveshop-detail": b"batch: large",
        "liveshop-origin": b"p.live.views/3/5-9/1234",
        "liveshop-run": b"live",
        "liveshop-generation": b"2",
        "liveshop-redrives": b"0",
        "liveshop-size": b"70000",
        "liveshop-xxh3": b"0123456789abcdef",
        "liveshop-records": b"4",
    }
    [(_, value, _)] = rows([DeadLetter(Kind.VIEWS, batch, batch.reason, batch.detail)], TOPICS, 3, 2, most=380)
    assert value
    assert len(value) < len(batch.data)


def test_good_records_are_handed_on_untouched() -> None:
    records = [Given(view(0)), Given(None)]
    assert shortened(records, decode_batch(Kind.VIEWS, records, 1_048_576)) is records


headers_given = st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=9000)), max_size=12)
limits = st.integers(fitting(LEAST_LETTER), 400_000)


@given(
    st.integers(0, 300_000),
    st.integers(0, 90_000),
    headers_given,
    limits,
    st.booleans(),
)
def test_every_letter_fits_its_topic_and_one_that_is_cut_says_what_it_was(
    size: int, key: int, given_headers: list[tuple[str, bytes]], most: int, shorten: bool
) -> None:
    whole = Given(b"v" * size, key=b"k" * key, headers=given_headers)
    letter = DeadLetter(Kind.VIEWS, oversize(whole) if shorten else whole, Reason.LATE, "d" * 5000)
    [row] = rows([letter], TOPICS, 3, 2, most)
    assert size_of(row) <= most
    value, headers = row[1] or b"", dict(row[2])
    assert len(headers[deadletters.DETAIL] or b"") == 2000
    assert whole.value is not None
    if deadletters.SIZE in headers:
        assert whole.value.startswith(value)
        assert headers[deadletters.SIZE] == str(size).encode()
        assert headers[deadletters.XXH3] == xxhash.xxh3_64_hexdigest(whole.value).encode()
        assert len(value) > 30_000 or value == whole.value
    else:
        assert value == whole.value
        assert not shorten


def test_the_bytes_that_a_record_takes_are_never_more_than_we_think() -> None:
    for row in rows(
        [DeadLetter(Kind.VIEWS, Given(b"v" * 300, headers=[("ü" * 9, b"")] * 40), Reason.LATE, "")], TOPICS, 0, 0
    ):
        builder = DefaultRecordBatchBuilder(2, 0, 1, 0, 0, 0, 2**20)
        assert builder.append(0, None, *row) is not None
        assert builder.size() - 61 <= size_of(row)


def test_what_a_topic_refuses_is_smaller_the_next_time_down_to_the_least() -> None:
    size = LetterSize.of(2**60)
    assert size.most == LetterSize().most == fitting(LETTER_BYTES)
    assert size.refused(size.most, 1_048_588), "the topic was altered"
    assert size.most == fitting(1_048_588)
    assert size.refused(fitting(LETTER_BYTES), 1_048_588), "another shard that wrote before has nothing to add"
    assert size.most == fitting(1_048_588)
    assert size.refused(size.most, 1_048_588), "it should fit, but a broker has a limit of its own"
    assert size.most == fitting(1_048_588) // 2
    tries = 0
    while size.refused(size.most, None):
        tries += 1
    assert size.most == fitting(LEAST_LETTER)
    assert tries < 5
    assert not LetterSize().refused(LetterSize().most, 10_000), "smaller than anything that is worth keeping"
    assert LetterSize.of(10).most == fitting(LEAST_LETTER)
