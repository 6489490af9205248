"""A real Prometheus for tests: scrapes, evaluates, and is asked."""

import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from stream.children import Child, free_port
from tests.live import wait_for

SECONDS: Final = 120.0


class Prometheus:
    """At ``port``. What it is asked is answered, or the test fails."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **parameters: str) -> Any:
        """The field ``data`` of an answer of its API; None while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                return None  # it starts
            pytest.fail(f"{parameters}: {error.read().decode()}")
        except OSError:
            return None

    def query(self, query: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        data = self.get("query", query=query)
        return data["result"] if data else []

    def query_range(self, query: str, seconds: int = 300, step: int = 5) -> list[dict[str, Any]]:
        """The result over the last ``seconds``."""
        now = time.time()
        data = self.get("query_range", query=query, start=str(now - seconds), end=str(now), step=str(step))
        return data["result"] if data else []

    def exported(self, selector: str = '{job="liveshop"}') -> Mapping[str, list[dict[str, str]]]:
        """The labels of each series of workers, and of what is recorded of them, by name."""
        found: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        for labels in self.get("series", **{"match[]": selector}) or ():
            found[labels.pop("__name__")].append(labels)
        return found

    def rules(self) -> list[dict[str, Any]]:
        """All rules that it evaluates, with their health."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, targets: Sequence[str], rules: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """One that scrapes these workers each second. ``targets``: host and port. Without it: skip, in CI fail."""
    program = shutil.which("prometheus")
    if program is None:
        assert not os.environ.get("CI"), "prometheus is missing: apt-get install prometheus"
        pytest.skip("prometheus is missing (Debian package prometheus)")
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [{"job_name": "liveshop", "static_configs": [{"targets": list(targets)}]}],
    }
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    flags = {"config.file": file, "storage.tsdb.path": folder / "tsdb", "web.listen-address": f"127.0.0.1:{port}"}
    child = Child([program, *(f"--{name}={value}" for name, value in flags.items())], log=folder / "prometheus.log")
    asked = Prometheus(port)
    try:
        wait_for("Prometheus answers", lambda: asked.get("status/runtimeinfo"), SECONDS)
        yield asked
    finally:
        child.stop()
