"""A clock moved by hand: which shares of a topic's records are told, when, and with which cause."""

from collections import Counter
from collections.abc import Mapping

import pytest

from stream.model.names import KINDS, Kind, Outcome, Reason
from stream.model.results import Tally
from stream.observe.shares import ExceededShare, SharePolicy, ShareState
from tests.observe.views import judged

POLICY = SharePolicy(bad=0.5, warn=0.05, minimum=100)


def tally(
    kind: Kind = Kind.VIEWS, records: int = 100, reasons: Mapping[Reason, int] = {}, **more: int
) -> Tally:  # only read
    """So many records of a topic; ``more`` by outcome, ``not_on_time`` or ``misplaced``."""
    outcomes = {Outcome(name): number for name, number in more.items() if name in set(Outcome)}
    outcomes[Outcome.LATE] = reasons.get(Reason.LATE, 0)
    outcomes[Outcome.REJECTED] = sum(number for reason, number in reasons.items() if reason is not Reason.LATE)
    outcomes[Outcome.COUNTED] = records - sum(outcomes.values())
    return Tally(
        outcomes=Counter({(kind, outcome): number for outcome, number in outcomes.items()}),
        refused=Counter({(kind, reason): number for reason, number in reasons.items()}),
        not_on_time=Counter({kind: more.get("not_on_time", 0)}),
        misplaced=Counter({kind: more.get("misplaced", 0)}),
    )


def found(state: ShareState, now: float) -> list[tuple[str, str, bool]]:
    return [(told.topic, told.name, told.is_bad) for told in state.judge(now)]


def lasting(*tallies: Tally, seconds: int = 180, policy: SharePolicy = POLICY) -> list[ExceededShare]:
    state, told = ShareState(policy), []
    for second in range(seconds):
        for each in tallies:
            state.add(second, each)
        told = state.judge(second)
    return told


@pytest.mark.parametrize(
    ("each", "bad"),
    [
        (judged(10, rejected=5), False),  # at the limit, not above it
        (judged(10, rejected=6), True),
        (judged(1, rejected=1), False),  # 60 a minute are too few to judge by
        (judged(2, rejected=2), True),
        (judged(10, late=10), False),  # late is not broken
        (Tally(), False),
    ],
)
def test_what_is_a_bad_share(each: Tally, bad: bool) -> None:
    assert any(told.is_bad for told in lasting(each)) is bad


def test_a_broken_topic_is_seen_beside_a_busy_one() -> None:
    (told,) = lasting(judged(1000), judged(10, rejected=10, kind=Kind.CHECKOUTS))
    assert (told.topic, told.is_bad) == ("live.checkouts", True)


def test_one_burst_is_not_bad_but_told() -> None:
    state = ShareState(POLICY)
    state.add(0.0, judged(1000, rejected=1000))
    seen = [found(state, second / 10) for second in range(2000)]
    assert not any(bad for each in seen for _, _, bad in each)
    assert seen[0] == [("live.views", "missing_field", False)]
    assert seen[1300] == []


def test_it_is_over_as_soon_as_the_share_of_the_minute_has_fallen() -> None:
    state = ShareState(SharePolicy(bad=0.5, warn=1.0))
    for second in range(120):
        state.add(second, judged(10, rejected=6))
        state.judge(second)
    for second in range(120, 129):
        state.add(second, judged(10))
        assert found(state, second) == [("live.views", "rejected", True)]  # 306 of 600 at last
    state.add(129, judged(10))
    assert found(state, 129) == []  # 300 of 600: not above the half


def test_a_share_of_one_is_never_exceeded() -> None:
    assert lasting(judged(100, rejected=100), policy=SharePolicy(1.0, 1.0, 1)) == []


def test_the_top_reasons_are_named_the_most_frequent_first_with_its_cause() -> None:
    reasons = {Reason.BAD_VALUE: 20, Reason.FUTURE: 30, Reason.NOT_UTF8: 1, Reason.MISSING_FIELD: 10, Reason.LATE: 39}
    told = lasting(tally(reasons=reasons))
    text = "live.views: 3660 of the last minute's 6000 records were rejected"
    assert told[0].text.startswith(
        f"{text} (future 1800, bad_value 1200, missing_field 600): a producer's clock is fast"
    )


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.SKIPPED}))
def test_every_reason_is_told_with_its_cause(reason: Reason) -> None:
    for kind in KINDS:
        (told,) = lasting(tally(kind, reasons={reason: 6}))
        assert (told.topic, told.name, told.is_bad) == (f"live.{kind}", reason, False)
        assert told.text.startswith(f"live.{kind}: of the last minute 360 of 6000 records ")
        assert told.text.count(": ") >= 2
        assert "; " in told.text


@pytest.mark.parametrize("name", ["not_on_time", "duplicate", "tombstone"])
def test_what_is_not_refused_is_told_too(name: str) -> None:
    (told,) = lasting(tally(Kind.COMMENTS, 100, {}, **{name: 6}))
    assert (told.topic, told.name) == ("live.comments", name)
    assert lasting(tally(Kind.COMMENTS, 100, {}, **{name: 5})) == []


def test_what_an_operator_skipped_is_nothing_to_tell_of() -> None:
    assert [told.name for told in lasting(tally(reasons={Reason.SKIPPED: 40}))] == []


def test_it_is_told_at_once_until_it_has_been_below_for_a_minute() -> None:
    state = ShareState(POLICY)
    state.add(0, tally(records=1800, reasons={Reason.PANE_GONE: 1508}))
    assert found(state, 0) == [("live.views", "pane_gone", False)]
    assert found(state, 59.5) == [("live.views", "pane_gone", False)]
    state.add(61, tally(records=1800))
    assert found(state, 61) == [("live.views", "pane_gone", False)]
    assert found(state, 120) == []


def test_around_the_limit_it_is_told_once() -> None:
    """A share that goes above and below within a minute fills no log."""
    state, changes, before = ShareState(POLICY), 0, False
    for second in range(600):
        state.add(second, tally(records=10, duplicate=second % 100 < 50))
        now = bool(state.judge(second))
        changes += now is not before
        before = now
    assert changes == 1


def test_too_few_records_tell_nothing() -> None:
    state = ShareState(POLICY)
    state.add(0, tally(records=99, reasons={Reason.LATE: 99}))
    assert state.judge(0) == []


def test_one_misplaced_key_is_told_for_good() -> None:
    state = ShareState(POLICY)
    state.add(0, tally(records=3, misplaced=1))
    for now in (0, 100, 10_000):
        (told,) = state.judge(now)
        assert told.text.startswith("live.views: of the last minute 1 of 3 records began sessions on another partition")


def test_topics_are_called_as_on_the_broker() -> None:
    state = ShareState(POLICY, lambda name: f"shop.{name}")
    state.add(0, judged(1000, late=1000))
    assert found(state, 0) == [("shop.live.views", "late", False)]


def test_a_refused_batch_weighs_as_much_as_its_records() -> None:
    each = judged(1000, rejected=900)
    each.refused.clear()
    each.refused[Kind.VIEWS, Reason.UNREADABLE], each.batched[Kind.VIEWS, Reason.UNREADABLE] = 1, 899
    (told,) = lasting(each)
    assert told.is_bad
    assert "unreadable" in told.text
    each.outcomes[Kind.VIEWS, Outcome.COUNTED] += 8000
    (told,) = lasting(each)
    assert (told.name, told.is_bad) == ("unreadable", False)
