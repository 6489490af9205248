"""Which errors a new connection, another look or a broker that comes back may mend. Any other ends the process."""

import asyncio
import errno
import socket
import ssl
from typing import Final

from aiokafka.errors import KafkaError

NETWORK: Final = frozenset(
    {
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH),
        *(errno.EADDRNOTAVAIL, errno.ENOTCONN, errno.ENOBUFS, errno.ETIMEDOUT),
    }
)
"""Of an OSError of no kind of its own, the numbers that say something of the way to a broker."""
_BROKEN: Final = (ConnectionError, TimeoutError, asyncio.IncompleteReadError, socket.gaierror, ssl.SSLError)
_SEVERAL: Final = "Multiple exceptions: "
"""What asyncio says when it has tried several addresses of a name, and each failed of something else."""


def is_broken_connection(error: BaseException | None) -> bool:
    """Whether it tells of the way to a broker. A full disk or a file that may not be read is another OSError."""
    if isinstance(error, _BROKEN):
        return True
    if not isinstance(error, OSError):
        return False
    return error.errno in NETWORK or str(error).startswith(_SEVERAL)


def is_retriable(error: BaseException | None) -> bool:
    """Whether Kafka says that the same question, asked again, may be answered."""
    return isinstance(error, KafkaError) and bool(error.retriable)


def is_trouble(error: BaseException | None) -> bool:
    """Whether Kafka, or the way to it, is what failed."""
    return isinstance(error, KafkaError) or is_broken_connection(error)
