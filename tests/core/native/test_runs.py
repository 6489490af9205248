"""The events of a run are those of its records, wherever they lie."""

import json
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from stream.core.decode import decode_all, decode_one
from stream.model.names import Kind
from tests.core.native.test_plain import MAX_VALUE, VIEW, kinds, records
from tests.recount import LogRecord

native = pytest.importorskip("stream.core.native.records", reason="built without a C compiler")
plain = pytest.importorskip("stream.core.native.plain", reason="built without a C compiler")


def run_of(made: list[Any]) -> Any:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, 0, 0, 2**30)
    for number, each in enumerate(made):
        builder.append(number, each.timestamp, each.key, each.value, list(each.headers))
    data = bytes(builder.build())
    batch = native.Batch(data, 0, len(data))
    return batch.read(bytes(batch.packed()))


@given(kinds, st.lists(records(), max_size=5), st.integers(0, 5))
def test_they_are_what_python_makes_of_them(kind: Kind, drawn: list[tuple[Kind, Any]], begin: int) -> None:
    run = run_of([one for its, one in drawn if its is kind])[begin:]
    found, expected = plain.read_plain(kind, run, MAX_VALUE, decode_one), decode_all(kind, list(run), MAX_VALUE)
    assert list(found) == list(expected)
    assert (found.clean, found.newest_ms) == (expected.clean, expected.newest_ms)
    listed = plain.read_plain(kind, list(run), MAX_VALUE, decode_one)
    places = range(len(run))
    assert [found.is_plain(at) and found.as_dict(at) for at in places] == [
        listed.is_plain(at) and listed.as_dict(at) for at in places
    ]


def test_their_bytes_live_as_long_as_they_do() -> None:
    run = run_of([LogRecord("views", 0, 0, 0, b"s1", json.dumps(VIEW).encode(), ()) for _ in range(3)])
    events = plain.read_plain(Kind.VIEWS, run[1:], MAX_VALUE, decode_one)
    told = events.as_dict(0)
    del run
    assert events.is_plain(1)
    assert events[1:].as_dict(0) == told
