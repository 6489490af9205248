"""Connections: every aiokafka object is made, started and ended here, so that no wait for a broker is without bound."""

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import timedelta
from typing import Any, Final, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import InvalidTransactionTimeout, KafkaConnectionError

from stream.config import Settings
from stream.core.deadletters import RECORD_BYTES
from stream.errors import UnreachableError, UsageError
from stream.kafka import limits, patches, security
from stream.kafka.diagnosis import Address, diagnose, say_why
from stream.kafka.patches import access
from stream.kafka.patches.abort_producer import abort_sending, retrieve_failures
from stream.kafka.patches.access import client_of
from stream.kafka.patches.admin import Admin as PatientAdmin
from stream.kafka.patches.connection import secure
from stream.kafka.patches.end_txn import confirm_transaction_ends
from stream.kafka.patches.fetch import hand_out_raw
from stream.kafka.probe import Probe
from stream.kafka.retries import BackoffPolicy, retry

log: Final = structlog.get_logger()

Reader: TypeAlias = AIOKafkaConsumer
Producer: TypeAlias = AIOKafkaProducer
Admin: TypeAlias = PatientAdmin

REQUEST_MS: Final = 15_000
"""How long one request may take. JoinGroup takes as long as a rebalance, so the member keeps aiokafka's 40 s."""
BATCH_BYTES: Final = 512 * 1024
"""Uncompressed bytes of a produced batch, or one record if larger: below the broker's 1 MB even if incompressible."""
FETCH_BYTES: Final = 1024 * 1024
"""Compressed bytes fetched of one partition at a time; a larger batch still comes, alone."""
CLOSE_SECONDS: Final = 1.5
TELL_AFTER: Final = 0.4
"""Seconds after which it is asked why a start takes so long: a second and a half later it is known."""
TELL_EVERY: Final = 5.0
CONNECT_AGAIN: Final = BackoffPolicy(first=0.1, most=2.0)


def ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def make_reader(settings: Settings, *, wait_ms: int = 500, uncommitted: bool = False) -> Reader:
    """A consumer of committed records, or of all, that belongs to no group and never moves by itself."""
    return AIOKafkaConsumer(
        bootstrap_servers=_brokers(settings),
        **security.options(settings),
        client_id=f"liveshop-{settings.group}-reader",
        isolation_level="read_uncommitted" if uncommitted else "read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_wait_ms=wait_ms,
        max_partition_fetch_bytes=FETCH_BYTES,
        request_timeout_ms=REQUEST_MS,
    )


def make_member(settings: Settings, name: str) -> Reader:
    """A consumer that is only a member of the group: it shows which partitions are ours, its records are not used.

    ``name``: of the role that it works for.
    """
    return AIOKafkaConsumer(
        bootstrap_servers=_brokers(settings),
        **security.options(settings),
        client_id=member_id(settings, name),
        group_id=settings.group,
        partition_assignment_strategy=(RangePartitionAssignor,),
        auto_offset_reset="latest",
        enable_auto_commit=False,
        session_timeout_ms=ms(settings.session_timeout),
        heartbeat_interval_ms=ms(settings.heartbeat_every),
        # a member has this long to finish its checkpoints and to rejoin, else it is thrown out of the group
        rebalance_timeout_ms=max(ms(settings.revoke_deadline) * 3, ms(settings.session_timeout)),
        max_poll_interval_ms=600_000,
    )


def member_id(settings: Settings, name: str) -> str:
    """The client id of a member that works for the role of this name. It names the prefix of the
    topics, since it is shown in every state of the group.
    """
    return f"liveshop-{settings.group}-{name}-{settings.topic_prefix}"


def earlier_member_id(settings: Settings) -> str:
    """That of the members of earlier versions, whose producers have transactional ids of their group."""
    return f"liveshop-{settings.group}-member"


def make_producer(settings: Settings, transactional_id: str) -> Producer:
    """Starting it fences every earlier producer of that id and ends its transaction."""
    producer = AIOKafkaProducer(
        bootstrap_servers=_brokers(settings),
        **security.options(settings),
        client_id=f"liveshop-{transactional_id}",
        transactional_id=transactional_id,
        transaction_timeout_ms=ms(settings.transaction_timeout),
        compression_type="zstd",  # aiokafka compresses with lz4 at level 9: 5 times the CPU, and larger
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        max_request_size=RECORD_BYTES,
        request_timeout_ms=REQUEST_MS,
    )
    confirm_transaction_ends(producer)
    return producer


def make_admin(settings: Settings) -> Admin:
    return PatientAdmin(
        patience=settings.connect_timeout.total_seconds(),
        bootstrap_servers=_brokers(settings),
        **security.options(settings),
        client_id=f"liveshop-{settings.group}-admin",
        request_timeout_ms=REQUEST_MS,
    )


def make_probe(settings: Settings) -> Probe:
    """Asks whether brokers are there."""
    return Probe(settings, addresses(settings))


