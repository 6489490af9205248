"""A worker that counts sessions (kafka/worker.py)."""

from stream.config import Settings
from stream.kafka import worker
from stream.kafka.health import Health
from stream.kafka.rebuild_cutoff import RebuildCutoffs
from stream.kafka.worker import Worker
from stream.sessions.role import worker_role
from stream.sessions.rules_reload import MetricsHooks, ReloadedRules


async def run_worker(settings: Settings, hooks: MetricsHooks, health: Health, *, rebuild: bool | RebuildCutoffs) -> int:
    """Counts until a signal comes; see `stream.kafka.worker.run_worker`. SIGHUP: the alert rules are read again."""
    return await worker.run_worker(
        settings, lambda: worker_role(ReloadedRules(settings, hooks)), hooks, health, rebuild=rebuild
    )


def make_worker(
    settings: Settings,
    hooks: MetricsHooks,
    health: Health,
    *,
    rebuild: bool | RebuildCutoffs,
    rules: ReloadedRules | None = None,
) -> Worker:
    """All shards of one process."""
    role = worker_role(rules or ReloadedRules(settings, hooks))
    return Worker(settings, role, hooks, health, rebuild=rebuild)
