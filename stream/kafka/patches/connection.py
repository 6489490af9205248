"""Connections with TLS or a login, each replaced before the broker ends its session. Touches private parts of aiokafka.

A broker lets a login count for a time: as long as a token is valid, or `connections.max.reauth.ms`. It says so when we
log in, and closes the connection on the first request after. aiokafka does not log in again on an open connection
(KIP-368): its requests would fail, with a checkpoint now and then. So a connection that is near its end is given no new
request: they go to a new one, and the old one is closed when it has answered all it was asked.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from weakref import WeakSet

import structlog
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed
from aiokafka.protocol.admin import SaslAuthenticateRequest
from aiokafka.protocol.metadata import MetadataRequest

from stream.kafka.retries import Backoff, BackoffPolicy

log: Final = structlog.get_logger()

RENEW_AT: Final = (0.6, 0.8)
"""Shares of a session's life, from..to, so that not all connections are renewed at once."""
OVER_AT: Final = 0.9
"""Share of a session's life after which no request is risked any more."""
LEAVE_SECONDS: Final = 0.5
AGAIN: Final = BackoffPolicy(first=1.0, most=10.0)
"""Before a renewal that failed is tried again, while the old connection still serves."""
_FAILURES: Final = (KafkaError, OSError, TimeoutError, ValueError, AssertionError)
"""What aiokafka's login raises; the last two when an answer is none that the mechanism knows."""


class Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka is not typed for us
    """Knows how long its login counts, and that it was refused when a token was: aiokafka takes that for a yes."""

    renew_at = math.inf
    """By the monotonic clock, as is ``over_at``. It does not end when the broker names no end."""
    over_at = math.inf

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.renewals = Backoff(AGAIN)

    def send(self, request: Any, expect_response: bool = True) -> Any:
        answer = super().send(request, expect_response)
        return self._noted(answer) if isinstance(request, SaslAuthenticateRequest) else answer

    async def _noted(self, answer: Awaitable[Any]) -> Any:
        now = time.monotonic()
        response = await answer
        if self._sasl_mechanism == "OAUTHBEARER" and not response.error_code and response.sasl_auth_bytes:
            raise SaslAuthenticationFailed("the token was refused")
        life = getattr(response, "session_lifetime_ms", 0) / 1000
        if life > 0:
            self.renew_at = now + life * random.uniform(*RENEW_AT)  # noqa: S311 - spreads load, guards nothing
            self.over_at = now + life * OVER_AT
        return response

    async def connect(self) -> Any:
        try:
            return await super().connect()
        except BaseException:
            await self.ended()
            raise

    async def ended(self) -> None:
        """Closes it, and waits a moment until it is: TLS takes its leave of the broker."""
        closed = self.close(reason=CloseReason.SHUTDOWN)
        if self._protocol is not None:
            await asyncio.wait({closed}, timeout=LEAVE_SECONDS)

    def close_when_answered(self, _answered: object = None) -> None:
        """Closes as soon as nothing is awaited of it."""
        waiting = [future for _, _, future in self._requests if not future.done()]
        if waiting:
            waiting[-1].add_done_callback(self.close_when_answered)
        else:
            self.close(reason=CloseReason.IDLE_DROP)


