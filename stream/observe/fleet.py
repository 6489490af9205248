"""Several worker processes behind one page: asks each over HTTP, at once and with a time limit, and merges the answers.

The supervisor says who runs; everything else is what the processes say themselves. One that does not answer costs its
gauges and the page's time limit, never the page.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

from prometheus_client.core import CounterMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from stream.observe import catalog, merge, scrape
from stream.observe.health import STALLED_AFTER
from stream.observe.scrape import Answer
from stream.observe.shards import gauge

ANSWER_SECONDS: Final = 3.0
"""For a process to answer. Prometheus waits ten by default."""
NOTE: Final = "note: "


@dataclass(frozen=True, slots=True)
class Member:
    """One process. ``life``: how often it was started; ``away``: why it does not run, None while it does."""

    number: int
    url: str
    life: int = 0
    away: str | None = "is not started yet"


class Fleet(Collector):
    """What the supervisor knows of its processes; the vitals and the metrics of all together. ``clock``: seconds."""

    def __init__(self, urls: Sequence[str], top: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``urls`` without a path; ``top``: sessions with series of their own."""
        self._clock = clock
        self._beat = clock()
        self._members = tuple(Member(number, url) for number, url in enumerate(urls))
        self._heard = [clock()] * len(urls)
        """When each was started or answered last."""
        self._merge = merge.Merge(top)
        self._looking = Lock()
        self._looked = clock()

    # written by the supervisor's loop

    def beat(self) -> None:
        """The supervisor's loop moves."""
        self._beat = self._clock()

    def began(self, number: int) -> None:
        """A process was started."""
        self._heard[number] = self._clock()
        self._put(number, life=self._members[number].life + 1, away=None)

    def ended(self, number: int, why: str) -> None:
        """A process does not run any more; ``why`` goes to /readyz."""
        self._put(number, away=why)

    def _put(self, number: int, **changes: object) -> None:
        members = list(self._members)
        members[number] = replace(members[number], **changes)  # type: ignore[arg-type] # by name
        self._members = tuple(members)

    # read by the HTTP threads

    def look(self, every: float = 0.0) -> None:
        """Takes note of what the processes have counted, unless that was done in the last ``every`` seconds.

        What a process counts between the last look and its sudden death is missing in the counters, as it is when
        Prometheus scrapes it by itself.
        """
        if self._clock() - self._looked >= every:
            self.collect()

    def collect(self) -> list[Family]:
        """The merged metrics, and how many processes they come from."""
        with self._looking:
            asked = self._ask("/metrics")
            self._looked = self._clock()
            pages = [page for member, answer in asked if (page := self._noted(member, answer)) is not None]
            merged = self._merge.families(pages)
        restarts = CounterMetricFamily(
            catalog.PROCESS_RESTARTS.name, catalog.PROCESS_RESTARTS.help, labels=catalog.PROCESS_RESTARTS.labels
        )
        for member in self._members:
            restarts.add_metric([str(member.number)], max(0, member.life - 1))
        counts = ((catalog.PROCESSES, len(self._members)), (catalog.PROCESSES_UP, len(pages)))
        numbers = [gauge(metric, [((), count)]) for metric, count in counts]
        return [*numbers, self._ready(merged, len(pages)), restarts, *(each for each in merged if not _is_ready(each))]

    def _ready(self, merged: Iterable[Family], shown: int) -> Family:
        """All of them are, and none is away."""
        values = [sample.value for family in merged if _is_ready(family) for sample in family.samples]
        return gauge(catalog.READY, [((), min([float(shown == len(self._members)), *values]))])

    def _noted(self, member: Member, answer: Answer) -> merge.Page | None:
        """Nothing of a process that was started anew meanwhile: nobody knows which of its lives has answered."""
        if answer.status != 200 or self._members[member.number].life != member.life:  # noqa: PLR2004 - OK
            return None
        try:
            page = merge.read(answer.text)
        except ValueError:
            return None
        self._merge.note(member.number, member.life, page)
        return page

    def stalled(self) -> str | None:
        """Why it should be started anew as a whole, or None. One that has ended is started anew by the supervisor."""
        seconds = self._clock() - self._beat
        if seconds >= STALLED_AFTER:
            return f"the supervisor has not moved for {seconds:.0f} s"
        asked = self._ask("/healthz")
        dead = [f"process {member.number}: {answer.text.strip()}" for member, answer in asked if answer.status >= 500]  # noqa: PLR2004 - server errors
        return "; ".join([*dead, *self._silent(member for member, answer in asked if not answer.status)]) or None

    def _silent(self, members: Iterable[Member]) -> Iterable[str]:
        now = self._clock()
        silent = ((member.number, now - self._heard[member.number]) for member in members)
        return [
            f"process {number}: has not answered for {seconds:.0f} s"
            for number, seconds in silent
            if seconds >= STALLED_AFTER
        ]

    def readiness(self) -> tuple[list[str], list[str]]:
        """Problems and notes of all, each with the process it is of."""
        problems = [f"process {member.number} {member.away}" for member in self._members if member.away]
        notes = []
        for member, (status, text) in self._ask("/readyz"):
            lines = text.splitlines()
            said = [line.removeprefix(NOTE) for line in lines if line.startswith(NOTE)]
            notes += [f"process {member.number}: {line}" for line in said]
            if status != 200:  # noqa: PLR2004 - OK
                reasons = [line for line in lines if not line.startswith(NOTE)] if status else ["does not answer"]
                problems += [f"process {member.number}: {line}" for line in reasons]
        return problems, notes

    def _ask(self, path: str) -> list[tuple[Member, Answer]]:
        """The answers of all that run."""
        members = [member for member in self._members if member.away is None]
        if not members:
            return []
        with ThreadPoolExecutor(len(members)) as pool:
            answers = list(pool.map(lambda member: fetch(member.url + path), members))
        for member, answer in zip(members, answers, strict=True):
            if answer.status:
                self._heard[member.number] = self._clock()
        return list(zip(members, answers, strict=True))


def _is_ready(family: Family) -> bool:
    return family.name == catalog.READY.name


def fetch(url: str) -> Answer:
    """What is there; status 0 when nobody answers in time, or what answers is no page."""
    try:
        return scrape.fetch(url, ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        return Answer(0, str(error))
