"""The admin client: what any broker can answer is asked of another one when the first is away.

aiokafka's picks one of all brokers that the cluster names, whether it runs or not, and gives up at once. (p: a worker that
was started while one of three brokers was down ended with a traceback.)
"""

import asyncio
import time
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError

PAUSE: Final = 0.1
CHANGES: Final = frozenset({19, 20, 21, 33, 37, 42, 44})
"""Requests that change something: create, delete, cut off, alter, add, delete a group, alter by parts. Such a one may have
been carried out although no answer came, so it is sent again only where it was not sent at all."""


class Admin(AIOKafkaAdminClient):  # type: ignore[misc] # aiokafka has no types
    """``patience``: seconds for which a question is asked again, while no broker takes it."""

    def __init__(self, *, patience: float, **options: Any) -> None:
        super().__init__(**options)
        self._patience = patience

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        until = time.monotonic() + self._patience
        while True:
            try:
                return await super()._send_request(request, node_id)
            except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError) as error:
                sent = not isinstance(error, NodeNotReadyError)
                if node_id is not None or (sent and request.API_KEY in CHANGES) or time.monotonic() > until:
                    raise
            await asyncio.sleep(PAUSE)
