from stream.kafka.broker_availability import AWAY_AFTER, TELL_EVERY, BrokerAvailability, Change


def test_brokers_are_away_after_some_seconds_of_silence_and_that_is_told_again_every_ten() -> None:
    availability = BrokerAvailability(last_answer=100.0)
    told = {now: news for now in range(100, 160) if (news := availability.update(float(now), 0, "refused")) is not None}
    away_at = 100 + int(AWAY_AFTER)
    assert told.pop(away_at) is Change.AWAY
    assert set(told.values()) == {Change.STILL_AWAY}
    assert sorted(told) == list(range(away_at + int(TELL_EVERY), 160, int(TELL_EVERY)))
    assert availability.why == "refused"


def test_a_short_silence_is_no_news() -> None:
    availability = BrokerAvailability(last_answer=0.0)
    assert [availability.update(now, connected) for now, connected in ((1, 0), (3, 0), (3.9, 0), (4.5, 1), (8, 0))] == [
        None
    ] * 5
    assert not availability.away


def test_they_are_back_once() -> None:
    availability = BrokerAvailability(last_answer=0.0)
    assert availability.update(10.0, 0) is Change.AWAY
    assert availability.away
    assert availability.update(11.0, 2) is Change.BACK
    assert availability.update(12.0, 3) is None
    assert not availability.away


def test_a_reason_that_nobody_could_tell_keeps_the_last_one() -> None:
    availability = BrokerAvailability(last_answer=0.0)
    availability.update(1.0, 0, "k:1 is an unknown host")
    availability.update(9.0, 0, "")
    assert availability.why == "k:1 is an unknown host"
