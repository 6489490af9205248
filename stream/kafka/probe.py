"""Asks all brokers whether they are there, over connections of its own, which are made anew when they break."""

import asyncio
import time
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import security
from stream.kafka.diagnosis import Address, diagnose
from stream.kafka.patches.connection import Connection

log: Final = structlog.get_logger()

ANSWER_SECONDS: Final = 2.0
MOST: Final = 32
"""Brokers that are asked."""
_FAILURES: Final = (KafkaError, OSError, TimeoutError, ValueError, AssertionError, UsageError)
"""Whatever a connection, or the files that secure it, may fail of: none of it is an answer."""


class Probe:
    """`ask` is to be called again and again. Connected means that a broker has answered a request within 2 s."""

    def __init__(self, settings: Settings, configured: list[Address]) -> None:
        self._settings = settings
        self._configured = configured
        self._known: list[Address] = []
        """As the cluster's metadata last named them."""
        self._connections: dict[Address, Connection] = {}

    async def ask(self) -> tuple[int, str]:
        """How many brokers answered; when none did, why not."""
        asked = list(dict.fromkeys(self._known or self._configured))[:MOST]
        answers = await asyncio.gather(*map(self._ask_one, asked))
        connected = sum(answers)
        if not connected and asked != self._configured:
            connected = sum(await asyncio.gather(*map(self._ask_one, self._configured)))
        if connected:
            return connected, ""
        every = [*self._configured, *self._known]
        why = await diagnose(every, self._settings.protocol)
        return 0, why or await self._why_not_secured(every)

    async def close(self) -> None:
        """Ends every connection."""
        await asyncio.gather(*(each.ended() for each in self._connections.values()), return_exceptions=True)
        self._connections.clear()

    async def _ask_one(self, address: Address) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = await self._connected(address)
                answer = await connection.send(MetadataRequest([]))
        except _FAILURES as error:
            log.debug("a broker does not answer", broker=f"{address[0]}:{address[1]}", error=type(error).__name__)
            broken = self._connections.pop(address, None)
            if broken is not None:
                await broken.ended()
            return False
        self._know([(broker[1], broker[2]) for broker in answer.brokers])
        return True

    async def _connected(self, address: Address) -> Connection:
        held = self._connections.get(address)
        if held is not None and held.connected() and time.monotonic() < held.renew_at:
            return held
        if held is not None:
            await held.ended()
        host, port = address
        options: dict[str, Any] = await security.options_now(self._settings)
        opened = Connection(host, port, client_id="liveshop-probe", request_timeout_ms=10_000, **options)
        self._connections[address] = opened
        await opened.connect()
        return opened

    def _know(self, brokers: list[Address]) -> None:
        if brokers:
            self._known = brokers
            for gone in self._connections.keys() - {*brokers, *self._configured}:
                self._connections.pop(gone).close()

    async def _why_not_secured(self, addresses: list[Address]) -> str:
        if self._settings.protocol == "plaintext":
            return ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await security.ask_why(self._settings, addresses[:1])
        except TimeoutError:
            return ""
        except UsageError as error:
            return str(error)
