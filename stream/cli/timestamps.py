"""Times as people give them on the command line."""

from datetime import UTC, datetime, timedelta
from typing import Final

from stream.durations import parse_duration
from stream.errors import UsageError

NOW: Final = "now"
FORMS: Final = "2026-03-01T19:30 (UTC), 2026-03-01T19:30+07:00, ms since 1970, 2h (ago) or now"
LATEST: Final = 2**42
"""The largest event time, ms."""
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


def _ms(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND
