"""``liveshop worker``: counts until it is told to stop."""

import asyncio
import gc
import ipaddress
from collections.abc import Awaitable
from typing import Annotated, Final

import structlog
import typer
import uvloop

from stream import __version__
from stream.cli.flags import takes_settings
from stream.cli.processes import MOST, supervise
from stream.cli.version import core
from stream.config import Settings
from stream.kafka.rebuild_cutoff import RebuildCutoff, RebuildCutoffs
from stream.observe import logs
from stream.observe.health import Health, heartbeat
from stream.observe.http import HttpServer
from stream.observe.metrics import Metrics
from stream.observe.shares import SharePolicy
from stream.sessions.worker import run_worker

BEAT: Final = 1.0
"""Seconds."""

log: Final = structlog.get_logger("liveshop")


@takes_settings(required=("brokers",), service=True)
def command(
    settings: Settings,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", metavar="", help="count everything again from the oldest records, as a new generation"
        ),
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST,
            metavar="N",
            help="worker processes on this machine; with several, --http-port shows "
            "all of them on one page, and the ports after it show one process each",
        ),
    ] = 1,
    process: Annotated[int | None, typer.Option(hidden=True)] = None,
    rebuild_before: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Count views, comments and checkouts from Kafka into windows, totals and metrics.

    Runs until SIGTERM (exit code 0) or Ctrl-C (130). Both make a last checkpoint; a second signal ends it at once. The
    topics must exist: see `liveshop topics create`. With --processes, a process that dies is started again.
    """
    logs.configure(settings.log_level, settings.log_format, process=process)
    if (
        settings.protocol == "sasl_plaintext"
        and settings.sasl_mechanism in {"PLAIN", "OAUTHBEARER"}
        and process is None
    ):
        log.warning("the password or token goes to Kafka in the clear: security_protocol sasl_ssl hides it")
    if process is None and _is_every_address(settings.http_host):
        log.warning(
            "anybody who reaches this machine can read session and seller ids and names, counts and amounts, with no login",
            http_host=settings.http_host,
            http_port=settings.http_port,
            todo="let in only who scrapes (network policy, unpublished port), or listen on 127.0.0.1 beside the scraper",
        )
    if processes > 1:
        raise typer.Exit(supervise(settings, processes, rebuild=rebuild))
    given = {name: value for name, value in settings.shown().items() if value}
    log.info("worker starts", version=__version__, core=core(), rebuild=rebuild or bool(rebuild_before), **given)
    raise typer.Exit(work(settings, rebuild=_discards(rebuild_before) if rebuild_before else rebuild))


def _is_every_address(host: str) -> bool:
    """A name is that of one address."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _discards(text: str) -> dict[int, RebuildCutoff]:
    """``0:12.1,1:7.0``: partition and what is thrown away of it, as a parent passes them to its processes."""
    return {
        int(partition): RebuildCutoff.parse(state)
        for partition, _, state in (each.partition(":") for each in text.split(","))
    }


def work(settings: Settings, *, rebuild: bool | RebuildCutoffs) -> int:
    """Runs a worker with its metrics and its HTTP server to its end, and returns the exit code.

    ``rebuild``: see run_worker. Raises UsageError and FailedError, each with one clear message.
    """
    health = Health(SharePolicy(settings.bad_share, settings.warn_share, settings.bad_minimum), topic=settings.topic)
    metrics = Metrics(settings, also=health.committed, unready=health.reasons)
    with HttpServer(settings.http_host, settings.http_port, metrics.registry, health) as http:
        log.info("listening", metrics=f"{http.url}/metrics", health=f"{http.url}/healthz", ready=f"{http.url}/readyz")
        try:
            code: int = uvloop.run(_alive(run_worker(settings, metrics, health, rebuild=rebuild), health))
        finally:
            gc.unfreeze()  # what stays frozen is not freed at the end, and datasketches complains of leaks on stderr
        return code


async def _alive(worker: Awaitable[int], health: Health) -> int:
    """The worker's exit code. The loop's beat begins before the broker answers: a restart mends no broker."""
    beating = asyncio.create_task(heartbeat(health.beat, BEAT))
    try:
        return await worker
    finally:
        beating.cancel()
