"""A session as the alerts know it: what it sees, whether it is on air, and what comes back after a restart."""

import pytest

from stream.core.alerts.history import History
from stream.core.alerts.rule_state import RuleState
from stream.core.alerts.session_state import SessionState, pack_session_state, unpack_session_state
from stream.core.counts import NEVER, Counts
from stream.core.figures import NAMES
from stream.core.formats import NEWEST, Format
from stream.model.alerts import Alert, Severity, Status

AFTER = 100
"""So long after the last view a broadcast has ended."""
FIRED = Alert(
    alert="a", session_id="s", seller_id="x", status=Status.FIRING, severity=Severity.PAGE, since=0, at=0, run="live",
    summary="", runbook="", values={}, id="0" * 16,
)  # fmt: skip


def seen(**figures: int | str) -> Counts:
    counts = Counts()
    for name, value in figures.items():
        setattr(counts, name, value)
    return counts


def standing(**times: int) -> SessionState:
    session = SessionState(b"s", History(0, 10))
    for name, value in times.items():
        setattr(session, name, value)
    return session


def test_labels_are_of_the_latest_event_and_a_slide_that_is_heard_of_again_may_have_others() -> None:
    session = standing()
    assert (session.seller, session.platform) == ("", "")
    assert session.see(seen(label_at=5, seller="b", platform="kiosk"))
    assert session.see(seen(label_at=5, seller="c", platform="kiosk"))
    assert not session.see(seen(label_at=4, seller="a", platform="other"))
    assert (session.label_at, session.seller, session.platform) == (5, "c", "kiosk")


@pytest.mark.parametrize("time", ["last_event", "aired_to", "host_start", "host_end"])
def test_each_of_its_times_is_the_latest_and_news_once(time: str) -> None:
    session = standing()
    assert session.see(seen(**{time: 7}))
    assert not session.see(seen(**{time: 7}))
    assert not session.see(seen(**{time: 6}))
    assert session.see(seen(**{time: 8}))
    assert getattr(session, time) == 8


@pytest.mark.parametrize(
    ("start", "end", "aired", "is_closed"),
    [
        (10, 20, 15, True),
        (20, 20, 15, False),  # a start and an end at a time: it has begun
        (21, 20, 15, False),
        (10, 20, 20 + AFTER, True),
        (10, 20, 21 + AFTER, False),
        (NEVER, NEVER, 15, False),
    ],
)
def test_its_host_closes_it_until_it_starts_again_or_is_viewed_much_later(
    start: int, end: int, aired: int, is_closed: bool
) -> None:
    session = standing(host_start=start, host_end=end, aired_to=aired)
    assert session.is_closed(AFTER) is is_closed
    assert session.is_on_air(30, AFTER) is not is_closed


def test_it_is_on_air_for_so_long_after_the_last_view_and_no_longer() -> None:
    session = standing(aired_to=50)
    assert [session.is_on_air(50 + AFTER + more, AFTER) for more in (-1, 0)] == [True, False]
    assert not session.is_off_air(50, AFTER), "nobody has ended it"


def test_an_end_keeps_views_off_the_air_that_come_so_long_after_it() -> None:
    session = standing(host_end=20, aired_to=15)
    assert [session.is_off_air(20 + 2 * AFTER + more, AFTER) for more in (-1, 0)] == [True, False]


def test_all_of_it_comes_back_after_a_restart() -> None:
    session = standing(last_event=9, aired_to=8, host_start=3, host_end=7, label_at=6)
    session.seller, session.platform = "x", "kiosk"
    session.history.note(10, (1, 2))
    session.rule_states = {
        "pending": RuleState(20),
        "firing": RuleState(30, FIRED),
        "calm": RuleState(40, FIRED, 50),
    }
    again = unpack_session_state(b"s", pack_session_state(session, NEWEST))
    for name in ("key", "session_id", "last_event", "aired_to", "host_start", "host_end", "label_at"):
        assert getattr(again, name) == getattr(session, name)
    assert (again.seller, again.platform) == ("x", "kiosk")
    assert again.history.stored() == session.history.stored()
    rules = [(name, each.since, each.fired, each.calm_since) for name, each in again.rule_states.items()]
    assert rules == [("pending", 20, None, None), ("firing", 30, FIRED, None), ("calm", 40, FIRED, 50)]


def test_a_version_that_did_not_tell_views_from_checkouts_says_when_the_last_event_was() -> None:
    session = standing(last_event=9, aired_to=8, host_start=3, host_end=7)
    earlier = Format(NEWEST.version, NAMES.index("aired_to"))
    again = unpack_session_state(b"s", pack_session_state(session, earlier))
    assert (again.last_event, again.aired_to, again.host_start, again.host_end) == (9, 9, NEVER, NEVER)