def secure(client: AIOKafkaClient, current: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
    """From now on the client's connections are renewed in time and closed in order; to be called before it starts.

    ``current`` gives those of aiokafka's options that hold what files say now: certificates, a password.
    """
    secured = _Secured(client, current)
    client.bootstrap = secured.bootstrap
    if client._security_protocol != "PLAINTEXT":
        client._get_conn, client.close = secured.get, secured.close


class _Secured:
    """Stands in for three methods of one client."""

    def __init__(self, client: AIOKafkaClient, current: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        self._client = client
        self._current = current
        self._conns: dict[Any, Any] = client._conns
        self._get_conn, self._close = client._get_conn, client.close
        self._opening = asyncio.Lock()
        self._renewing: dict[Any, asyncio.Task[None]] = {}
        self._retired: WeakSet[Connection] = WeakSet()
        self._closed = False

    async def bootstrap(self) -> None:
        """Asks who the brokers are, as aiokafka does, but the connection for it is closed when this returns.

        (aiokafka leaves it open when it is cancelled meanwhile.) A cluster may answer that it has no broker: each is fenced
        for a moment after it stood still. aiokafka goes on without, and fails an assertion (`Did we not perform
        bootstrap?`) when it looks for a coordinator; here that is no connection yet.
        """
        client = self._client
        for host, port, _ in client.hosts:
            try:
                client.cluster.update_metadata(await self._asked(host, port))
            except _FAILURES as error:
                log.debug(
                    "no connection to a broker", broker=f"{host}:{port}", error=_named(error)
                )  # it is tried again
            else:
                break
        else:
            raise KafkaConnectionError(f"Unable to bootstrap from {client.hosts}")
        if not client.cluster.brokers():
            raise KafkaConnectionError("the cluster names no broker")
        if client._sync_task is None:
            client._sync_task = asyncio.create_task(client._md_synchronizer())

    async def _asked(self, host: str, port: int) -> Any:
        opened = await self._open(host, port)
        try:
            return await opened.send(MetadataRequest([]))
        finally:
            await opened.ended()

    async def get(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        """The connection to send the next request on, None when there is none to be had now."""
        key = (node_id, group)
        if self._client.cluster.broker_metadata(node_id) is None:
            return await self._get_conn(node_id, group=group, no_hint=no_hint)
        if (held := self._usable(key)) is None:
            async with self._opening:
                held = self._usable(key) or await self._opened(key)
        elif time.monotonic() >= held.renew_at and key not in self._renewing and not self._closed:
            self._renewing[key] = asyncio.create_task(self._renew(key, held))
        return held

    async def close(self) -> None:
        self._closed = True
        for task in (renewing := list(self._renewing.values())):
            task.cancel()
        await asyncio.gather(*renewing, *(retired.ended() for retired in list(self._retired)), return_exceptions=True)
        await self._close()

    def _usable(self, key: Any) -> Connection | None:
        held: Connection | None = self._conns.get(key)
        return held if held is not None and held.connected() and time.monotonic() < held.over_at else None

    async def _opened(self, key: Any) -> Connection | None:
        try:
            opened = await self._open_node(key)
        except _FAILURES as error:
            log.error("no connection to a broker", node=key[0], error=_named(error))  # noqa: TRY400 - it tries again
            self._client.force_metadata_update()
            return None
        self._put(key, opened)
        return opened

    async def _renew(self, key: Any, held: Connection) -> None:
        try:
            opened = await self._open_node(key)
        except _FAILURES as error:
            log.warning("a login could not be renewed yet", node=key[0], error=_named(error))
            held.renew_at = time.monotonic() + held.renewals.pause()
        else:
            self._put(key, opened)
        finally:
            del self._renewing[key]

    def _put(self, key: Any, opened: Connection) -> None:
        held = self._conns.get(key)
        self._conns[key] = opened
        if held is not None:
            self._retired.add(held)
            held.close_when_answered()

    async def _open_node(self, key: Any) -> Connection:
        client = self._client
        broker = client.cluster.broker_metadata(key[0])
        return await self._open(broker.host, broker.port, on_close=client._on_connection_closed)

    async def _open(self, host: str, port: int, **more: Any) -> Connection:
        """A new one, made as aiokafka makes its own."""
        client, current = self._client, await self._current()
        opened = Connection(
            host,
            port,
            client_id=client._client_id,
            request_timeout_ms=client._request_timeout_ms,
            max_idle_ms=client._connections_max_idle_ms,
            security_protocol=client._security_protocol,
            ssl_context=current.get("ssl_context", client._ssl_context),
            sasl_mechanism=client._sasl_mechanism,
            sasl_plain_username=client._sasl_plain_username,
            sasl_plain_password=current.get("sasl_plain_password", client._sasl_plain_password),
            sasl_oauth_token_provider=client._sasl_oauth_token_provider,
            **more,
        )
        await opened.connect()
        return opened


def _named(error: BaseException) -> str:
    return str(error) or type(error).__name__
