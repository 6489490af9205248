"""Of a repeated key the last one is left, as a JSON parser leaves it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.repeated import last_keys
from stream.model.events import Checkout, Comment, Item, View
from stream.model.names import Kind

OF: dict[Kind, type[msgspec.Struct]] = {Kind.VIEWS: View, Kind.COMMENTS: Comment, Kind.CHECKOUTS: Checkout}
NAMES = ("event_id", "count", "text", "status", "items", "quantity", "unknown")
scalars = st.none() | st.integers(-3, 3) | st.text(max_size=3)
pairs = st.lists(st.tuples(st.sampled_from(NAMES), scalars.map(json.dumps)), max_size=6)


def an_object(fields: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f'"{name}" : {text}' for name, text in fields) + "}"


def known(fields: Any, of: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in of.__struct_fields__}


@given(st.sampled_from(list(Kind)), pairs, st.none() | st.lists(pairs, max_size=3))
def test_the_last_of_each_key_is_left(kind: Kind, fields: list[tuple[str, str]], items: Any) -> None:
    fields = [each for each in fields if each[0] != "items"]
    if items is not None:
        fields.insert(len(fields) // 2, ("items", "7"))
        fields.append(("items", f"[{','.join(map(an_object, items))}]"))
    expected = known(json.loads(an_object(fields)), OF[kind])
    if "items" in expected:
        expected["items"] = [known(item, Item) for item in expected["items"]]
    assert json.loads(last_keys(kind, an_object(fields).encode())) == expected


@pytest.mark.parametrize("value", [b"", b"[]", b"7", b'{"count":1', b'{"count":1} 2', b'{"x":[NaN]}', b'{"x":"\\q"}'])
def test_what_is_no_object_raises(value: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        last_keys(Kind.VIEWS, value)


@pytest.mark.parametrize("items", [b"7", b"null", b'[7,{"quantity":1,"quantity":2}]', b"[" + b"{}," * 200 + b"{}]"])
def test_items_that_the_decoder_will_refuse_stay(items: bytes) -> None:
    assert last_keys(Kind.CHECKOUTS, b'{"items":%b}' % items) == b'{"items":%b}' % items
