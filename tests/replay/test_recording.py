"""Recorded traffic: what was written is what is read, byte for byte; what is no message is named and skipped."""

import gzip
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from stream.errors import UsageError
from stream.model.messages import Message
from stream.model.names import Kind
from stream.replay import recording
from stream.sandbox.traffic import Plan, Traffic

START = 1_760_000_000_000


def essence(message: Message | str) -> tuple[object, ...]:
    assert isinstance(message, Message), message
    return message.at, message.kind, message.key, message.value


@pytest.mark.parametrize("name", ["traffic.ndjson", "traffic.ndjson.gz"])
def test_what_was_written_is_read_byte_for_byte(tmp_path: Path, name: str) -> None:
    messages = Traffic(Plan(bad=0.3), START).step(START + 3000)
    with recording.create(tmp_path / name) as file:
        recording.write(messages, file)
    assert [essence(each) for each in recording.read(tmp_path / name)] == [essence(each) for each in messages]
    assert (name.endswith(".gz")) == ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b")


def one(tmp_path: Path, line: bytes) -> Message | str:
    (tmp_path / "one.ndjson").write_bytes(b"\n" + line + b"\n")
    [read] = recording.read(tmp_path / "one.ndjson")
    return read


def test_values_keep_their_spaces_and_repeated_keys(tmp_path: Path) -> None:
    line = b'{ "at":5, "topic":"live.comments", "key":"k", "value": {"a" : 1.0, "a":2 } , "more": [1]}'
    assert one(tmp_path, line) == Message(5, Kind.COMMENTS, b"k", b'{"a" : 1.0, "a":2 }', 5)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        (b'{"topic":"live.views","key":"k","at":5,"value":null}', b"k", None),
        (b'{"topic":"live.views","key":null,"at":5,"value":7}', None, b"7"),
        (b'{"topic":"live.views","at":5,"value":""}', None, b'""'),
        (b'{"topic":"live.views","key":"","at":5,"raw":""}', b"", b""),
        (b'{"topic":"live.views","key":"k","at":5,"raw":"bnVsbA=="}', b"k", b"null"),
    ],
)
def test_tombstones_missing_keys_and_raw_bytes(
    tmp_path: Path, line: bytes, key: bytes | None, value: bytes | None
) -> None:
    assert one(tmp_path, line) == Message(5, Kind.VIEWS, key, value, 5)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"view", "line 2: not JSON"),
        (b'{"topic":"live.views","key":"k","at":"5","value":{}}', "line 2: Expected `int`, got `str` - at `$.at`"),
        (b'{"topic":"live.views","key":"k","value":{}}', "line 2: Object missing required field `at`"),
        (b'{"topic":"live.sessions","key":"k","at":5,"value":{}}', "line 2: topic: none of live.views, live.comments"),
        (b'{"topic":"live.views","key":"k","at":5}', "line 2: neither value nor raw"),
        (b'{"topic":"live.views","key":"k","at":5,"raw":"*"}', "line 2: Invalid base64"),
        (b'{"topic":"live.views","key":"k","at":5,"value":{"text":"rahasia"}', "line 2: not JSON"),
        (b'{"topic":"live.views","key":"k","at":-1,"value":{}}', "line 2: Expected `int` >= 0 - at `$.at`"),
        (b'{"topic":"live.views","key":"k","at":9223372036854775807,"value":{}}', "line 2: Expected `int` <= "),
        (b'{"topic":"live.views","key":"k","at":1%b,"value":{}}' % (b"0" * 400), "line 2: "),
        (b"[" * 5000, "line 2: "),
    ],
)
def test_a_line_that_is_no_message_is_named_without_its_content(tmp_path: Path, line: bytes, says: str) -> None:
    read = one(tmp_path, line)
    assert isinstance(read, str)
    assert read.startswith(says)
    assert "rahasia" not in read


def test_a_file_that_is_not_there_is_a_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.ndjson: cannot be opened: No such file"):
        list(recording.read(tmp_path / "none.ndjson"))


