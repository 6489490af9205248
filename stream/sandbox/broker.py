"""An embedded Kafka for tests and first looks: one node, KRaft, own ports and data folder, gone when we are."""

import base64
import socket
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from stream.children import Child, free_port, tail
from stream.errors import FailedError
from stream.sandbox import jars
from stream.sandbox.java import java
from stream.sandbox.listeners import Listener
from stream.sandbox.scratch import Scratch

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 20.0
ATTEMPTS: Final = 5
_TAKEN: Final = "Address already in use"

# Little heap; the quick compiler and the plain collector, since a broker that lives for minutes never earns back the
# work of the others (CPU of format, start and stop: 4.3 s with the defaults, 2.5 s with these, on two cores; at 8,000
# events/s with a worker 10 % of a core instead of 17 %).
_JVM: Final = (
    *("-Xmx512m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"),
    *("-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"),
)
# A broker that was killed is taken back when the session of the one before has timed out: 3 s instead of 9.
_SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}{listeners}
advertised.listeners=PLAINTEXT://{host}:{port}{listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
offsets.retention.minutes=5256000
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=1000
num.network.threads=2
num.io.threads=4
background.threads=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


class EmbeddedKafka:
    """A broker of our own. ``with EmbeddedKafka() as kafka: … kafka.bootstrap``.

    It answers when ``start`` returns. Nothing of it is left after ``stop``, after the end of ``with``, or (on Linux)
    after the thread that started it has died in whatever way; the data folder of a killed run is removed by the next.
    """

    def __init__(
        self,
        say: jars.Say = lambda _: None,
        listeners: Sequence[Listener] = (),
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        version: str | None = None,
        cluster: str = "",
    ) -> None:
        """``listeners``: what else it listens on, secured, besides the open one of ``bootstrap``; ``settings``: more lines
        of server.properties, the last of a name counts; ``version``: of Kafka, if not the usual one; ``cluster``: its id.
        """
        self._say = say
        self._listeners = {listener.name: listener for listener in listeners}
        self._settings = settings
        self._version = version
        self._cluster = cluster or base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._secured: dict[str, int] = {}
        self._scratch: Scratch | None = None
        self._child: Child | None = None
        self._lib = Path()
        self._java = ""
        self._ports = (0, 0)

    @property
    def bootstrap(self) -> str:
        """``host:port``; the same after a restart."""
        return f"{HOST}:{self._ports[0]}"

    def address(self, listener: str) -> str:
        """``host:port`` of one of the secured listeners."""
        return f"{HOST}:{self._secured[listener]}"

    @property
    def pid(self) -> int:
        """Process id of the running broker. Raises FailedError when it does not run."""
        if self._child is None:
            raise FailedError("the embedded Kafka does not run")
        return self._child.pid

    @property
    def log(self) -> Path:
        """What the broker wrote."""
        return self._folder / "kafka.log"

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.code is None

    def check(self) -> None:
        """Raises FailedError with the end of its log when it does not run any more."""
        if not self.running:
            code = None if self._child is None else self._child.code
            raise FailedError(f"the embedded Kafka ended with code {code}:\n{tail(self.log)}")

    @property
    def _folder(self) -> Path:
        if self._scratch is None:
            raise FailedError("the embedded Kafka was not started")
        return self._scratch.path

    def start(self) -> None:
        """Fetch the jars if need be, format, start, wait until it answers.

        Raises UsageError when Java or the fetcher of jars is missing, FailedError when jars cannot be had, and (with the end
        of its log) when it does not start.
        """
        self._java = java()
        self._lib = jars.fetch(self._say, self._version)
        self._scratch = Scratch()
        try:
            self._start_on_free_ports()
        except BaseException:
            self.stop()
            raise

    def _start_on_free_ports(self) -> None:
        """Between finding a port free and listening on it, another process may take it: then anew with others."""
        for attempt in range(ATTEMPTS):
            open_, controller, *secured = free_ports(2 + len(self._listeners))
            self._ports = (open_, controller)
            self._secured = dict(zip(self._listeners, secured, strict=True))
            self._write_settings()
            if attempt == 0:
                self._format()
            if self._launch(may_be_taken=attempt + 1 < ATTEMPTS):
                return

    def restart(self, version: str | None = None) -> None:
        """Stop in order when it still runs, start again with the same ports and data. Returns when it answers.

        ``version``: of Kafka, from now on, if another than before.
        """
        self._end_child()
        if version is not None:
            self._version, self._lib = version, jars.fetch(self._say, version)
        self._launch(may_be_taken=False)

    def listen(self, listener: Listener) -> None:
        """From its next start on this one is as given; it must have had one of that name."""
        self._listeners[listener.name] = listener
        self._write_settings()

    def kill(self) -> None:
        """SIGKILL, as a crash would be. ``restart`` brings it back."""
        if self._child:
            self._child.kill()

    def stop(self) -> None:
        """SIGTERM, after a deadline SIGKILL, then remove its folder. May be called twice."""
        self._end_child()
        if self._scratch:
            self._scratch.remove()
            self._scratch = None

    def _end_child(self) -> None:
        if self._child and self._child.code is None:
            self._child.stop(STOP_SECONDS)
        self._child = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_settings(self) -> None:
        port, controller_port = self._ports
        settings = _SETTINGS.format(
            host=HOST,
            port=port,
            controller_port=controller_port,
            data=self._folder / "data",
            listeners="".join(f",{name}://{self.address(name)}" for name in self._listeners),
            protocols="".join(f",{name}:{listener.protocol}" for name, listener in self._listeners.items()),
        )
        lines = [line for listener in self._listeners.values() for line in listener.lines()]
        lines += [f"{name}={value}" for name, value in self._settings.items()]
        (self._folder / "server.properties").write_text(settings + "\n".join(lines))

    def _command(self, main: str, *arguments: str) -> list[str]:
        return [self._java, *_JVM, "-cp", f"{self._lib}/*", main, *arguments]

    def _format(self) -> None:
        settings = str(self._folder / "server.properties")
        users = {f"--add-scram={user}" for listener in self._listeners.values() for user in listener.scram_users()}
        # kafka.tools.StorageTool reads its arguments by itself, so an id that begins with a dash is one word with -t.
        child = Child(
            self._command("kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster}", "-c", settings, *users),
            log=self.log,
        )
        try:
            code = child.wait(START_SECONDS)
        finally:
            child.kill()
        if code != 0:
            raise FailedError(f"the storage of the embedded Kafka could not be formatted:\n{tail(self.log)}")

    def _launch(self, *, may_be_taken: bool) -> bool:
        """True when it answers; False when its port was taken and that may be. Raises FailedError otherwise."""
        began = self.log.stat().st_size
        self._spawn()
        return self._await_answer(began, may_be_taken=may_be_taken)

    def _spawn(self) -> None:
        self._child = Child(self._command("kafka.Kafka", str(self._folder / "server.properties")), log=self.log)

    def _await_answer(self, began: int = 0, *, may_be_taken: bool = False) -> bool:
        """``began``: where its log began, in bytes."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._child is None or self._child.code is not None:
                if may_be_taken and _TAKEN.encode() in self.log.read_bytes()[began:]:
                    return False
                self.check()
            if answers(HOST, self._ports[0]):
                return True
            time.sleep(0.05)
        raise FailedError(f"the embedded Kafka did not answer within {START_SECONDS:.0f} s:\n{tail(self.log)}")


def free_ports(number: int) -> list[int]:
    """So many, each another: of two that are asked for one by one, the second may be the first."""
    found: dict[int, None] = {}
    while len(found) < number:
        found[free_port(HOST)] = None
    return list(found)


def answers(host: str, port: int) -> bool:
    """Whether a broker there answers a metadata request and names at least one broker."""
    header = struct.pack(">hhih", 3, 4, 1, -1)  # Metadata version 4, correlation id 1, no client id
    body = struct.pack(">i?", 0, False)  # no topics, create none
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(header + body)) + header + body)
            return _brokers(connection) > 0
    except (OSError, struct.error):
        return False


def _brokers(connection: socket.socket) -> int:
    """Number of brokers in the answer: after size, correlation id and throttle time, 4 bytes each."""
    answer = b""
    while len(answer) < 16:  # noqa: PLR2004 - four numbers of 4 bytes
        part = connection.recv(16 - len(answer))
        if not part:
            return 0
        answer += part
    return int(struct.unpack(">iiii", answer)[3])
