"""Several workers' pages behind one, over real HTTP: who answers is shown, who does not is named."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from stream.config import Settings
from stream.observe import catalog, fleet
from stream.observe.fleet import Fleet
from stream.observe.health import Health
from stream.observe.http import HttpServer
from stream.observe.metrics import Metrics
from stream.observe.shares import SharePolicy
from tests.live import fetch_page
from tests.observe.views import session, tally, view
from tests.support import PATIENCE


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Process(NamedTuple):
    metrics: Metrics
    health: Health
    server: HttpServer


class Demo:
    """Two workers, and the page for both."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.clock = Clock()
        self.processes = [self.process(number) for number in range(2)]
        self.fleet = Fleet([each.server.url for each in self.processes], 5, clock=self.clock)
        registry = CollectorRegistry()
        registry.register(self.fleet)
        self.server = stack.enter_context(HttpServer("127.0.0.1", 0, registry, self.fleet, every=0.0))
        for number in range(2):
            self.fleet.began(number)

    def process(self, number: int, port: int = 0) -> Process:
        health = Health(SharePolicy(), clock=self.clock)
        metrics = Metrics(Settings(), unready=health.reasons)
        metrics.rules([("stalled", "info")])
        metrics.assigned(frozenset({number}))
        metrics.shard(number, view(session(f"s{number}", 5), rest=None))
        metrics.committed(number, tally(), 0.01)
        health.assigned(frozenset())
        server = self.stack.enter_context(HttpServer("127.0.0.1", port, metrics.registry, health, every=0.0))
        return Process(metrics, health, server)

    def get(self, path: str) -> tuple[int, str]:
        return fetch_page(self.server.url + path)

    def metrics(self) -> dict[str, float]:
        """Series without labels, and those of a process by its number."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return {sample.name + sample.labels.get("process", ""): sample.value for sample in samples}


@pytest.fixture
def stage() -> Iterator[Demo]:
    with ExitStack() as stack:
        yield Demo(stack)


def test_the_metrics_of_all_and_how_many_they_are(stage: Demo) -> None:
    seen = stage.metrics()
    assert seen["liveshop_views_total"] == 80
    assert seen["liveshop_sessions_held"] == 10
    assert (seen["liveshop_processes"], seen["liveshop_processes_up"]) == (2, 2)
    assert seen["liveshop_process_restarts_total0"] == 0
    assert seen["liveshop_ready"] == 1


def test_all_are_ready_or_none_is(stage: Demo) -> None:
    stage.processes[0].health.unready("topics", "missing topics: live.views")
    assert stage.metrics()["liveshop_ready"] == 0
    stage.processes[0].health.clear("topics")
    assert stage.metrics()["liveshop_ready"] == 1
    stage.processes[1].server.close()
    assert stage.metrics()["liveshop_ready"] == 0, "one is away"


def test_one_that_does_not_answer_costs_its_gauges_and_no_count(stage: Demo) -> None:
    stage.metrics()
    stage.processes[1].server.close()
    seen = stage.metrics()
    assert seen["liveshop_views_total"] == 80
    assert seen["liveshop_sessions_held"] == 5
    assert (seen["liveshop_processes"], seen["liveshop_processes_up"]) == (2, 1)


def test_one_that_stands_still_holds_the_page_up_for_no_longer_than_the_limit(
    stage: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "ANSWER_SECONDS", 2.0)
    port = stage.processes[1].server.port
    stage.processes[1].server.close()
    with socket.create_server(("127.0.0.1", port)):  # takes connections and says nothing
        assert stage.metrics()["liveshop_processes_up"] == 1
        assert stage.get("/readyz") == (503, "process 1: does not answer\n")


def test_one_that_was_started_again_adds_to_what_it_had_counted(stage: Demo) -> None:
    stage.metrics()
    port = stage.processes[1].server.port
    stage.processes[1].server.close()
    stage.fleet.ended(1, "has ended (killed by signal 9) and is started again")
    assert stage.metrics()["liveshop_views_total"] == 80
    stage.process(1, port)
    stage.fleet.began(1)
    seen = stage.metrics()
    assert seen["liveshop_views_total"] == 120
    assert (seen["liveshop_processes_up"], seen["liveshop_process_restarts_total1"]) == (2, 1)


def test_counts_are_noted_though_nobody_asks(stage: Demo) -> None:
    stage.clock.now = 5.0
    stage.fleet.look(5.0)
    stage.processes[1].server.close()
    stage.fleet.ended(1, "has ended")
    assert stage.metrics()["liveshop_views_total"] == 80


def test_nothing_is_asked_twice_in_the_time_between_two_looks(stage: Demo) -> None:
    stage.clock.now = 4.9
    stage.fleet.look(5.0)
    stage.processes[1].server.close()
    assert stage.metrics()["liveshop_views_total"] == 40, "the fleet has not looked before"


def test_no_page_at_all_is_no_error(stage: Demo) -> None:
    for process in stage.processes:
        process.server.close()
    seen = stage.metrics()
    assert (seen["liveshop_processes"], seen["liveshop_processes_up"]) == (2, 0)


def test_ready_when_all_are_and_else_it_says_who_is_not(stage: Demo) -> None:
    assert stage.get("/readyz") == (200, "ready\n")
    stage.processes[1].health.assigned(frozenset({3}))
    stage.processes[0].health.committed(tally())
    stage.processes[0].health.beat()
    status, text = stage.get("/readyz")
    assert status == 503
    first, second, *_ = text.splitlines()
    assert first == "process 1: partition 3: its state is being restored"
    assert second.startswith("note: process 0: live.views: of the last minute 10 of 100 records lack a field: ")
    stage.fleet.ended(1, "has ended (exit code 1) and is started again")
    assert stage.get("/readyz")[1].splitlines()[0] == "process 1 has ended (exit code 1) and is started again"


def test_it_lives_while_all_move_and_one_that_ended_is_no_reason_to_start_all_anew(stage: Demo) -> None:
    assert stage.get("/healthz") == (200, "ok\n")
    stage.processes[1].server.close()
    stage.fleet.ended(1, "has ended")
    assert stage.get("/healthz") == (200, "ok\n")


def test_a_process_whose_loop_stands_still_is_named(stage: Demo) -> None:
    stage.clock.now = 31.0
    stage.fleet.beat()
    stage.processes[0].health.beat()
    assert stage.get("/healthz") == (503, "process 1: the event loop has not moved for 31 s\n")


def test_a_process_that_does_not_answer_for_long_is_named(stage: Demo) -> None:
    stage.processes[1].server.close()
    assert stage.get("/healthz") == (200, "ok\n"), "it may be busy"
    stage.clock.now = 31.0
    stage.fleet.beat()
    stage.processes[0].health.beat()
    assert stage.get("/healthz") == (503, "process 1: has not answered for 31 s\n")


def test_a_supervisor_that_stands_still_is_dead(stage: Demo) -> None:
    stage.clock.now = 31.0
    assert stage.get("/healthz") == (503, "the supervisor has not moved for 31 s\n")


def test_every_metric_of_the_supervisor_is_declared_and_served(stage: Demo) -> None:
    own = {family.name for family in Fleet([], 5).collect()}
    assert own == {metric.name.removesuffix("_total") for metric in (*catalog.SUPERVISOR, catalog.READY)}
    served = {family.name for family in text_string_to_metric_families(stage.get("/metrics")[1])}
    assert served >= own | {metric.name.removesuffix("_total") for metric in catalog.CATALOG}


def test_promtool_finds_nothing(stage: Demo) -> None:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing (Debian package prometheus)")
    text = stage.get("/metrics")[1].encode()
    done = subprocess.run([found, "check", "metrics"], input=text, capture_output=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