def test_a_cut_gzip_gives_what_is_whole_and_then_says_so(tmp_path: Path) -> None:
    lines = b"".join(b'{"topic":"live.views","key":"k%d","at":%d,"value":{}}\n' % (at, at) for at in range(20_000))
    (tmp_path / "cut.ndjson.gz").write_bytes(gzip.compress(lines)[:-3000])
    reading = recording.read(tmp_path / "cut.ndjson.gz")
    assert essence(next(reading))[0] == 0
    with pytest.raises(UsageError, match="cannot be read to its end"):
        list(reading)


def test_a_damaged_gzip_says_so(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b'{"topic":"live.views","key":"k","at":5,"value":{}}\n' * 100))
    for place in range(10, len(whole)):
        (tmp_path / "damaged.gz").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with pytest.raises(UsageError, match="cannot be read to its end"):
            list(recording.read(tmp_path / "damaged.gz"))


def test_a_line_that_is_too_long_is_named_and_never_held(tmp_path: Path) -> None:
    """100 MB in 100 KB of gzip."""
    good = b'{"topic":"live.views","key":"k","at":5,"value":{}}\n'
    with gzip.open(tmp_path / "bomb.gz", "wb") as file:
        file.write(good + b'{"topic":"live.views","key":"k","at":5,"value":"')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + good)
    tracemalloc.start()
    try:
        first, second, third = recording.read(tmp_path / "bomb.gz")
        assert tracemalloc.get_traced_memory()[1] < 6 * recording.LONGEST
    finally:
        tracemalloc.stop()
    assert essence(first) == essence(third)
    assert second == "line 2: longer than 8,000,000 bytes"


def test_moving_changes_the_event_time_and_nothing_else() -> None:
    value = b'{"event_id":"e1","event_time": 1000,"text":"caf\xe9 1000"}'
    message = Message(5, Kind.COMMENTS, b"k", value, 1000)
    assert recording.moved(message, 500).value == value.replace(b" 1000,", b" 1500,")
    for odd in (None, b"", b'{"event_time":"1000"}', b"[]", b'{"event_time":%b}' % (b"9" * 5000)):
        assert recording.moved(message._replace(value=odd), 500).value == odd


def test_a_recording_is_not_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for name in ("day.ndjson", "day.ndjson.gz"):
        (tmp_path / name).symlink_to(precious)
        with (
            pytest.raises(UsageError, match=f"{name}: cannot be opened: it is a symbolic link"),
            recording.create(tmp_path / name),
        ):
            pass
    assert precious.read_text() == "kept"


def test_a_recording_replaces_an_earlier_one_and_can_go_to_the_output(tmp_path: Path) -> None:
    earlier = tmp_path / "day.ndjson"
    earlier.write_text("x" * 100_000)
    with recording.create(earlier) as file:
        recording.write([Message(5, Kind.VIEWS, b"k", b"{}", 5)], file)
    assert len(list(recording.read(earlier))) == 1
    code = "from pathlib import Path\nfrom stream.replay import recording\n"
    code += "with recording.create(Path('/dev/stdout')) as file: file.write(b'hi')"
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"hi"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"hi"


@pytest.mark.parametrize("key", [b"k", b"", None, b"\xff\x00", '\u2028"'.encode(), b'"'])
@pytest.mark.parametrize(
    "value",
    [
        *(b'{"a":1}', b' {"a":1}', b'{"a":1}\r', b'{"a":\n1}', b"null", b" null ", b"", None, b"{", b"\xff"),
        *(b'"\xed\xa0\x80"', b'"\\ud800"', b"1e400", b"[" * 5000),
    ],
)
def test_whatever_a_topic_holds_comes_back_byte_for_byte(
    tmp_path: Path, key: bytes | None, value: bytes | None
) -> None:
    written = recording.line(Message(5, Kind.VIEWS, key, value, 5, "unknown"), {"reason": 'a"\n\ud800', "line": 7})
    assert written.endswith(b"}\n")
    assert written.count(b"\n") == 1
    assert one(tmp_path, written.rstrip(b"\n")) == Message(5, Kind.VIEWS, key, value, 5)
