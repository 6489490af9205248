"""``python -m tests.totals.worker worker`` is ``liveshop worker`` for the totals: a process that chaos can kill."""

from unittest.mock import patch

from stream.cli import main, worker
from stream.config import Settings
from stream.kafka.rebuild_cutoff import RebuildCutoffs
from stream.kafka.worker import run_worker
from stream.observe.health import Health
from tests.totals.job import Quiet
from tests.totals.machine import ROLE


async def run(settings: Settings, _hooks: object, health: Health, *, rebuild: bool | RebuildCutoffs) -> int:
    return await run_worker(settings, lambda: ROLE, Quiet(), health, rebuild=rebuild)


if __name__ == "__main__":
    with patch.object(worker, "run_worker", run):
        main()
