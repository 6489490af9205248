"""Why no broker answers: each address is asked once more, and says within two seconds what is the matter.

aiokafka tells its log how each attempt failed, and its caller only that all did. Here every answer that is none is told
apart: a name that nobody knows, a port that refuses, silence, TLS, a login that is wanted, something that is no Kafka, and
a Kafka that names its brokers at addresses which cannot be reached.
"""

import asyncio
import errno
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Final, TypeAlias

from stream.plaintext import plain

Address: TypeAlias = tuple[str, int]

SECONDS: Final = 1.5
"""For one address to answer, all its steps together."""
MOST: Final = 5
"""Addresses that are asked, and at most so many are named."""
LARGEST: Final = 1024 * 1024
"""Bytes of an answer: whoever listens there may send anything."""

_VERSIONS: Final = struct.pack(">ihhih8s", 18, 18, 0, 1, 8, b"liveshop")
"""ApiVersions v0: every Kafka answers it, also before a login."""
_METADATA: Final = struct.pack(">ihhih8si", 22, 3, 1, 2, 8, b"liveshop", 0)
"""Metadata v1 of no topic: who the brokers are. Before a login that is wanted, the connection is closed."""
_HTTP: Final = b"HTTP"
_TLS_ALERT: Final = 0x15

_REFUSED: Final = "refuses connections (refused)"
_CAUSES: Final = {
    errno.ECONNREFUSED: _REFUSED,
    errno.EHOSTUNREACH: "cannot be reached (no route to host)",
    errno.ENETUNREACH: "cannot be reached (network unreachable)",
    errno.ETIMEDOUT: "does not answer (timed out)",
    errno.ECONNRESET: "closed the connection (reset)",
}


def _on_stderr(why: str) -> None:
    sys.stderr.write(f"liveshop: no Kafka broker answers yet: {plain(why)}\n")


say_why: ContextVar[Callable[[str], None]] = ContextVar("say_why", default=_on_stderr)
"""Hears why it takes long to reach a broker, at once and at every further look. Workers have it in their log."""


async def diagnose(addresses: Iterable[Address], protocol: str = "plaintext") -> str:
    """What is the matter with each, in one line; empty when nothing is, as far as it can be seen without logging in.

    ``protocol``: the security_protocol that is set. Takes at most twice `SECONDS`, and never raises.
    """
    asked = list(dict.fromkeys(addresses))[:MOST]
    found = await asyncio.gather(*(_of(host, port, protocol) for host, port in asked))
    return "; ".join(text for text in found if text)


async def _of(host: str, port: int, protocol: str) -> str:
    name = f"{host}:{port}"
    try:
        async with asyncio.timeout(SECONDS):
            text = await _ask(host, port, protocol)
    except TimeoutError:
        text = f"does not answer within {SECONDS:g} s"
    except OSError as error:
        text = _named(error)
    return f"{name} {text}" if text else ""


def _named(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "is an unknown host"
    causes = [each for each in getattr(error, "exceptions", (error,)) if isinstance(each, OSError)]
    number = next((each.errno for each in causes if each.errno), None)
    return _CAUSES.get(number or 0, f"cannot be reached ({error.strerror or type(error).__name__})")


async def _ask(host: str, port: int, protocol: str) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if protocol != "plaintext":
            return ""  # whether it lets us in is asked by logging in
        answer = await _answer(reader, writer, _VERSIONS)
        if not _is_kafka(answer):
            return await _something_else(host, port, answer)
        metadata = await _answer(reader, writer, _METADATA)
    finally:
        await _close(writer)
    if not _is_kafka(metadata):
        return "wants a login: set security_protocol to sasl_plaintext, or sasl_ssl where it has TLS"
    return await _advertised(host, port, _brokers(metadata))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """What comes back: a Kafka's answer whole, else what there is before the connection is closed."""
    try:
        writer.write(request)
        await writer.drain()
        head = await reader.readexactly(4)
        size = int.from_bytes(head, "big")
        if head.startswith(_HTTP) or head[0] == _TLS_ALERT or size > LARGEST:
            return head
        return head + await reader.readexactly(size)
    except asyncio.IncompleteReadError as cut:
        return cut.partial
    except ConnectionError:
        return b""


def _is_kafka(answer: bytes) -> bool:
    return len(answer) > 8 and int.from_bytes(answer[:4], "big") == len(answer) - 4  # noqa: PLR2004 - length, correlation id


async def _something_else(host: str, port: int, answer: bytes) -> str:
    if answer.startswith(_HTTP):
        return "is not a Kafka: an HTTP server answers there"
    if await _speaks_tls(host, port):
        return "speaks TLS: set security_protocol to ssl, or to sasl_ssl where it wants a login"
    return "is not a Kafka" if answer else "closes the connection: it is not a Kafka, or one that is starting"


async def _speaks_tls(host: str, port: int) -> bool:
    """Nothing is sent that needs to be kept from anybody, so nobody's certificate is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it wants a certificate of ours, or another version
    except (OSError, EOFError):
        return False
    await _close(writer)
    return True


async def _close(writer: asyncio.StreamWriter) -> None:
    """Returns when the socket is closed: the loop may end right after."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _brokers(metadata: bytes) -> list[Address]:
    """Of a Metadata v1 answer, each broker's advertised address; as many as can be read."""
    found: list[Address] = []
    at = 8
    try:
        (number,) = struct.unpack_from(">i", metadata, at)
        at += 4
        for _ in range(min(number, MOST)):
            (length,) = struct.unpack_from(">h", metadata, at + 4)
            host = metadata[at + 6 : at + 6 + length].decode()
            port, rack = struct.unpack_from(">ih", metadata, at + 6 + length)
            at += 6 + length + 6 + max(rack, 0)
            found.append((host, port))
    except (struct.error, UnicodeDecodeError):
        pass
    return found


async def _advertised(host: str, port: int, brokers: Sequence[Address]) -> str:
    if not brokers:
        return "answers, but its cluster names no broker"
    others = [each for each in brokers if each != (host, port)]
    if len(others) < len(brokers):
        return ""
    for number, (each, at) in enumerate(others):
        try:
            _, writer = await asyncio.open_connection(each, at)
        except OSError as error:
            if number == len(others) - 1:
                return f"answers, but names its brokers (advertised.listeners) at {each}:{at}, which {_named(error)}"
        else:
            await _close(writer)
            return ""
    return ""
