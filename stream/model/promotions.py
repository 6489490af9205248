"""A promotion: what a replay has counted of one session takes the place of what was counted live. The records of
live.promotions, all of one session under its id, in one transaction; and those of live.promotion-outcomes.

Whoever promotes writes a record for each window of the session and one for its totals, each with what was there before and
what is to be there; then a manifest, which says how many they were and what they were compared with. The shard is the only
writer of the live topics: it reads all of that as one more input (`stream.core.promotions`), and says what became of it.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

FORMAT: Final = 1
"""Of a record. A reader refuses a later one."""
ID_DIGITS: Final = 16
NOTHING: Final = msgspec.Raw(b"null")


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of a session."""

    value: msgspec.Raw = NOTHING
    """As live.sessions has them; null for none."""
    packed: bytes = b""
    """The counts behind them with all sketches (`stream.core.packing`), so that later orders can be added. Empty where
    nobody has them any more."""
    named: list[list[str]] = []
    """The ids that its breakdowns name, in their order."""
    figures: list[str] = []
    """What the packed counts hold, by name."""


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    promotion: str
    """Its id: the same for the same replay of a session, compared with the same."""
    session_id: str


class WindowChange(_Record, frozen=True, kw_only=True, tag_field="record", tag="window"):
    """One window. Values are as live.session-windows has them; null where there is none."""

    window: str
    start: int
    end: int
    before: msgspec.Raw = NOTHING
    after: msgspec.Raw = NOTHING


class TotalsChange(_Record, frozen=True, kw_only=True, tag_field="record", tag="totals"):
    before: Totals = Totals()
    after: Totals = Totals()


class Manifest(_Record, frozen=True, kw_only=True, tag_field="record", tag="manifest"):
    """The last record."""

    records: int = 0
    """How many there are before it."""
    hash: str = ""
    """Over them, see `hash_of`."""
    replay: str
    """Id of the replay that counted what is promoted."""
    undo: bool = False
    """It puts back what was there before the replay was promoted."""
    by: str = ""
    reason: str = ""
    ends: dict[str, int]
    """Up to where each input is in what is promoted: an event beyond it is not."""
    generation: int
    """Of the live results compared with."""
    compared: str = ""
    """The promotion that had been applied last; empty for none."""


Change = WindowChange | TotalsChange
AnyRecord = WindowChange | TotalsChange | Manifest


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a promotion: a record of live.promotion-outcomes, under the session's id."""

    format: int = FORMAT
    promotion: str
    session_id: str
    outcome: str
    """``applied``, ``already`` (it had been applied before: nothing was done) or ``refused``."""
    detail: str = ""
    """Why it was refused."""
    generation: int
    revision: int = 0
    """Of the session's totals, as they were written."""
    positions: dict[str, int] = {}
    """Up to where the inputs had been read."""
    offset: int
    """Of the manifest in live.promotions, or of the record that was refused."""


_decode: Final = msgspec.json.Decoder(AnyRecord).decode
_encode: Final = msgspec.json.Encoder(order="sorted").encode


def read(value: bytes) -> AnyRecord:
    """Raises ValueError for what is no record of a promotion, or one of a later version."""
    try:
        record: AnyRecord = _decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"no record of a promotion: {error}") from None
    if not 1 <= record.format <= FORMAT:
        raise ValueError(f"a record of format {record.format}; this version reads {FORMAT}")
    number_of(record.promotion)
    if isinstance(record, Manifest) and record.compared:
        number_of(record.compared)
    return record


def written(record: AnyRecord | Verdict) -> bytes:
    return _encode(record)


def number_of(promotion: str) -> int:
    """What a state keeps of an id; never 0. Raises ValueError for what is none."""
    if len(promotion) != ID_DIGITS or not set(promotion) <= set("0123456789abcdef") or not int(promotion, 16):
        raise ValueError(f"{promotion!r:.40} is no id of a promotion")
    return int(promotion, 16)


def id_of(number: int) -> str:
    """`number_of` back; empty for 0, none."""
    return f"{number:016x}" if number else ""


def promotion_id(replay: str, session_id: str, generation: int, compared: str, *, undo: bool = False) -> str:
    """16 hex digits. Whoever promotes the same again, compared with the same, gives it the same id."""
    text = "\n".join((replay, session_id, str(generation), compared, "undo" if undo else "promote"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


def digest(value: bytes) -> bytes:
    """Of one record."""
    return hashlib.sha256(value).digest()


def hash_of(digests: Iterable[bytes]) -> str:
    """Of all records before the manifest, from the digest of each."""
    return hashlib.sha256(b"".join(digests)).hexdigest()[:32]


def records_of(changes: Iterable[Change], manifest: Manifest) -> list[tuple[bytes, bytes]]:
    """Keys and values of all records of a promotion, in order. The manifest is given without their number and hash."""
    key = manifest.session_id.encode()
    values = [written(change) for change in changes]
    whole = msgspec.structs.replace(manifest, records=len(values), hash=hash_of(map(digest, values)))
    return [(key, value) for value in (*values, written(whole))]
