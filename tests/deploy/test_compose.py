"""deploy/compose.yaml: what it names runs as it says, and is healthy, read-only and nobody's root.

No container engine runs where the tests run. So the images are not built here, and Grafana does not run. Everything else
runs with the commands, environments, users, volumes and health checks of compose.yaml, see tests/deploy/containers.py.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

import stream
from stream.sandbox import jars
from tests.deploy import kafka_image
from tests.deploy.compose import DOCKERFILE, FILE, NOT_HERE, PROGRAMS, Service, services
from tests.deploy.containers import Container, Network, need_namespaces
from tests.live import wait_for

SECONDS = 120.0
SERVICES = services()
RULES = FILE.parent / "prometheus" / "rules.yaml"


@pytest.mark.parametrize("service", SERVICES, ids=lambda each: each.name)
def test_each_service_is_pinned_and_says_how_it_is(service: Service) -> None:
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", service.tag), "an exact version, no moving tag"
    assert service.look or service.content["restart"] == "no", "what ends needs no health check"
    assert service.image in PROGRAMS.keys() | NOT_HERE.keys()
    assert all(port.startswith("127.0.0.1:") for port in service.content.get("ports", ())), "for this machine only"


def test_the_broker_is_the_one_that_all_tests_run_on() -> None:
    (kafka,) = (service for service in SERVICES if service.image == "apache/kafka")
    assert kafka.tag == jars.KAFKA


@pytest.mark.parametrize("service", [each for each in SERVICES if each.image == "liveshop"], ids=lambda each: each.name)
def test_liveshop_may_nothing_that_it_does_not_need(service: Service) -> None:
    assert service.tag == stream.__version__
    content = service.content
    assert content["read_only"]
    assert "tmpfs" not in content
    assert "volumes" not in content
    assert content["cap_drop"] == ["ALL"]
    assert content["security_opt"] == ["no-new-privileges:true"]
    assert content["user"] == "10001:10001"


def test_traffic_is_simulated_unless_somebody_says_otherwise() -> None:
    """`docker compose up` alone is to show something: .env names the profile."""
    assert {each.name for each in SERVICES if "profiles" in each.content} == {"simulator"}
    assert "COMPOSE_PROFILES=demo" in (FILE.parent / ".env").read_text().splitlines()


def test_what_grafana_is_given_is_there() -> None:
    (grafana,) = (service for service in SERVICES if service.name == "grafana")
    inside, _ = grafana.mounts(Path("unused"))
    provisioning = inside["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "liveshop.yaml").read_text())["providers"]
    assert provider["options"]["path"] in inside
    sources = yaml.safe_load((provisioning / "datasources" / "liveshop.yaml").read_text())["datasources"]
    for source in sources:
        host, port = source["url"].removeprefix("http://").split(":")
        (service,) = (each for each in SERVICES if each.name == host)
        assert any(line.endswith(f":{port}") for line in service.content["ports"])


# --- everything runs -------------------------------------------------------------------------------------------------


class Demo:
    """What runs, by name. ``start`` starts a service; what ran under its name has ended."""

    def __init__(self, folder: Path, network: Network, stack: ExitStack) -> None:
        self.containers: dict[str, Container] = {}
        self._folder = folder
        self._network = network
        self._stack = stack

    def start(self, service: Service) -> None:
        for name, condition in service.waits_for.items():
            await_condition(self, name, condition)
        files = kafka_image.programs(service.content["environment"]) if service.name == "kafka" else {}
        container = Container(service.name, service.spec(self._folder, files), self._network)
        self.containers[service.name] = self._stack.enter_context(container)

    def page(self, url: str) -> Any:
        """Asked from where the worker is."""
        get = f"import urllib.request as web; print(web.urlopen({url!r}, timeout=60).read().decode())"
        done = self.containers["worker"].run(["python", "-c", get])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def query(self, promql: str) -> list[Any]:
        data = self.page("http://prometheus:9090/api/v1/query?" + urlencode({"query": promql}))["data"]
        return list(data["result"])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Everything that can run here, started in order, each as soon as what it waits for is as it should be."""
    need_namespaces()
    for program in ("prometheus", "prometheus-alertmanager"):
        need(program)
    folder = tmp_path_factory.mktemp("compose")
    with ExitStack() as stack:
        network = stack.enter_context(Network([service.name for service in SERVICES], folder))
        stage = Demo(folder, network, stack)
        for service in SERVICES:
            if service.image not in NOT_HERE:
                stage.start(service)
        yield stage


