"""The depth of JSON, told without parsing it."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.nesting import MAX_DEPTH, is_deep

texts = st.text(st.sampled_from('[]{}"\\a'), max_size=8)
trees = st.recursive(
    texts | st.none(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def wrapped(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


@given(trees, st.integers(MAX_DEPTH - 6, MAX_DEPTH + 2), st.booleans())
@example("\\", MAX_DEPTH, False)
@example('\\"[', MAX_DEPTH, False)
def test_brackets_in_strings_do_not_count(tree: Any, levels: int, escaped: bool) -> None:
    value = json.dumps(wrapped([tree, ["[" * MAX_DEPTH]], levels), ensure_ascii=escaped).encode()
    assert is_deep(value) is (levels + 1 + max(depth(tree), 1) > MAX_DEPTH)


@pytest.mark.parametrize(
    ("value", "deep"),
    [
        (b"[" * MAX_DEPTH, False),
        (b"[" * (MAX_DEPTH + 1), True),
        (b"[]" * 10_000, False),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b'"' + b"[" * 1000, False),
        (b'"' * 1001 + b"[" * 1000, False),
        (b'"' * 1000 + b"[" * 1000, True),
        (b"", False),
    ],
)
def test_what_is_no_json_has_a_depth_too(value: bytes, deep: bool) -> None:
    assert is_deep(value) is deep
