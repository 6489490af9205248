"""What ``liveshop run`` starts and ends: a Kafka, topics, workers, a simulator. Nothing is left of it afterwards."""

import asyncio
import sys
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec
from aiokafka.errors import KafkaError

from stream import printed
from stream.children import Child, free_port, is_free, liveshop
from stream.cli import scrape
from stream.cli.alert_feed import AlertFeed, Alerts
from stream.cli.flags import EVERY, environment
from stream.cli.output import number_of
from stream.config import CONNECTION, SETTINGS, Settings
from stream.errors import FailedError, UsageError
from stream.operate import sandbox_topics
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.scratch import Scratch
from stream.sandbox.traffic import Plan
from stream.security_settings import UNSECURED
from stream.sessions import topics

READY_SECONDS: Final = 60.0
WORKER_SECONDS: Final = 12.0
"""A worker promises to leave within ten."""
SIMULATOR_SECONDS: Final = 10.0
TRAFFIC_SECONDS: Final = 20.0
"""Until the first message is counted. It is shown without one then: little traffic may take longer."""
LOOKS: Final = 3
SIMULATORS: Final = (*CONNECTION, "topic_prefix")
"""The settings that the simulator takes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asked for."""

    settings: Settings
    partitions: int
    workers: int
    plan: Plan

    @property
    def traffic(self) -> list[str]:
        """The plan as flags of ``liveshop simulate``."""
        plan = self.plan
        outages = ",".join(f"{begin}ms-{end}ms" for begin, end in plan.outages)
        return [f"--rate={plan.rate}", f"--sessions={plan.sessions}", f"--seed={plan.seed}", f"--outage={outages}"]


class Pipeline(Protocol):
    """Simulated traffic and what counts it, between ``with`` and its end: all that ``run`` shows."""

    settings: Settings
    urls: list[str]
    """Of /metrics, one for each worker."""
    alerts: Alerts

    @property
    def where(self) -> str:
        """Which Kafka, for people."""

    def scrape(self) -> scrape.Snapshot:
        """Now. Raises FailedError when something has ended that should run."""

    def end_traffic(self) -> int:
        """Ends the traffic. Gives how many messages were sent."""


class _Summary(msgspec.Struct):
    sent: int


