"""What we know of msgspec by heart: the texts of its errors, and where a struct keeps its fields. Pinned for both."""

import ctypes
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from stream.core.breakdown import Clicks, Orders, Sales, Source
from stream.model.events import View

ROOT: Final = Path(__file__).parents[2]
VIEW: Final = (
    b'{"event_id":"e","event_time":1700000000000,"session_id":"s","seller_id":"x","viewer_id":"v",'
    b'"platform":"p","action":"enter"%s}'
)
decode: Final = msgspec.json.Decoder(View).decode


def test_the_pinned_version_is_the_installed_one() -> None:
    pinned = re.search(r'"msgspec==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned is not None, "msgspec is not pinned"
    assert version("msgspec") == pinned[1]
    assert f"msgspec=={pinned[1]} " in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"{", "Input data was truncated"),
        (b'{"a" 1}', "JSON is malformed: expected ':' (byte 5)"),
        (b"{!", "JSON is malformed: object keys must be strings (byte 1)"),
        (b"{}", "Object missing required field `event_id`"),
        (VIEW % b',"count":"x"', "Expected `int | null`, got `str` - at `$.count`"),
        (VIEW.replace(b"enter", b"odd") % b"", "Invalid enum value 'odd' - at `$.action`"),
    ],
)
def test_the_texts_that_core_explain_reads(value: bytes, text: str) -> None:
    """Reasons of dead letters are a public contract: they are told from these words."""
    with pytest.raises(msgspec.DecodeError) as raised:
        decode(value)
    assert str(raised.value) == text


def test_what_follows_a_value_is_told_one_byte_late() -> None:
    with pytest.raises(msgspec.DecodeError) as raised:
        decode(VIEW % b"" + b" x")
    assert str(raised.value) == f"JSON is malformed: trailing characters (byte {len(VIEW % b'') + 2})"


@pytest.mark.parametrize("struct", [Source(1, 2, 3, {"IDR": 4}), Clicks({"p": 1}, 2, {"q": 3}), Orders(), Sales()])
def test_a_struct_keeps_each_field_where_its_descriptor_says(struct: Any) -> None:
    """native/slots.h reads and sets them there: a member that holds a pointer to an object, one after another by name."""
    for number, name in enumerate(sorted(struct.__struct_fields__)):
        descriptor = vars(type(struct))[name]
        assert type(descriptor).__name__ == "member_descriptor"
        at = id(struct) + object.__basicsize__ + number * ctypes.sizeof(ctypes.c_void_p)
        assert ctypes.c_void_p.from_address(at).value == id(getattr(struct, name)), name


def test_structs_without_cycles_have_no_header_of_the_collector() -> None:
    """They are not tracked, so nothing sets a field behind our back, and none is visited."""
    import gc

    assert not gc.is_tracked(Source())
