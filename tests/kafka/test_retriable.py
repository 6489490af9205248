"""Not every OSError is the network's: a full disk is mended by no broker that comes back."""

import asyncio
import errno
import socket
import ssl

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from stream.kafka.retriable import is_broken_connection, is_trouble


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(socket.EAI_AGAIN, "later"),
        ssl.SSLError(1, "unexpected eof"),
        asyncio.IncompleteReadError(b"", 4),
        OSError(errno.EHOSTUNREACH, "no route to host"),
        OSError("Multiple exceptions: [Errno 111] refused, [Errno 101] unreachable"),
    ],
)
def test_what_says_something_of_the_way_to_a_broker_may_be_mended(error: BaseException) -> None:
    assert is_broken_connection(error)
    assert is_trouble(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "no space left on device"),
        OSError(errno.EIO, "input/output error"),
        PermissionError(errno.EACCES, "not for us"),
        FileNotFoundError(errno.ENOENT, "gone"),
        OSError("odd"),
        MemoryError(),
        ValueError("a slip"),
        AttributeError("a slip"),
        None,
    ],
)
def test_what_does_not_ends_the_process(error: BaseException | None) -> None:
    assert not is_trouble(error)


def test_kafka_s_own_errors_are_trouble() -> None:
    assert is_trouble(KafkaConnectionError())
    assert is_trouble(NodeNotReadyError())
    assert not is_broken_connection(NodeNotReadyError())
