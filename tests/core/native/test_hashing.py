"""The hash of short texts is the one of the xxhash package: ids in the state do not depend on who hashed them."""

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

hashing = pytest.importorskip("stream.core.native.hashing", reason="built without a C compiler")


@given(st.binary(max_size=128), st.integers(0, 2**64 - 1))
def test_it_is_xxh3(data: bytes, seed: int) -> None:
    assert hashing.hash_short(data, seed) == xxhash.xxh3_64_intdigest(data, seed)


def test_of_every_length() -> None:
    for length in range(129):
        data = bytes(range(length))
        assert hashing.hash_short(data, 7) == xxhash.xxh3_64_intdigest(data, 7), length


def test_longer_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 128"):
        hashing.hash_short(b"x" * 129, 0)
