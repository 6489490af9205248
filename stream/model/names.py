"""Names that are an API: topics, outcomes, reasons. Declared here once; changed only by adding."""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The three inputs. The value is the last part of the topic's name."""

    VIEWS = "views"
    COMMENTS = "comments"
    CHECKOUTS = "checkouts"


KINDS: Final = (Kind.VIEWS, Kind.COMMENTS, Kind.CHECKOUTS)

INPUTS: Final = {kind: f"live.{kind}" for kind in KINDS}
SESSION_WINDOWS: Final = "live.session-windows"
SESSIONS: Final = "live.sessions"
ALERTS: Final = "live.alerts"
DEAD_LETTERS: Final = "live.dead-letters"
STATE: Final = "live.state"
PROMOTIONS: Final = "live.promotions"
PROMOTION_OUTCOMES: Final = "live.promotion-outcomes"
PROMOTED: Final = "promotions"
"""The name of that input. It has no events and no clock, and is none of the kinds."""
REDRIVES: Final = "live.redrives"
REPLAYS: Final = "live.replays"
OUTPUTS: Final = (SESSION_WINDOWS, SESSIONS, ALERTS, DEAD_LETTERS)


class Outcome(StrEnum):
    """What became of a record. Every record read ends in exactly one, and they add up to the records read."""

    COUNTED = "counted"
    TOTAL_ONLY = "total_only"
    """A checkout too late for its windows and for alerts: it is in the totals of its session."""
    DUPLICATE = "duplicate"
    NOT_AN_ORDER = "not_an_order"
    TOMBSTONE = "tombstone"
    LATE = "late"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why a record became a dead letter. All but ``late`` belong to the outcome ``rejected``."""

    INVALID_JSON = "invalid_json"
    NOT_UTF8 = "not_utf8"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_VALUE = "bad_value"
    UNKNOWN_ACTION = "unknown_action"
    UNKNOWN_STATUS = "unknown_status"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"
    FUTURE = "future"
    LATE = "late"
    PANE_GONE = "pane_gone"
    PRODUCER_TIME = "producer_time"
    """In a batch that its producer stamped (CreateTime), which is not trusted: see the setting trust_producer_time."""
    TOO_MANY_SESSIONS = "too_many_sessions"
    """Its topic knows too many sessions already, or has admitted too many in that pane, and does not know this one."""
    TOO_MANY_EVENTS = "too_many_events"
    """Its topic has counted so many events in that pane that no more ids are remembered."""
    SKIPPED = "skipped"
    """Not judged at all: an operator has named it, see `liveshop offsets skip`."""
    TOO_MANY_HEADERS = "too_many_headers"
    UNREADABLE = "unreadable"
    """Of a whole batch that cannot be unpacked or parsed though its checksum is right, and never will be."""


class Closed(StrEnum):
    """Why a window was written: the field ``reason`` of live.session-windows."""

    CLOSED = "closed"
    IDLE = "idle"
    CORRECTION = "correction"
    END_OF_INPUT = "end_of_input"
    REPLAY = "replay"
    """What a replay has counted was promoted."""


LIVE_RUN: Final = "live"
