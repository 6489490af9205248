"""The whole line for dashboards: Kafka, two workers, simulated traffic with an outage, a Prometheus with the rules."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from deploy.grafana.queries import Prometheus
from deploy.prometheus.generate import RULES
from stream.children import Child, free_port, liveshop
from tests.deploy.prometheus import prometheus
from tests.live import Worker, create_topics, path
from tests.support import eventually

PARTITIONS: Final = 4


class Line:
    """Everything is started by name and ends with it. ``folder`` holds logs and Prometheus's data."""

    def __init__(self, brokers: str, prefix: str, folder: Path, stack: ExitStack) -> None:
        self._brokers = brokers
        self._prefix = prefix
        self._folder = folder
        self._stack = stack
        self._ports = [free_port(), free_port()]
        self.prometheus = Prometheus("")
        create_topics(brokers, prefix, PARTITIONS)

    def scrape(self) -> None:
        """Starts the Prometheus. It knows both workers from the beginning."""
        targets = [self.instance(number) for number in range(len(self._ports))]
        asked = self._stack.enter_context(prometheus(self._folder, targets, [RULES]))
        self.prometheus = Prometheus(f"http://127.0.0.1:{asked.port}")

    def instance(self, number: int) -> str:
        """As Prometheus calls a worker."""
        return f"127.0.0.1:{self._ports[number]}"

    def worker(self, number: int) -> Worker:
        """Number 0 or 1, at the port that is scraped for it."""
        worker = Worker(
            self._brokers,
            self._prefix,
            self._folder / f"worker-{number}.log",
            http_port=str(self._ports[number]),
            session_timeout="6s",
        )
        self._stack.enter_context(worker)
        return worker

    def traffic(self, *arguments: str) -> Child:
        """``liveshop simulate``, with what else it is told."""
        to = ("--brokers", self._brokers, "--topic-prefix", self._prefix)
        return self._start("traffic", liveshop("simulate", *to, *arguments))

    def recorded(self, *arguments: str) -> Path:
        """Traffic in a file, to be played faster than it came."""
        file = self._folder / "recorded.ndjson"
        made = self._start("recorded", liveshop("simulate", "--to", str(file), *arguments))
        eventually(lambda: made.code is not None, what="the traffic is recorded")
        assert made.code == 0, made.tail()
        return file

    def _start(self, name: str, command: list[str]) -> Child:
        ours = {**os.environ, "PYTHONPATH": path()}
        child = Child(command, log=self._folder / f"{name}.log", environ=ours)
        self._stack.callback(child.kill)
        return child


@contextmanager
def a_line(brokers: str, prefix: str, folder: Path) -> Iterator[Line]:
    with ExitStack() as stack:
        yield Line(brokers, prefix, folder, stack)