def need(program: str) -> None:
    if shutil.which(program) is None:
        assert not os.environ.get("CI"), f"{program} is missing; .ci/run installs it"
        pytest.skip(f"{program} is missing (Debian: prometheus, prometheus-alertmanager)")


def await_condition(stage: Demo, name: str, condition: str) -> None:
    container = stage.containers[name]
    look: Callable[[], bool]
    if condition == "service_healthy":
        look = lambda: healthy(stage, name)  # noqa: E731
    else:
        assert condition == "service_completed_successfully"
        look = lambda: ended(container)  # noqa: E731
    try:
        wait_for(f"{name}: {condition}", look, SECONDS, every=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{container.tail()}") from None


def healthy(stage: Demo, name: str) -> bool:
    (command,) = (service.look for service in SERVICES if service.name == name)
    assert command is not None
    return stage.containers[name].run(command).returncode == 0


def ended(container: Container) -> bool:
    assert container.code in {None, 0}, f"it ended with {container.code}"
    return container.code == 0


@pytest.mark.kafka
def test_everything_that_compose_names_becomes_healthy(stage: Demo) -> None:
    for name in stage.containers:
        await_condition(stage, name, "service_completed_successfully" if name == "topics" else "service_healthy")


@pytest.mark.kafka
def test_the_health_check_of_the_image_passes_too(stage: Demo) -> None:
    """compose.yaml has one of its own for the worker; other engines use this one."""
    command = json.loads(re.findall(r"^HEALTHCHECK .*\n? +CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)[0])
    await_condition(stage, "worker", "service_healthy")
    done = stage.containers["worker"].run(command)
    assert done.returncode == 0, done.stderr


@pytest.mark.kafka
def test_simulated_traffic_reaches_prometheus(stage: Demo) -> None:
    """Broker, topics, simulator, worker and Prometheus work together, and Prometheus knows whom to tell."""
    await_condition(stage, "prometheus", "service_healthy")
    await_condition(stage, "alertmanager", "service_healthy")
    counted = 'sum(liveshop_events_total{outcome="counted"}) > 0'
    wait_for("counted events in Prometheus", lambda: stage.query(counted), SECONDS, every=0.5)
    wait_for("all are scraped", lambda: len(stage.query("up == 1")) == 3, SECONDS, every=0.5)
    groups = {each["name"] for each in stage.page("http://prometheus:9090/api/v1/rules")["data"]["groups"]}
    assert groups == {each["name"] for each in yaml.safe_load(RULES.read_text())["groups"]}

    def told() -> list[str]:
        managers = stage.page("http://prometheus:9090/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        return [each["url"] for each in managers]

    wait_for("it knows whom to tell", told, SECONDS, every=0.5)
    assert told() == ["http://alertmanager:9093/api/v2/alerts"]


WRITABLE = """
import os
mounts = [line.split()[1] for line in open("/proc/self/mounts")]
folders = [mount for mount in mounts if os.path.isdir(mount) and mount != "/proc"]
print(len(folders), [each for each in folders if not os.statvfs(each).f_flag & os.ST_RDONLY])
"""
"""Mounted folders, and which of them are not read-only. In /proc nobody can make a file."""


@pytest.mark.kafka
def test_the_worker_can_write_nowhere(stage: Demo) -> None:
    worker = stage.containers["worker"]
    done = worker.run(["python", "-c", WRITABLE])
    number, writable = done.stdout.split(maxsplit=1)
    assert int(number) >= 3, "the root, /dev and the virtual environment"
    assert writable.strip() == "[]"
    assert worker.run(["touch", "/tmp/x"]).returncode, "nor in /tmp"
    status = worker.run(["cat", "/proc/1/status"]).stdout
    assert re.search(r"^Uid:(\s+10001){4}$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)


@pytest.mark.kafka
def test_a_worker_that_is_stopped_makes_its_last_checkpoint_in_time(stage: Demo) -> None:
    (service,) = (each for each in SERVICES if each.name == "worker")
    await_condition(stage, "worker", "service_healthy")
    code = stage.containers["worker"].stop(service.seconds("stop_grace_period"))
    assert code == 0, stage.containers["worker"].tail()
    stage.start(service)
    await_condition(stage, "worker", "service_healthy")
