"""A limit of the brokers that our settings do not keep is named with both values, and with what to do."""

import re
import shlex
from datetime import timedelta

import pytest

from stream.config import Settings, load
from stream.kafka.limits import LEAST_REQUEST, BrokerLimits, Problem, least_batch, problems, refused

SETTINGS = Settings(brokers="k:9092", session_timeout=timedelta(seconds=10), transaction_timeout=timedelta(seconds=10))
GENEROUS = {
    "group.min.session.timeout.ms": 6_000,
    "group.max.session.timeout.ms": 1_800_000,
    "transaction.max.timeout.ms": 900_000,
    "message.max.bytes": 1_048_588,
    "socket.request.max.bytes": 104_857_600,
}


def the_one(asked: BrokerLimits, settings: Settings = SETTINGS) -> Problem:
    (found,) = problems(settings, asked)
    return found


def test_kafkas_defaults_and_what_nobody_may_see_are_fine() -> None:
    assert list(problems(Settings(brokers="k:9092"), {1: GENEROUS, 2: {}})) == []
    assert list(problems(SETTINGS, {})) == []
    assert least_batch({1: {}, 2: {}}) is None


def test_exactly_the_limit_is_fine() -> None:
    exact = dict.fromkeys(("group.min.session.timeout.ms", "group.max.session.timeout.ms"), 10_000)
    assert list(problems(SETTINGS, {1: {**exact, "transaction.max.timeout.ms": 10_000}})) == []


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        (
            "group.max.session.timeout.ms",
            7_000,
            "--session-timeout is 10s, and group.max.session.timeout.ms of broker 2 is 7000: it takes at most 7s",
        ),
        (
            "group.min.session.timeout.ms",
            30_000,
            "--session-timeout is 10s, and group.min.session.timeout.ms of broker 2 is 30000: it takes at least 30s",
        ),
        (
            "transaction.max.timeout.ms",
            4_500,
            "--transaction-timeout is 10s, and transaction.max.timeout.ms of broker 2 is 4500: it takes at most 4500ms",
        ),
    ],
)
def test_the_strictest_broker_is_named_and_its_way_out_works(name: str, value: int, what: str) -> None:
    found = the_one({1: GENEROUS, 2: {**GENEROUS, name: value}})
    assert (found.name, found.what) == (name, what)
    assert f"set {name}=10000 in server.properties" in found.todo
    assert list(problems(told(found.todo), {1: GENEROUS, 2: {**GENEROUS, name: value}})) == []


@pytest.mark.parametrize("value", [1, 1_000, 3_000, 3_999])
def test_a_short_session_timeout_comes_with_heartbeats_that_go_with_it(value: int) -> None:
    limit = {1: {"group.max.session.timeout.ms": value}}
    if value > 1:  # of one millisecond there is no half
        assert list(problems(told(the_one(limit).todo), limit)) == []
    assert "--heartbeat-every" in the_one(limit).todo


def told(todo: str) -> Settings:
    """The settings that the text names, as a command would read them."""
    (words,) = re.findall(r"Start with (.*?), or", todo)
    flags = iter(shlex.split(words))
    given = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(flags, flags, strict=True)}
    return load({"brokers": "k:9092", **given}, None, {})


def test_a_request_must_fit_and_batches_go_by_the_least() -> None:
    found = the_one({1: GENEROUS, 2: {**GENEROUS, "socket.request.max.bytes": 1_000_000}})
    assert found.what.startswith("socket.request.max.bytes of broker 2 is 1000000")
    assert f"socket.request.max.bytes={LEAST_REQUEST}" in found.todo
    assert least_batch({1: GENEROUS, 2: {"message.max.bytes": 5}}) == 5


def test_a_refusal_names_setting_value_and_limits() -> None:
    session, transaction = (str(refused(SETTINGS, name)) for name in ("session_timeout", "transaction_timeout"))
    assert session.startswith(
        "the broker refuses --session-timeout 10s: it must be between group.min.session.timeout.ms and "
        "group.max.session.timeout.ms of the brokers"
    )
    assert transaction.startswith(
        "the broker refuses --transaction-timeout 10s: it must be at most transaction.max.timeout.ms of the brokers"
    )
    assert "`liveshop doctor --brokers k:9092`" in session
