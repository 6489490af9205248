"""What is worked on in a world: a role, what is sent, and what must come of it. The schedules are the same for any."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from stream.config import Settings
from stream.kafka.role import Role
from stream.sessions.role import worker_role
from stream.sessions.rules_reload import ReloadedRules
from tests.core.alerts.test_alerting import COMPILED
from tests.kafka.tools import Memory
from tests.simulation.cluster import Cluster
from tests.simulation.content import PARTITIONS, Content
from tests.simulation.feed import Feed
from tests.simulation.judge import judge


class Feeding(Protocol):
    async def run(self) -> None:
        """Sends all there is."""


class Job(Protocol):
    @property
    def role(self) -> Role: ...

    @property
    def partitions(self) -> Mapping[str, int]:
        """Of each of its topics."""

    def watch(self) -> Memory: ...

    def feed(self, cluster: Cluster, settings: Settings, rng: Random, *, seconds: float, backlog: float) -> Feeding:
        """``seconds``: how long it takes, in the world's time; ``backlog``: share of it that is there from the start."""

    def judge(self, cluster: Cluster, settings: Settings) -> list[str]:
        """Everything that is not as it must be in the end, one line each."""


class _Rules(ReloadedRules):
    """Rules that tell much of little traffic, without a file: a thousand worlds would read it thousands of times."""

    def __init__(self) -> None:
        self.current = COMPILED


ROLE = worker_role(_Rules())


@dataclass(slots=True)
class Sessions:
    """That of the session worker."""

    content: Content
    fed: Feed | None = None

    @property
    def role(self) -> Role:
        return ROLE

    @property
    def partitions(self) -> Mapping[str, int]:
        return {spec.name: PARTITIONS for spec in self.role.specs}

    def watch(self) -> Memory:
        return Memory()

    def feed(self, cluster: Cluster, settings: Settings, rng: Random, *, seconds: float, backlog: float) -> Feeding:
        self.fed = Feed(cluster, settings, self.content, rng, seconds=seconds, backlog=backlog)
        return self.fed

    def judge(self, cluster: Cluster, settings: Settings) -> list[str]:
        assert self.fed is not None
        return judge(cluster, settings, self.content, self.fed.offsets)
