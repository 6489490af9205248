"""Many schedules in one process, one after another."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.simulation.world import Outcome, simulate

COLLECT_EVERY = 10
"""Schedules. Within one nothing is collected: when that happened would be no function of the seed."""


@dataclass
class Batch:
    """What came of them."""

    schedules: int = 0
    requests: int = 0
    seconds: float = 0.0
    """Of CPU, with all that came before."""
    digest: int = 0
    failed: list[Outcome] = field(default_factory=list)


def run(
    first: int,
    number: int,
    *,
    cpu: float = 0.0,
    most: int | None = None,
    until_found: bool = False,
    tell: Callable[[Outcome], None] = lambda _: None,
) -> Batch:
    """``number`` schedules, and more, up to ``most``, while the process has used less than ``cpu`` seconds."""
    batch = Batch()
    with _collected_between():
        while batch.schedules < number or (time.process_time() < cpu and batch.schedules != most):
            outcome = simulate(first + batch.schedules)
            batch.schedules += 1
            batch.requests += outcome.requests
            batch.digest = (batch.digest * 31 + outcome.digest) % 2**32
            tell(outcome)
            if outcome.problems:
                batch.failed.append(outcome)
                if until_found:
                    break
            if batch.schedules % COLLECT_EVERY == 0:
                gc.collect()
    batch.seconds = time.process_time()
    return batch


@contextmanager
def _collected_between() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
