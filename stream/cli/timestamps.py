"""Times as people give them on the command line, and as they read them: with the zone."""

from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from stream.durations import parse_duration
from stream.errors import UsageError

NOW: Final = "now"
FORMS: Final = "2026-03-01T19:30 (UTC), 2026-03-01T19:30+07:00, ms since 1970, 2h (ago) or now"
LATEST: Final = 2**42
"""The largest event time, ms."""
_zone: ContextVar[tzinfo | None] = ContextVar("zone", default=None)
"""Of the times that are printed. None: the machine's."""
_MILLISECOND: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, now_ms: int, flag: str) -> int:
    """Milliseconds since 1970, UTC. Raises UsageError that names the flag."""
    text = text.strip()
    if text == NOW:
        return now_ms
    if text.isascii() and text.isdigit() and len(text) > len("2026"):
        if len(text) > len(str(LATEST)) or int(text) > LATEST:
            raise UsageError(f"{flag}: no event can be so late: at most {LATEST} ms since 1970, in the year 2109")
        return int(text)
    try:
        return now_ms - parse_duration(text) // _MILLISECOND
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag}: {text[:100]!r} is no time: write {FORMS}") from None
    return _ms(moment)


def parse_event_time(text: str, now_ms: int, flag: str) -> int:
    """The same for what changes something: a time without an offset is refused, since UTC is a guess; ``-2h`` is 2 h ago."""
    text = text.strip()
    ago = text.removeprefix("-")
    if ago != text and ago[-1:].isalpha():
        return parse_moment(ago, now_ms, flag)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return parse_moment(text, now_ms, flag)
    if moment.tzinfo is None and not text.isdigit():
        written = moment.isoformat(timespec="auto" if moment.second or moment.microsecond else "minutes")
        raise UsageError(f"{flag}: {text!r} has no offset: write {written}+07:00 for Jakarta, or {written}Z for UTC")
    return parse_moment(text, now_ms, flag)


def _ms(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND


# -- times that are printed


def use_zone(name: str | None) -> None:
    """Times are printed in that zone from now on; None: the machine's. Raises UsageError for one that nobody knows."""
    try:
        _zone.set(None if name is None else ZoneInfo(name))
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise UsageError(f"--timezone: {name!r} is not the name of a zone: write one such as Asia/Jakarta") from None
    except KeyError:
        raise UsageError(f"--timezone: {name!r} is not known here: write one such as Asia/Jakarta or UTC") from None


def clock(seconds: float) -> str:
    """``13:04:10 WIB``, of seconds since 1970."""
    return _printed(seconds, "%H:%M:%S") or f"{seconds} s"


def in_zone(ms: int | None) -> str | None:
    """``2026-03-01 13:04:10 WIB``."""
    return None if ms is None else _printed(ms / 1000, "%Y-%m-%d %H:%M:%S") or f"{ms} ms"


def _printed(seconds: float, form: str) -> str | None:
    try:
        at = datetime.fromtimestamp(seconds, UTC).astimezone(_zone.get())
    except (ValueError, OverflowError, OSError):
        return None
    return f"{at.strftime(form)} {at.tzname()}"
