"""A real Prometheus scrapes the worker's page, and its answers to queries are the worker's numbers."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.children import free_port
from stream.config import Settings
from stream.observe.health import Health
from stream.observe.http import HttpServer
from stream.observe.metrics import Metrics
from stream.observe.shares import SharePolicy
from tests.observe.views import session, tally, view

DEADLINE = 60.0
CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: liveshop
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

Query = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics(Settings())
    metrics.assigned(frozenset({0}))
    metrics.shard(0, view(session("7301", 50), session('we"ird\\', 40), rest=session("", 2)))
    metrics.committed(0, tally(), 0.012)
    return metrics


@pytest.fixture
def server(metrics: Metrics) -> Iterator[HttpServer]:
    with HttpServer("127.0.0.1", 0, metrics.registry, Health(SharePolicy())) as server:
        yield server


@pytest.fixture
def query(server: HttpServer, tmp_path: Path) -> Iterator[Query]:
    found = shutil.which("prometheus")
    if found is None:
        assert not os.environ.get("CI"), "prometheus is missing: apt-get install prometheus"
        pytest.skip("prometheus is missing (Debian package prometheus)")
    (tmp_path / "prometheus.yml").write_text(CONFIG.format(port=server.port))
    port = free_port()
    arguments = {
        "config.file": tmp_path / "prometheus.yml",
        "storage.tsdb.path": tmp_path / "data",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([found, *(f"--{k}={v}" for k, v in arguments.items())], stdout=log, stderr=log)
    try:
        yield lambda text: ask(port, text)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(port: int, text: str) -> list[dict[str, Any]]:
    """The result of an instant query; empty while Prometheus does not answer yet."""
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": text})
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return result
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return []


def until(query: Query, text: str, wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Asks until the result is as wanted; fails with the last one."""
    end = time.monotonic() + DEADLINE
    result: list[dict[str, Any]] = []
    while time.monotonic() < end:
        result = query(text)
        if wanted(result):
            return result
        time.sleep(0.2)
    return pytest.fail(f"waited {DEADLINE} s for {text}, at last {result}")


def number(result: list[dict[str, Any]]) -> float | None:
    return float(result[0]["value"][1]) if result else None


def test_prometheus_has_the_workers_numbers(query: Query, metrics: Metrics) -> None:
    until(query, "liveshop_views_total", lambda result: number(result) == 40)
    for text, value in {
        "up": 1,
        'sum(liveshop_events_total{type="views"})': 100,
        'liveshop_session_events_recent{session_id="we\\"ird\\\\"}': 40,
        "histogram_quantile(0.5, liveshop_checkpoint_duration_seconds_bucket)": 0.0175,
    }.items():
        until(query, text, lambda result, value=value: number(result) == value)  # type: ignore[misc]
    metrics.committed(0, tally(), 0.012)
    until(query, "liveshop_views_total", lambda result: number(result) == 80)
    metrics.assigned(frozenset())  # the series goes stale at once, not after five minutes
    until(query, 'liveshop_session_views{session_id="7301"}', lambda result: not result)
    until(query, 'liveshop_session_views{session_id="_other"}', lambda result: number(result) == 0)
