"""A batch of records on its way to one partition."""

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiokafka.structs import RecordMetadata

    from tests.simulation.log import Row


class Batch:
    """Records for one partition."""

    def __init__(self, most: int) -> None:
        self.rows: list[Row] = []
        self.sequence = -1
        self.timestamp = -1
        self.arrived: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        self.drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._most = most
        self._closed = False

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: int | None, headers: Any) -> object | None:
        """None when it is full."""
        if self._closed or len(self.rows) >= self._most:
            return None
        self.timestamp = -1 if timestamp is None else timestamp
        self.rows.append((key, value, tuple(headers)))
        return self

    def record_count(self) -> int:
        return len(self.rows)

    def size(self) -> int:
        """Nothing here has a limit in bytes."""
        return 0

    def close(self) -> None:
        self._closed = True

    def drain(self) -> None:
        if not self.drained.done():
            self.drained.set_result(None)

    def fail(self, error: Exception) -> None:
        self.drain()
        if not self.arrived.done():
            self.arrived.set_exception(error)
            self.arrived.exception()  # aiokafka's are looked at by whoever sent them
