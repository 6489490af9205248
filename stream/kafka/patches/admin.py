"""The admin client: what any broker can answer is asked of another one when the first is away.

aiokafka's picks one of all brokers that the cluster names, whether it runs or not, and gives up at once. (p: a worker that
was started while one of three brokers was down ended with a traceback.)
"""

from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError

from stream.kafka.retries import BackoffPolicy, retry

AGAIN: Final = BackoffPolicy(first=0.1, most=1.0)
CHANGES: Final = frozenset({19, 20, 21, 33, 37, 42, 44})
"""Requests that change something: create, delete, cut off, alter, add, delete a group, alter by parts. Such a one may have
been carried out although no answer came, so it is sent again only where it was not sent at all."""
_NO_ANSWER: Final = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)


class Admin(AIOKafkaAdminClient):  # type: ignore[misc] # aiokafka has no types
    """``patience``: seconds for which a question is asked again, while no broker takes it."""

    def __init__(self, *, patience: float, **options: Any) -> None:
        super().__init__(**options)
        self._patience = patience

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        send = super()._send_request

        def again(error: Exception) -> bool:
            if node_id is not None or not isinstance(error, _NO_ANSWER):
                return False
            return isinstance(error, NodeNotReadyError) or request.API_KEY not in CHANGES

        what = type(request).__name__
        return await retry(lambda: send(request, node_id), what, again, AGAIN, seconds=self._patience)
