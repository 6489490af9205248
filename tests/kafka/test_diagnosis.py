"""Why nobody answers, each reason against something that really fails so."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme

from stream.children import free_port
from stream.kafka.diagnosis import diagnose
from stream.sandbox.broker import EmbeddedKafka

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def of(serve: Serve, tls: ssl.SSLContext | None = None) -> str:
    """What is said of a server, without its address."""

    async def main() -> str:
        async with listening(serve, tls) as port:
            text = await diagnose([("127.0.0.1", port)])
            return text.removeprefix(f"127.0.0.1:{port} ")

    return asyncio.run(main())


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def rude(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(10)


async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n")
    await writer.drain()
    await reader.read(10)


def kafka_naming(port: int) -> Serve:
    """Answers as a broker that advertises 127.0.0.1 at this port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(22)
        writer.write(struct.pack(">iihi", 10, 1, 0, 0))
        await reader.read(26)
        host = b"127.0.0.1"
        brokers = struct.pack(f">iih{len(host)}sih", 1, 7, len(host), host, port, -1)
        body = struct.pack(">i", 2) + brokers + struct.pack(">ii", 7, 0)
        writer.write(struct.pack(">i", len(body)) + body)
        await writer.drain()
        await reader.read(1)

    return serve


def test_a_port_that_refuses_and_a_host_that_nobody_knows() -> None:
    port = free_port()
    asked = [("127.0.0.1", port), ("no-such-host.invalid", 9092)]
    text = asyncio.run(diagnose(asked))
    assert text == f"127.0.0.1:{port} refuses connections (refused); no-such-host.invalid:9092 is an unknown host"


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (http, "is not a Kafka: an HTTP server answers there"),
        (mute, "does not answer within 1.5 s"),
        (rude, "closes the connection: it is not a Kafka, or one that is starting"),
        (smtp, "is not a Kafka"),
    ],
)
def test_what_is_no_kafka(serve: Serve, said: str) -> None:
    assert of(serve) == said


def test_tls_where_none_is_set() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    assert of(mute, context) == "speaks TLS: set security_protocol to ssl, or to sasl_ssl where it wants a login"


def test_a_kafka_whose_advertised_address_cannot_be_reached() -> None:
    port = free_port()
    assert of(kafka_naming(port)) == (
        f"answers, but names its brokers (advertised.listeners) at 127.0.0.1:{port}, which refuses connections (refused)"
    )


def test_the_same_address_is_asked_once_and_a_broker_that_answers_is_none_to_name(kafka: EmbeddedKafka) -> None:
    host, _, port = kafka.bootstrap.rpartition(":")
    assert asyncio.run(diagnose([(host, int(port))] * 3)) == ""


def test_of_a_secured_broker_only_the_way_there_is_judged() -> None:
    async def main() -> str:
        async with listening(mute) as port:
            return await diagnose([("127.0.0.1", port)], "ssl")

    assert asyncio.run(main()) == ""
