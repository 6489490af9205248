"""Fixtures for all tests: one embedded Kafka a session, and names that no other test uses."""

import functools
import os
import signal
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from stream.errors import FailedError, UsageError
from stream.sandbox import jars
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.java import java
from tests.observe.views import logging_restored

# a time is never asserted: the machine may be busy
settings.register_profile("liveshop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(  # make mutants: the same few examples for each mistake, and none is made smaller
    "mutants",
    settings.get_profile("liveshop"),
    max_examples=20,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile("liveshop")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no program under test would hear of Ctrl-C


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have to tell, besides that they passed."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, value in report.user_properties:
            if name == "told":
                terminalreporter.write_line(str(value))


@functools.cache
def _why_no_broker() -> str:
    """Why no embedded Kafka can run here; nothing when one can. In CI that is an error."""
    try:
        java()
        jars.fetch(print)
    except (UsageError, FailedError) as error:
        if os.environ.get("CI"):
            raise
        return str(error)
    return ""


def need_broker() -> None:
    """Skip, with the reason, where no embedded Kafka can run."""
    if why := _why_no_broker():
        pytest.skip(why)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture starts a broker of its own."""
    if item.get_closest_marker("kafka"):
        need_broker()


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A running broker, shared by the whole session; leave it running."""
    need_broker()
    with EmbeddedKafka(print) as broker:
        yield broker


@pytest.fixture
def prefix() -> str:
    """A topic prefix (and group name) of this test alone."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """A command that a test runs in this process sets up logging for the process: not for the tests that follow."""
    with logging_restored():
        yield


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's LIVESHOP_BROKERS must not reach the tests."""
    for name in [name for name in os.environ if name.startswith("LIVESHOP_")]:
        monkeypatch.delenv(name)
