"""Fixes of the usual mistakes of producers: small pure functions with names, each of one mistake.

A fix changes what it is about and nothing else: every other field keeps its bytes. What is right already, and what a fix is
not about, stays as it is, byte for byte; so a fix may be applied twice. What it is about and cannot be told raises FixError.
Whether the result is an event is for the decoder to say.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

import msgspec

from stream.core.decode import is_structured
from stream.core.nesting import refuse_deep
from stream.dlq.letters import Letter
from stream.model.events import LEAST_MS, MOST_MS
from stream.model.money import EXPONENTS, MoneyError, parse_minor

Fields: TypeAlias = dict[str, msgspec.Raw]
"""An object of JSON: the bytes of each value. Of a repeated name the last counts, as for a worker."""
Mend: TypeAlias = Callable[[Fields], None]
"""Changes the fields of an event in place."""

_object: Final = msgspec.json.Decoder(Fields).decode
_objects: Final = msgspec.json.Decoder(list[Fields]).decode
_text: Final = msgspec.json.Decoder(str).decode

IDS: Final = (
    *("event_id", "session_id", "seller_id", "viewer_id", "creator_id", "affiliate_id", "product_id"),
    *("comment_id", "checkout_id", "order_id", "voucher_id"),
)
_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]{0,127})")
_NUMBER: Final = re.compile(rb"-?[0-9].*", re.DOTALL)
_TIME: Final = re.compile(rb'"?([0-9]{1,19}(?:\.[0-9]{1,9})?(?:[eE]\+?[0-9]{1,2})?)"?')
_AMOUNT: Final = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.([0-9]{1,4}))?", re.ASCII)


class FixError(ValueError):
    """What a fix is about cannot be told. Names the field and quotes no value."""


class Content(NamedTuple):
    """What is sent again."""

    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Fix:
    """``apply``: content and whether the value is a structured CloudEvent."""

    name: str
    help: str
    apply: Callable[[Content, bool], Content]


def fixed(letter: Letter, fixes: tuple[Fix, ...]) -> Content:
    """Its key and value with these fixes, in their order. Raises FixError."""
    content = Content(letter.key, letter.value)
    structured = is_structured(letter)
    for fix in fixes:
        content = fix.apply(content, structured)
    return content


def _of_fields(mend: Mend) -> Callable[[Content, bool], Content]:
    def apply(content: Content, structured: bool) -> Content:
        fields = _opened(content.value or b"")
        event = _opened(bytes(fields.get("data", b""))) if structured else fields
        before = dict(event)
        mend(event)
        if event == before:
            return content
        if structured:
            fields["data"] = msgspec.Raw(msgspec.json.encode(event))
        return content._replace(value=msgspec.json.encode(fields))

    return apply


def _opened(value: bytes) -> Fields:
    try:
        refuse_deep(value)
        return _object(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise FixError("value: is no object of JSON") from None


# -- event times


def _to_milliseconds(multiply: int, divide: int) -> Mend:
    def mend(event: Fields) -> None:
        found = _TIME.fullmatch(bytes(event.get("event_time", b"")))
        if found is None:
            return
        ms = Decimal(found[1].decode()) * multiply / divide
        if LEAST_MS <= ms <= MOST_MS:
            event["event_time"] = msgspec.Raw(b"%d" % int(ms))

    return mend


# -- ids


def _ids_to_text(event: Fields) -> None:
    _to_text(event, IDS)

    def in_item(item: Fields) -> None:
        _to_text(item, ("product_id",))

    _each_item(event, in_item)


def _to_text(fields: Fields, names: tuple[str, ...]) -> None:
    for name in names:
        token = bytes(fields.get(name, b""))
        if _INTEGER.fullmatch(token):
            fields[name] = msgspec.Raw(b'"%b"' % token)
        elif _NUMBER.fullmatch(token):
            raise FixError(
                f"{name}: a number with a fraction, an exponent or too many digits, which may have lost some"
            )


def _each_item(event: Fields, mend: Mend) -> None:
    raw = bytes(event.get("items", b""))
    try:
        items = _objects(raw) if raw else []
    except (msgspec.DecodeError, UnicodeError):
        return  # the decoder says what is wrong with them
    before = [dict(item) for item in items]
    for item in items:
        mend(item)
    if items != before:
        event["items"] = msgspec.Raw(msgspec.json.encode(items))


# -- money


def _money_to_minor(event: Fields) -> None:
    currency = _as_text(event.get("currency"))
    for name, plain in (("amount_minor", "amount"), ("discount_minor", "discount")):
        _to_minor(event, name, plain, currency)

    def in_item(item: Fields) -> None:
        _to_minor(item, "unit_price_minor", "unit_price", currency)

    _each_item(event, in_item)


def _to_minor(fields: Fields, name: str, plain: str, currency: str | None) -> None:
    """The field itself where it is text, or what stands in its place without ``_minor``."""
    token = bytes(fields.get(name, b""))
    if token in {b"", b"null"}:
        name, token = plain, bytes(fields.get(plain, b""))
    if token in {b"", b"null"}:
        return
    if token.startswith(b'"'):
        fields[f"{plain}_minor"] = msgspec.Raw(b"%d" % _minor(_as_text(msgspec.Raw(token)) or "", name, currency))
    elif _NUMBER.fullmatch(token) and (name == plain or not _INTEGER.fullmatch(token)):
        raise FixError(f"{name}: a number, and a float is no amount of money: it has to be text, or minor units")


def _minor(amount: str, name: str, currency: str | None) -> int:
    """More digits behind the point than the currency has are refused, zeros too: 53.500 may be fifty-three thousand."""
    found = _AMOUNT.fullmatch(amount)
    if currency not in EXPONENTS:
        raise FixError("currency: not a currency of ISO 4217")
    if found is None or len(found[1] or "") > EXPONENTS[currency]:
        raise FixError(f"{name}: is no amount with a point and at most {EXPONENTS[currency]} digits behind it")
    try:
        return parse_minor(amount, currency)
    except MoneyError:
        raise FixError(f"{name}: is no amount in this currency") from None


def _as_text(raw: msgspec.Raw | None) -> str | None:
    """Of a JSON string; None of anything else."""
    try:
        return None if raw is None else _text(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None


# -- keys


def _key_from_session(content: Content, structured: bool) -> Content:
    fields = _opened(content.value or b"")
    event = _opened(bytes(fields.get("data", b""))) if structured else fields
    session = _as_text(event.get("session_id"))
    if not session:
        raise FixError("session_id: is no text that could be the key")
    try:
        return content._replace(key=session.encode())
    except UnicodeEncodeError:
        raise FixError("session_id: is no text that could be the key") from None


FIXES: Final[dict[str, Fix]] = {
    fix.name: fix
    for fix in (
        Fix(
            "seconds-to-milliseconds",
            "event_time in seconds, also with a fraction or in quotes",
            _of_fields(_to_milliseconds(1000, 1)),
        ),
        Fix(
            "microseconds-to-milliseconds",
            "event_time in microseconds, also in quotes; what is below a millisecond is cut off",
            _of_fields(_to_milliseconds(1, 1000)),
        ),
        Fix(
            "nanoseconds-to-milliseconds",
            "event_time in nanoseconds, also in quotes; what is below a millisecond is cut off",
            _of_fields(_to_milliseconds(1, 1_000_000)),
        ),
        Fix(
            "numeric-ids-to-text",
            "ids that are whole numbers, those of items too: the same digits as text",
            _of_fields(_ids_to_text),
        ),
        Fix(
            "decimal-money-to-minor",
            'amount_minor, discount_minor and unit_price_minor that are decimal text in whole units ("53500.00"), '
            "or such text in amount, discount and unit_price; floats are refused",
            _of_fields(_money_to_minor),
        ),
        Fix("key-from-session-id", "the record's key: the event's session_id as plain text", _key_from_session),
    )
}
"""By name, in the order in which they are listed."""
