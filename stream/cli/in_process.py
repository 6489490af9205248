"""What ``liveshop run --no-kafka`` runs: the worker's own shards and their loop, in this process, on logs in memory."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from threading import Thread
from types import TracebackType
from typing import Final, Self

from stream.cli import scrape
from stream.cli.alert_feed import Alerts
from stream.cli.demo import Asked, page_port
from stream.errors import FailedError
from stream.kafka.machine import Outputs
from stream.kafka.shard_context import ShardContext
from stream.kafka.shard_loop import ShardLoop
from stream.model.alerts import read_alert
from stream.model.names import ALERTS
from stream.observe.exposition import Form
from stream.observe.health import Health, heartbeat
from stream.observe.http import HttpServer
from stream.observe.metrics import Metrics
from stream.observe.shares import SharePolicy
from stream.sandbox import pace
from stream.sandbox.memory_log import MemoryCheckpoints, MemoryInputs, MemorySender
from stream.sandbox.pace import Sent
from stream.sandbox.traffic import Traffic
from stream.sessions.role import worker_role
from stream.sessions.rules_reload import ReloadedRules

BEAT: Final = 1.0
END_SECONDS: Final = 10.0
NOTHING_KEPT: Final = "no Kafka: all is counted in this process, and nothing is kept"


class InProcess:
    """Shards, traffic and /metrics, between ``with`` and its end (`cli.demo.Pipeline`). One thread counts; others scrape."""

    where = NOTHING_KEPT

    def __init__(self, asked: Asked, say: Callable[[str], None]) -> None:
        """``say`` is told what begins now."""
        self.settings = settings = asked.settings
        self.urls: list[str] = []
        self.alerts = Alerts()
        self._asked = asked
        self._say = say
        self._stack = ExitStack()
        shares = SharePolicy(settings.bad_share, settings.warn_share, settings.bad_minimum)
        self._health = Health(shares, topic=settings.topic)
        self._metrics = Metrics(settings, also=self._health.committed, unready=self._health.reasons)
        role = worker_role(ReloadedRules(settings, self._metrics))
        self._role = role.without(role.optional)
        self._inputs = [MemoryInputs(self._role.names) for _ in range(asked.partitions)]
        self._loop = asyncio.new_event_loop()
        self._traffic_over, self._over = asyncio.Event(), asyncio.Event()
        self._sent: Future[int] = Future()
        """Messages, once the traffic is over; or why it ended before."""
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, name="shards", daemon=True)

    def __enter__(self) -> Self:
        port = page_port(self.settings, self._say)
        http = HttpServer(self.settings.http_host, port, self._metrics.registry, self._health)
        self._stack.enter_context(http)
        self.urls.append(f"{http.url}/metrics")
        self._say("starting the shards and the simulated traffic")
        self._be_ready()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._say("stopping")
        self._tell(self._traffic_over)
        self._tell(self._over)
        self._thread.join(END_SECONDS)
        self._stack.__exit__(kind, error, traceback)

    def _tell(self, event: asyncio.Event) -> None:
        with suppress(RuntimeError):  # the loop is closed: all is over, perhaps since a moment ago
            self._loop.call_soon_threadsafe(event.set)

    def scrape(self) -> scrape.Snapshot:
        """What /metrics says now. Raises what has ended the shards: a bug."""
        if self._error is not None:
            raise self._error
        page = Form.TEXT.encode(self._metrics.registry).decode()
        return scrape.parse([page], time.monotonic(), time.time())

    def end_traffic(self) -> int:
        self._tell(self._traffic_over)
        try:
            return self._sent.result(END_SECONDS)
        except TimeoutError:
            raise FailedError(
                f"the shards are slower than the traffic: it did not end within {END_SECONDS:g} s; ask for a lower --rate"
            ) from None

    # -- in the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        """Counts until all is over."""
        try:
            async with asyncio.TaskGroup() as group:
                shards = [group.create_task(_run_shard(self._shard(number))) for number in range(len(self._inputs))]
                beats = group.create_task(heartbeat(self._health.beat, BEAT))
                sent = await self._simulate()
                self._sent.set_result(sent)
                await self._over.wait()
                for task in (*shards, beats):
                    task.cancel()
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that scrapes
            self._error = error
            if not self._sent.done():
                self._sent.set_exception(error)

    def _be_ready(self) -> None:
        """Shards that are new have nothing to restore."""
        partitions = frozenset(range(len(self._inputs)))
        self._metrics.partitions(len(partitions))
        self._metrics.assigned(partitions)
        self._health.assigned(partitions, partitions)
        self._health.note("no_kafka", NOTHING_KEPT)
        for partition in partitions:
            self._metrics.recovered(partition, 0.0, 0)

    def _shard(self, number: int) -> ShardLoop:
        context, inputs = ShardContext(self.settings, number, len(self._inputs), self._role), self._inputs[number]
        machine = self._role.machines.begin(self.settings, context.placed(), 0)
        machine.begin_at(dict(inputs.positions))
        checkpoints = MemoryCheckpoints(inputs, context.clock, self._note_alerts)
        return ShardLoop(context, machine, inputs, checkpoints, self._metrics)

    def _note_alerts(self, outputs: Outputs) -> None:
        for _, value in outputs.records[ALERTS]:
            self.alerts.note(read_alert(value or b""))

    async def _simulate(self) -> int:
        sent = Sent()
        traffic = Traffic(self._asked.plan, int(time.time() * 1000))
        await pace.simulate(traffic, MemorySender(self._inputs), sent, self._traffic_over, None)
        return sent.messages


async def _run_shard(shard: ShardLoop) -> None:
    while True:
        await shard.turn()
