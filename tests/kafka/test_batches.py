"""Headers of batches as they lie in the log."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from stream.kafka.batches import Batch, batches


def built(numbers: range, codec: int = 3, base: int = 0) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=1,
        producer_id=7,
        producer_epoch=0,
        base_sequence=0,
        batch_size=10_000,
    )
    for place, number in enumerate(numbers):
        assert builder.append(place, 1000 + number, b"k", b"v" * 50, []) is not None
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def test_headers_say_what_lies_there() -> None:
    first, second = built(range(3)), built(range(3, 5), codec=0, base=3)
    assert list(batches(first + second)) == [
        Batch(0, 2, 3, "lz4", len(first), 1002, transactional=True, control=False, damaged=False),
        Batch(3, 4, 2, "none", len(second), 1004, transactional=True, control=False, damaged=False),
    ]


def test_damage_is_told_unless_the_end_is_missing() -> None:
    data = bytearray(built(range(3)))
    assert [batch.damaged for batch in batches(bytes(data[:-1]))] == [None]
    data[-1] ^= 1
    assert [batch.damaged for batch in batches(bytes(data))] == [True]


def test_what_is_no_batch_is_the_end() -> None:
    data = built(range(3))
    assert len(list(batches(data + data[:60]))) == 1
    assert list(batches(bytes(200))) == []
