from stream.kafka.outage import AWAY_AFTER, TELL_EVERY, News, Outage


def test_brokers_are_away_after_some_seconds_of_silence_and_that_is_told_again_every_ten() -> None:
    outage = Outage(answered=100.0)
    told = {now: news for now in range(100, 160) if (news := outage.heard(float(now), 0, "refused")) is not None}
    away_at = 100 + int(AWAY_AFTER)
    assert told.pop(away_at) is News.AWAY
    assert set(told.values()) == {News.STILL_AWAY}
    assert sorted(told) == list(range(away_at + int(TELL_EVERY), 160, int(TELL_EVERY)))
    assert outage.why == "refused"


def test_a_short_silence_is_no_news() -> None:
    outage = Outage(answered=0.0)
    assert [outage.heard(now, connected) for now, connected in ((1, 0), (3, 0), (3.9, 0), (4.5, 1), (8, 0))] == [
        None
    ] * 5
    assert not outage.away


def test_they_are_back_once() -> None:
    outage = Outage(answered=0.0)
    assert outage.heard(10.0, 0) is News.AWAY
    assert outage.away
    assert outage.heard(11.0, 2) is News.BACK
    assert outage.heard(12.0, 3) is None
    assert not outage.away


def test_a_reason_that_nobody_could_tell_keeps_the_last_one() -> None:
    outage = Outage(answered=0.0)
    outage.heard(1.0, 0, "k:1 is an unknown host")
    outage.heard(9.0, 0, "")
    assert outage.why == "k:1 is an unknown host"
