"""Whatever data says is shown, and nothing of it is obeyed by a terminal, hidden, or lost."""

import json
import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.plaintext import STACKED, json_text, plain, plain_json, plain_lines
from tests.hostile_texts import HOSTILE_IDS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("7301", "7301"),
        ("", ""),
        ("kajian-ß-直播-🎉", "kajian-ß-直播-🎉"),
        ("[red]x[/] :100:", "[red]x[/] :100:"),
        ("\x1b[2Jx", r"\x1b[2Jx"),
        ("\x9b2Jx", r"\x9b2Jx"),
        ("a\nb\r\tc\x7f", r"a\nb\r\tc\x7f"),
        ("a\u202eb\u2066", r"a\u202eb\u2066"),
        ("a\u200bb\u200d\ufeff", r"a\u200bb\u200d\ufeff"),
        ("a\u2028b\x85", r"a\u2028b\x85"),
        ("\u3164\u2800\ufe0f", r"\u3164\u2800\ufe0f"),
        ("\U000e0041\U000e0100", r"\U000e0041\U000e0100"),
        ("\ud800", r"\ud800"),
        ("e\u0301", "e\u0301"),
        ("\u0301e", r"\u0301e"),
    ],
    ids=ascii,
)
def test_what_a_terminal_would_obey_or_hide_is_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_marks_are_not_piled_up() -> None:
    assert plain("a" + "\u0301" * 100) == "a" + "\u0301" * STACKED + r"\u0301" * (100 - STACKED)


def test_a_long_text_is_cut() -> None:
    assert plain("x" * 100, 10) == "x" * 9 + "…"
    assert len(plain("\x1b" * 10**6)) < 50_000


@given(st.text())
def test_a_plain_text_holds_nothing_but_what_can_be_seen(text: str) -> None:
    for shown in (plain(text), *plain_lines(text).split("\n")):
        assert shown.isprintable()
        assert not any(unicodedata.category(character)[0] in "CZ" and character != " " for character in shown)
        shown.encode()


@given(st.text())
def test_lines_stay_lines(text: str) -> None:
    assert plain_lines(text).count("\n") == text.count("\n")
    assert "\n" not in plain(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values, st.booleans())
def test_json_keeps_everything_and_has_nothing_for_a_terminal(value: object, indent: bool) -> None:
    text = json_text(value, indent=indent)
    assert json.loads(text) == value
    assert all(line.isprintable() for line in text.split("\n"))
    assert indent or "\n" not in text


def test_json_of_a_dataclass_with_more_than_64_bits() -> None:
    @dataclass
    class Figures:
        number: int

    assert json.loads(json_text([Figures(2**70), Figures(1)])) == [{"number": 2**70}, {"number": 1}]


@pytest.mark.parametrize("id_", HOSTILE_IDS, ids=lambda text: ascii(text[:12]))
def test_json_that_somebody_wrote_says_the_same(id_: str) -> None:
    text = plain_json(json.dumps({"id": id_}, ensure_ascii=False))
    assert json.loads(text) == {"id": id_}
    assert text.isprintable()
