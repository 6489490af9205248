"""What a worker demands of its topics' settings is told in one message, with the way out."""

import pytest

from stream.config import Settings
from stream.core.deadletters import LEAST_LETTER
from stream.errors import UsageError
from stream.kafka.topic_requirements import MIN_BATCH_BYTES, batch_too_small, check_configs
from stream.sessions.role import SPECS, WORKER

SETTINGS = Settings(brokers="k:9092", topic_prefix="p.")
BROKERS = {"max.message.bytes": "1048588"}
AS_MADE = {spec.name: {**BROKERS, **spec.configs} for spec in SPECS}


def test_topics_as_they_are_made_and_topics_that_nobody_may_see_are_fine() -> None:
    check_configs(WORKER, SETTINGS, AS_MADE)
    check_configs(WORKER, SETTINGS, {})
    check_configs(WORKER, SETTINGS, {name: {} for name in AS_MADE})


def test_every_topic_that_is_too_small_or_stamped_by_producers_is_named() -> None:
    wrong = {
        "live.comments": {"message.timestamp.type": "CreateTime"},
        "live.dead-letters": {"max.message.bytes": str(LEAST_LETTER - 1)},
        "live.state": {"max.message.bytes": str(MIN_BATCH_BYTES - 1)},
    }
    with pytest.raises(UsageError) as raised:
        check_configs(WORKER, SETTINGS, {**AS_MADE, **wrong})
    by_producers, *small = str(raised.value).splitlines()
    assert by_producers.startswith("p.live.comments has message.timestamp.type=CreateTime")
    assert "--entity-name p.live.comments --add-config message.timestamp.type=LogAppendTime" in by_producers
    assert [line.split(":")[0] for line in sorted(small)] == [
        f"p.live.dead-letters has max.message.bytes={LEAST_LETTER - 1}",
        f"p.live.state has max.message.bytes={MIN_BATCH_BYTES - 1}",
    ]
    assert all("kafka-configs.sh --bootstrap-server k:9092 --alter" in line for line in small)


def test_smaller_letters_and_larger_results_are_fine() -> None:
    changed = {"live.dead-letters": BROKERS, "live.sessions": {"max.message.bytes": str(2**30)}}
    check_configs(WORKER, SETTINGS, {**AS_MADE, **changed})


def test_who_trusts_producers_may_let_them_stamp() -> None:
    trusting = SETTINGS.model_copy(update={"trust_producer_time": True})
    check_configs(WORKER, trusting, {**AS_MADE, "live.views": {"message.timestamp.type": "CreateTime"}})


def test_a_topic_that_has_the_brokers_limit_is_told_so() -> None:
    inherited = {**AS_MADE, "live.sessions": {"max.message.bytes": "200000"}}
    with pytest.raises(UsageError) as raised:
        check_configs(WORKER, SETTINGS, inherited, {1: {"message.max.bytes": 200_000}})
    told = str(raised.value)
    assert told.startswith(
        "p.live.sessions has max.message.bytes=200000 (message.max.bytes of the brokers): it must take"
    )
    assert "--entity-name p.live.sessions --add-config max.message.bytes=1000000" in told


def test_limits_of_the_brokers_are_told_in_the_same_message() -> None:
    with pytest.raises(UsageError) as raised:
        check_configs(
            WORKER,
            SETTINGS,
            {**AS_MADE, "live.sessions": {"max.message.bytes": "1"}},
            {1: {"transaction.max.timeout.ms": 1}},
        )
    assert len(str(raised.value).splitlines()) == 2


def test_where_the_limit_may_not_be_seen_both_names_are_told_and_the_command() -> None:
    told = batch_too_small(WORKER, SETTINGS, "live.state", None, 1_200_000)
    assert told.startswith("p.live.state does not take a batch of the worker (its max.message.bytes may not be seen)")
    assert "whatever message.max.bytes the brokers have" in told
    assert told.endswith("--entity-name p.live.state --add-config max.message.bytes=1200000")