def _brokers(settings: Settings) -> list[str]:
    if settings.brokers is None:
        raise UsageError("no broker is configured: set --brokers or LIVESHOP_BROKERS to host:port")
    return settings.brokers.split(",")


async def start(connection: Any, settings: Settings) -> None:
    """Connects. A broker that does not answer is tried again until ``connect_timeout``, then UnreachableError says why.

    A login, a certificate or a transaction timeout that is refused is a UsageError, at once. Whatever goes wrong, a
    connection that did not start is closed.
    """
    seconds = settings.connect_timeout.total_seconds()
    telling = asyncio.create_task(_tell_why(settings))
    try:
        patches.check_version()
        async with asyncio.timeout(seconds):
            await _start_patiently(connection, settings)
        if isinstance(connection, AIOKafkaConsumer):  # none reads as aiokafka would: without bounds
            hand_out_raw(connection, settings.max_batch)
    except TimeoutError:
        nodes = [(broker.host, broker.port) for broker in client_of(connection).cluster.brokers()]
        await end(connection)
        why = await _ask_why(settings, nodes)
        text = f"no Kafka broker answered at {settings.brokers} within {seconds:g} s"
        if nodes and not why:  # they answer
            text = _held_up(connection, seconds) or text
        raise UnreachableError(f"{text}: {why}" if why else text) from None
    except InvalidTransactionTimeout as error:
        await end(connection)
        raise limits.refused(settings, "transaction_timeout") from error
    except BaseException:
        await end(connection)
        raise
    finally:
        telling.cancel()
        await asyncio.wait({telling})  # awaited itself, its cancellation would hide one of ours
        if not telling.cancelled():
            telling.result()


def _held_up(connection: Any, seconds: float) -> str:
    """What keeps a transactional producer from its start where nothing is wrong with the brokers that were asked."""
    if (transactional_id := access.transactional_id(connection)) is None:
        return ""
    return (
        f"the transactional id {transactional_id} was not free within {seconds:g} s: "
        "its last transaction cannot be ended (has each partition it wrote to a leader?), or its coordinator is away"
    )


async def _tell_why(settings: Settings) -> None:
    """Until cancelled, while a start takes long."""
    await asyncio.sleep(TELL_AFTER)
    while True:
        why = await diagnose(addresses(settings), settings.protocol)
        if why:
            say_why.get()(why)
        await asyncio.sleep(TELL_EVERY)


async def _start_patiently(connection: Any, settings: Settings) -> None:
    credentials = security.Credentials(settings)
    await credentials.current()
    secure(client_of(connection), credentials.current)

    async def connect() -> None:
        try:
            await connection.start()
        except KafkaConnectionError:
            if settings.protocol != "plaintext":
                await security.ask_why(settings, addresses(settings))
            raise

    def again(error: Exception) -> bool:
        return isinstance(error, KafkaConnectionError)

    await retry(connect, f"a connection to {settings.brokers}", again, CONNECT_AGAIN)


def addresses(settings: Settings) -> list[Address]:
    """Of the configured brokers."""
    given = [broker.rpartition(":") for broker in _brokers(settings)]
    return [(host.strip("[]"), int(port)) for host, _, port in given]


async def _ask_why(settings: Settings, nodes: Iterable[Address]) -> str:
    """What to add to the message. UsageError when a person must mend it."""
    asked = [*addresses(settings), *nodes]
    why = await diagnose(asked, settings.protocol)
    if why or settings.protocol == "plaintext":
        return why
    why = await security.ask_why(settings, asked)
    return why and f"{why} (security_protocol is {settings.protocol})"


async def end(connection: Any, seconds: float = CLOSE_SECONDS) -> None:
    """Closes within about ``seconds``, whether or not the broker is there, and raises nothing.

    aiokafka waits for pending requests when it closes, so with a dead broker its ``stop`` may not come back: then its
    background tasks are cancelled and its sockets closed under it.
    """
    if isinstance(connection, AIOKafkaProducer):
        await _end_producer(connection, seconds)
    elif not await _within((connection.close if isinstance(connection, PatientAdmin) else connection.stop)(), seconds):
        await _within(client_of(connection).close(), seconds / 3)


async def _end_producer(producer: Producer, seconds: float) -> None:
    retrieve_failures(producer)  # now, since aiokafka forgets a batch as soon as it has failed
    if not await _within(producer.stop(), seconds):
        await abort_sending(producer)
        await _within(client_of(producer).close(), seconds / 3)
    retrieve_failures(producer)


async def _within(closing: Awaitable[None], seconds: float) -> bool:
    """In a task of its own: what aiokafka raises or swallows on its way out, a cancellation included, stays in there."""
    task = asyncio.ensure_future(closing)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.2)
        return False
    if not task.cancelled() and task.exception() is not None:
        log.debug("closing a Kafka connection failed", error=type(task.exception()).__name__)
    return True
