"""Whatever is packed, no more is unpacked than the limit; and what is no fault of the data is not taken for one."""

import contextlib
import random
import subprocess
import sys
import tracemalloc
from typing import Final

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.codecs import TooLargeError, UnknownCodecError, UnpackError, unpack

PACK: Final = {
    0: bytes,
    1: gzip_encode,
    2: snappy_encode,
    3: lz4_encode,
    4: zstd_encode,
}
every = pytest.mark.parametrize("codec", PACK)
packing = pytest.mark.parametrize("codec", [1, 2, 3, 4])
MIB: Final = 1024 * 1024
LIMITS: Final = (1000, MIB, MIB + 1, 3 * MIB)


@every
@given(data=st.binary(max_size=2000))
def test_what_was_packed_is_unpacked(codec: int, data: bytes) -> None:
    for limit in (len(data), len(data) + MIB):
        assert unpack(codec, PACK[codec](data), limit) == data


@every
@pytest.mark.parametrize("limit", LIMITS)
def test_exactly_the_limit_is_unpacked_and_no_byte_more(codec: int, limit: int) -> None:
    assert unpack(codec, PACK[codec](b"0" * limit), limit) == b"0" * limit
    with pytest.raises(TooLargeError, match=f"more than {limit} bytes"):
        unpack(codec, PACK[codec](b"0" * (limit + 1)), limit)


def test_snappy_without_the_frame_of_java_is_bounded_too() -> None:
    packed = cramjam.snappy.compress_raw(b"0" * 5000)
    assert unpack(2, packed, 5000) == b"0" * 5000
    with pytest.raises(TooLargeError):
        unpack(2, packed, 4999)
    with pytest.raises(TooLargeError):
        unpack(2, b"\xff\xff\xff\xff\x0f", 10**6)  # says that 4 GB will follow


@packing
def test_a_bomb_takes_no_more_memory_than_the_limit_allows(codec: int) -> None:
    """What Python and numpy hold; a whole worker is measured in tests/hostile."""
    packed = PACK[codec](b"0" * 300_000_000)
    limit = 4 * MIB
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            unpack(codec, packed, limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * limit + len(packed)


@packing
@given(data=st.binary(max_size=300))
def test_any_bytes_are_unpacked_or_refused(codec: int, data: bytes) -> None:
    with contextlib.suppress(UnpackError, TooLargeError):
        assert len(bytes(unpack(codec, data, 1000))) <= 1000


@packing
@given(
    data=st.binary(min_size=1, max_size=300),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_any_damage_is_unpacked_or_refused(codec: int, data: bytes, flips: list[tuple[int, int]]) -> None:
    packed = bytearray(PACK[codec](data * 9))
    for at, bits in flips:
        packed[at % len(packed)] ^= bits
    with contextlib.suppress(UnpackError, TooLargeError):
        assert len(bytes(unpack(codec, bytes(packed), 5000))) <= 5000


@pytest.mark.parametrize("tail", [b"\x00\x00\x00", b"\xff\xff\xff\xfb", b"\x00\x00\x00\x09ab"])
def test_blocks_of_snappy_that_lead_nowhere_are_refused(tail: bytes) -> None:
    with pytest.raises(UnpackError, match="snappy"):
        unpack(2, snappy_encode(b"abc" * 20) + tail, 1000)


@pytest.mark.parametrize("codec", [1, 3, 4])  # snappy says its size before it is unpacked
def test_room_is_as_large_as_batches_of_the_codec_have_needed_lately(codec: int) -> None:
    """One bomb is forgotten, and no batch holds on to much more memory than it fills."""
    unpack(codec, PACK[codec](b"0" * MIB), MIB)
    for number in range(2000):
        data = random.Random(number).randbytes(2000) * 2
        found = unpack(codec, PACK[codec](data), 4 * MIB)
        assert found == data
    room = found.obj if isinstance(found, memoryview) else found
    assert memoryview(room).nbytes < 1.4 * len(data)


def test_a_codec_that_came_later_is_unknown() -> None:
    for codec in (5, 6, 7):
        with pytest.raises(UnknownCodecError, match=f"codec {codec}"):
            unpack(codec, b"", 1000)


def test_parts_that_follow_each_other_are_one() -> None:
    for codec in (1, 3, 4):
        assert unpack(codec, PACK[codec](b"ab") + PACK[codec](b"cd"), 4) == b"abcd"


SHORT_OF_MEMORY: Final = """
import resource, sys
import cramjam, numpy
from stream.kafka.codecs import unpack
frame = bytes.fromhex("28b52ffd") + bytes([0, (27 - 10) << 3]) + ((1000 << 3) | 3).to_bytes(3, "little") + b"0"
assert len(unpack(4, frame, 2 << 20)) == 1000
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 20_000_000,) * 2)
try:
    unpack(4, frame, 2 << 20)
except MemoryError as error:
    print("MemoryError:", error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how large the process is")
def test_a_lack_of_memory_is_no_fault_of_the_data() -> None:
    """The window of 128 MB that this frame asks for is not to be had."""
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("MemoryError: Allocation error : not enough memory"), done.stderr