class Demo:
    """Everything running, between ``with`` and its end. Children of other process groups: Ctrl-C reaches only us."""

    def __init__(self, asked: Asked, say: Callable[[str], None]) -> None:
        self._asked = asked
        self._say = say
        self._stack = ExitStack()
        self._workers: list[Child] = []
        self._simulator: Child | None = None
        self._kafka: EmbeddedKafka | None = None
        self._folder = Path()
        self.settings = asked.settings
        self.urls: list[str] = []
        self.alerts = Alerts()

    @property
    def where(self) -> str:
        return f"Kafka    {self.settings.brokers}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._say("stopping")
        self._stack.__exit__(kind, error, traceback)

    def _start(self) -> None:
        self._folder = self._stack.enter_context(Scratch()).path
        self.settings = self._own_kafka() if self.settings.brokers is None else self._sandboxed()
        self._say(f"making topics of {number_of(self._asked.partitions, 'partition')}")
        asyncio.run(topics.create(self.settings, self._asked.partitions))
        self._stack.callback(self._end_workers)
        self._say("starting one worker" if self._asked.workers == 1 else f"starting {self._asked.workers} workers")
        for number in range(self._asked.workers):
            self._start_worker(number)
        self._wait_for_workers()
        self._say("starting the simulated traffic")
        self._simulator = self._start_simulator()
        self.alerts = self._stack.enter_context(AlertFeed(self.settings))
        self._wait_for_traffic()

    def _own_kafka(self) -> Settings:
        self._say("starting an embedded Kafka")
        try:
            self._kafka = kafka = self._stack.enter_context(EmbeddedKafka(self._say))
        except (UsageError, FailedError) as error:
            without = f"Or look without a Kafka, with nothing kept: {_program()} run --no-kafka"
            raise type(error)(f"{error}\n{without}") from None
        return self.settings.model_copy(update={"brokers": kafka.bootstrap, **UNSECURED})

    def _sandboxed(self) -> Settings:
        """Topics and a group of our own on somebody's broker, deleted at the end, whatever happens between."""
        prefix = sandbox_topics.new_prefix()
        settings = self.settings.model_copy(update={"topic_prefix": prefix, "group": f"{prefix}{self.settings.group}"})
        asyncio.run(topics.describe(settings))  # a broker that does not answer has nothing to delete either
        self._say(f"using {settings.brokers}; everything there is named {prefix}* and deleted at the end")

        def clean(_type: object, error: BaseException | None, _traceback: object) -> None:
            try:
                asyncio.run(sandbox_topics.delete(settings, [settings.group]))
            except (FailedError, KafkaError) as failed:
                later = printed.command(settings, "topics clean", "--execute")
                message = f"{prefix}* on {settings.brokers} could not be deleted: {failed}. Later: {later}"
                if error is None:
                    raise FailedError(message) from None
                self._say(message)

        self._stack.push(clean)
        return settings

    def _start_worker(self, number: int) -> None:
        port = page_port(self.settings, self._say) if number == 0 else free_port(self.settings.http_host)
        settings = self.settings.model_copy(update={"http_port": port, "log_format": self._log_format()})
        log = self._folder / f"worker-{number}.log"
        self._workers.append(Child(liveshop("worker", *_flags(settings)), log=log, environ=environment(settings)))
        self.urls.append(f"http://{self.settings.http_host}:{port}/metrics")

    def _log_format(self) -> str:
        """Of workers: the end of their logs is for people, when one fails."""
        return "console" if self.settings.log_format == "auto" else self.settings.log_format

    def _start_simulator(self) -> Child:
        command = liveshop("simulate", "--json", *_flags(self.settings, SIMULATORS), *self._asked.traffic)
        log, result = self._folder / "simulate.log", self._folder / "simulate.json"
        child = Child(command, log=log, stdout=result, environ=environment(self.settings))
        self._stack.callback(child.stop, SIMULATOR_SECONDS)
        return child

    def _wait_for_workers(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check()
            try:
                scrape.scrape(self.urls)
            except (OSError, ValueError):
                time.sleep(0.1)
            else:
                return
        raise FailedError(f"{', '.join(self.urls)} did not answer within {READY_SECONDS:.0f} s:\n{self._tails()}")

    def _wait_for_traffic(self) -> None:
        """A simulator that is still starting would be ended without a summary, and `--for` is a time of traffic."""
        deadline = time.monotonic() + TRAFFIC_SECONDS
        while not self.scrape().read and time.monotonic() < deadline:
            time.sleep(0.2)

    def check(self) -> None:
        """FailedError with the end of its log when something has ended that should run."""
        if self._kafka is not None:
            self._kafka.check()
        running = [*self._workers, *([self._simulator] if self._simulator else [])]
        for child in running:
            if child.code is not None:
                raise FailedError(f"{child.log.stem} ended with code {child.code}:\n{child.tail()}")

    def scrape(self) -> scrape.Snapshot:
        """FailedError when a worker does not answer, though asked several times: a machine may be busy."""
        last: Exception | None = None
        for _ in range(LOOKS):
            self.check()
            try:
                return scrape.scrape(self.urls)
            except (OSError, ValueError) as error:
                last = error
        raise FailedError(f"{last}:\n{self._tails()}")

    def end_traffic(self) -> int:
        """Stop the simulator in order; how many messages it has sent."""
        simulator, self._simulator = self._simulator, None
        if simulator is None:
            return 0
        code = simulator.stop(SIMULATOR_SECONDS)
        if code != 0:
            raise FailedError(f"the simulator ended with code {code}:\n{simulator.tail()}")
        return msgspec.json.decode((self._folder / "simulate.json").read_bytes(), type=_Summary).sent

    def _end_workers(self) -> None:
        """Ends all workers at once, each with a last checkpoint."""
        deadline = time.monotonic() + WORKER_SECONDS
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.stop(max(0.1, deadline - time.monotonic()))

    def _tails(self) -> str:
        return "\n".join(worker.tail() for worker in self._workers)


def _program() -> str:
    """The program as it was called: after make it is not on the PATH."""
    return sys.argv[0] if Path(sys.argv[0]).name == "liveshop" else "liveshop"


def page_port(settings: Settings, say: Callable[[str], None]) -> int:
    """The port of the settings. Where that is taken, a free one; ``say`` is told so."""
    asked, host = settings.http_port, settings.http_host
    port = asked if asked and is_free(asked, host) else free_port(host)
    if asked not in {0, port}:
        say(f"port {asked} is taken, so /metrics is on {port}")
    return port


def _flags(settings: Settings, names: Collection[str] = EVERY) -> list[str]:
    shown = settings.shown()
    table = [setting for setting in SETTINGS if setting.name in names and not setting.secret]
    return [f"{setting.flag}={shown[setting.name]}" for setting in table if shown[setting.name] != setting.default]
