"""Why a value is no event: the reason, and a detail that helps a person to find the cause.

A detail is a header of a dead letter, and may stand in a log: it names the field or the byte, says what the value looks
like, never quotes it, and is bounded. The reasons are a public contract, the wording of details is not. What each means
and what to do about it is in docs/dead-letters.md.
"""

import re
from typing import Final

import msgspec

from stream.core import content, shapes, units
from stream.core.nesting import MAX_DEPTH
from stream.model.names import Kind, Reason

LONGEST: Final = 250
"""Bytes of a detail, which is ASCII."""
TOO_DEEP: Final = f"value: nested too deeply, at most {MAX_DEPTH} levels"

Explained = tuple[Reason, str]

# msgspec says what is wrong in words; these are the words of 0.22 (a test holds every one of them).
_MALFORMED: Final = "JSON is malformed: "
_TRAILING: Final = "trailing characters"
_AT_BYTE: Final = re.compile(r" \(byte ([0-9]{1,10})\)\Z")
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`\Z")
_MISSING: Final = re.compile(r"missing required field `([^`]*)`")


def explain(kind: Kind, value: bytes, error: Exception) -> Explained:
    """The reason behind an exception of the decoder."""
    reason, detail = _explain(kind, value, error)
    return reason, detail[:LONGEST]


def _explain(kind: Kind, value: bytes, error: Exception) -> Explained:
    bad_byte = _not_utf8_at(value)
    if bad_byte is not None:
        where = f"value: not UTF-8 at byte {bad_byte} of {len(value)}"
        return Reason.NOT_UTF8, _guessed(where, content.of_no_utf8(value, bad_byte))
    if isinstance(error, RecursionError):
        return Reason.INVALID_JSON, TOO_DEEP
    if isinstance(error, msgspec.ValidationError):
        return _invalid_event(kind, value, str(error))
    return Reason.INVALID_JSON, _not_json(value, str(error))


def _not_utf8_at(value: bytes) -> int | None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _guessed(what: str, guess: str) -> str:
    return f"{what}; looks like {guess}" if guess else what


# -- no JSON


def _not_json(value: bytes, text: str) -> str:
    if not value.strip():
        return f"value: empty, {len(value)} bytes; a tombstone has no value at all"
    found = _AT_BYTE.search(text)
    if found is None:  # "Input data was truncated"
        return _guessed(f"value: not JSON: ends too early, at byte {len(value)}", _of_truncated(value))
    problem = text[: found.start()].removeprefix(_MALFORMED)
    at = int(found[1]) - (problem == _TRAILING)  # of these it names the second
    return _guessed(f"value: not JSON at byte {at} of {len(value)}: {problem}", _of_malformed(value, at, problem))


def _of_truncated(value: bytes) -> str:
    return "" if value[: content.HEAD].lstrip()[:1] in (b"{", b"[", b'"') else content.of_bytes(value)


def _of_malformed(value: bytes, at: int, problem: str) -> str:
    begins_well = value[: content.HEAD].lstrip()[:1] in (b"{", b"[")
    if begins_well and problem == _TRAILING:
        return content.of_rest(value, at)
    if begins_well and at > 1:
        return content.of_fault(value, at)
    return content.of_bytes(value) or content.of_fault(value, at)


# -- no event


def _invalid_event(kind: Kind, value: bytes, text: str) -> Explained:
    path = _PATH.search(text)
    field = path[1] if path and path[1] else "value"
    missing = _MISSING.search(text)
    if missing:
        if field != "value":
            return Reason.MISSING_FIELD, f"{field}.{missing[1]}: missing"
        return Reason.MISSING_FIELD, _guessed(f"{missing[1]}: missing", shapes.of_object(kind, value))
    if "Invalid enum value" in text:
        unknown = Reason.UNKNOWN_STATUS if kind is Kind.CHECKOUTS else Reason.UNKNOWN_ACTION
        return unknown, _guessed(f"{field}: not one of the known values", shapes.of_word(kind, value))
    what = text.removesuffix(path[0]) if path else text
    guess = _GUESSES.get(field, shapes.of_envelope)(value)
    return Reason.WRONG_TYPE if ", got " in text else Reason.BAD_VALUE, _guessed(f"{field}: {what}", guess)


_GUESSES: Final = {"event_time": units.of_field, "value": shapes.of_no_object}
"""Who guesses by the field at fault. Any other may be one that an envelope has too, such as Debezium's source."""
