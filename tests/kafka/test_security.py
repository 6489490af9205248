"""Kafka with TLS and logins: every way in counts exactly, every refusal is one clear message, no secret is ever shown."""

import asyncio
import base64
import json
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from aiokafka.conn import CloseReason
from pydantic import SecretStr
from structlog.testing import capture_logs

from stream import cli, security_settings
from stream.children import Child
from stream.cli import demo
from stream.cli.flags import environment
from stream.config import Settings
from stream.errors import FailedError, UsageError
from stream.kafka import client, security
from stream.kafka.patches import connection
from stream.kafka.patches.connection import Connection
from stream.kafka.security import Credentials
from stream.model.names import SESSIONS
from stream.sandbox.broker import EmbeddedKafka
from stream.security_settings import UNSECURED
from tests import live
from tests.kafka.secured import (
    KEY_PASSWORD,
    MUTUAL,
    OPEN,
    PASSWORD,
    SEALED,
    SHORT,
    USER,
    SecuredKafka,
    certificate,
    token,
)
from tests.kafka.tools import Memory, everything, make_topics, newest, send_views, settings, until, worker
from tests.support import PATIENCE

pytestmark = pytest.mark.kafka

LOGINS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
WRONG: Final = "pw-of-somebody-else"
CLIENT_SECRET: Final = "cs-9c31ee"


@pytest.fixture(scope="module")
def secured(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """One broker for all. Depends on the shared one only for its reasons to skip."""
    assert kafka.running
    made = SecuredKafka(tmp_path_factory.mktemp("secured"))
    with made.kafka:
        yield made
        made.kafka.kill()  # nobody needs what it would still put in order


def config_for(secured: SecuredKafka, prefix: str, login: dict[str, Any], **more: Any) -> Settings:
    quick = settings(secured.kafka, prefix, idle_after="300ms").model_dump()
    return Settings.model_validate({**quick, **login, **more})


async def written(secured: SecuredKafka, config: Settings, views: int) -> None:
    """Waits for the total of the only session, as somebody else reads it: that of a shard that has fallen silent."""

    async def look() -> bool:
        records = newest(await everything(secured.kafka, config.topic(SESSIONS)))
        return [value["counts"]["views"] for value in records.values()] == [views]

    await live.eventually(f"{views} views are written", look)


# -- every way in


@pytest.mark.parametrize(("listener", "mechanisms"), [(OPEN, LOGINS), (SEALED, LOGINS), (MUTUAL, [None])])
def test_a_worker_counts_exactly(
    secured: SecuredKafka, prefix: str, listener: str, mechanisms: Sequence[str | None]
) -> None:
    """A worker for each mechanism, all at the same time, each with topics of its own."""

    async def count(mechanism: str | None) -> None:
        config = config_for(secured, f"{prefix}{mechanism}.", secured.login(listener, mechanism))
        await make_topics(config)
        await send_views(secured.kafka, config, range(60))
        async with worker(config) as memory:
            await until(lambda: memory.counted == 60, f"all are counted by {mechanism}")
            await written(secured, config, 60)
            assert memory.failures == []

    async def main() -> None:
        await asyncio.gather(*map(count, mechanisms))

    asyncio.run(main())


def test_the_key_of_the_certificate_may_have_a_password(secured: SecuredKafka) -> None:
    login = secured.login(MUTUAL) | {"tls_cert_file": secured.locked_cert, "tls_key_file": secured.locked_key}
    asyncio.run(connect(Settings(**login, tls_key_password=SecretStr(KEY_PASSWORD))))


async def connect(config: Settings) -> None:
    admin = client.make_admin(config)
    await client.start(admin, config)
    await client.end(admin)


# -- a login ends

LIFE: Final = 10.0
"""Seconds that a token counts. A fifth of it passes between the last renewal of a connection and its end by the broker: the
machine may be busy for so long.
"""
PATIENT: Final = {"session_timeout": "30s", "transaction_timeout": "30s", "heartbeat_every": "300ms"}
"""A busy machine is not to look like a login that has ended."""


@contextmanager
def noted_renewals() -> Iterator[tuple[list[Any], list[CloseReason]]]:
    """Which connections were renewed while they still served, and why any was closed."""
    renewed: list[Any] = []
    closed: list[CloseReason] = []
    renew, close = connection._Secured._renew, Connection.close

    async def note_renewal(self: Any, key: Any, held: Any) -> None:
        await renew(self, key, held)
        renewed.append(key)

    def note_close(self: Any, reason: Any = None, exc: Any = None) -> Any:
        closed.append(reason)
        return close(self, reason, exc)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection._Secured, "_renew", note_renewal)
        patch.setattr(Connection, "close", note_close)
        yield renewed, closed


@contextmanager
def noted_contexts() -> Iterator[list[threading.Thread]]:
    """Each thread that built a context of TLS for brokers."""
    threads: list[threading.Thread] = []
    build = security_settings.tls_context

    def noted(config: Settings) -> Any:
        threads.append(threading.current_thread())
        return build(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(security, "tls_context", noted)
        security._context.cache_clear()
        yield threads


@asynccontextmanager
async def renewing(secured: SecuredKafka, name: str) -> AsyncIterator[Path]:
    """A file with a token that is always good for most of its life."""

    async def renew() -> None:
        while True:
            secured.replace(name, token(LIFE))
            await asyncio.sleep(0.5)

    secured.replace(name, token(LIFE))
    task = asyncio.create_task(renew())
    try:
        yield secured.token.with_name(name)
    finally:
        task.cancel()


async def fed(secured: SecuredKafka, config: Settings, memory: Memory, seconds: float) -> int:
    """Views for so long, a few at a time. Returns how many, when all are counted."""
    clock, sent = asyncio.get_running_loop().time, 0
    end = clock() + seconds
    while clock() < end:
        await send_views(secured.kafka, config, range(sent, sent + 20))
        sent += 20
        await counted(memory, sent)
    return sent


async def counted(memory: Memory, number: int) -> None:
    await until(lambda: memory.counted == number, f"{number} are counted")


async def outlive(secured: SecuredKafka, config: Settings, seconds: float) -> Memory:
    """Runs a worker while records come. None is lost, none is counted twice."""
    await make_topics(config)
    async with worker(config) as memory:
        await until(lambda: memory.recoveries, "the shard has begun")
        await written(secured, config, await fed(secured, config, memory, seconds))
    return memory


def test_workers_outlive_their_logins_and_tokens(secured: SecuredKafka, prefix: str) -> None:
    """A login counts for eight seconds, a token for ten: no shard starts anew, no request fails, since no connection
    that is still in use is closed by the broker.
    """

    async def main() -> list[Memory]:
        async with renewing(secured, "renewed") as file:
            login = secured.login(OPEN, "OAUTHBEARER") | {"sasl_token_file": file}
            configs = [
                config_for(secured, prefix + "token.", login, **PATIENT),
                config_for(secured, prefix + "login.", secured.login(SHORT, "SCRAM-SHA-512"), **PATIENT),
            ]
            return await asyncio.gather(*(outlive(secured, config, 15) for config in configs))

    with noted_renewals() as (renewed, closed):
        memories = asyncio.run(main())
    assert len(renewed) >= 6  # two workers, a member, a reader and a producer each
    assert CloseReason.CONNECTION_BROKEN not in closed
    for memory in memories:
        assert len(memory.recoveries) == 1
        assert memory.failures == []


def test_connections_that_the_broker_closes_cost_no_record_either(
    secured: SecuredKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is renewed in time: the broker closes every connection, whatever goes on there."""
    monkeypatch.setattr(connection, "RENEW_AT", (1e6, 1e6))
    monkeypatch.setattr(connection, "OVER_AT", 1e6)
    config = config_for(secured, prefix, secured.login(SHORT, "SCRAM-SHA-512"))
    with noted_renewals() as (renewed, closed):
        asyncio.run(outlive(secured, config, 10))
    assert renewed == []
    assert CloseReason.CONNECTION_BROKEN in closed


def test_a_token_that_is_renewed_too_late_is_waited_for(secured: SecuredKafka, prefix: str) -> None:
    """The worker goes on when the file has a valid token again; nothing is lost meanwhile."""

    async def main() -> None:
        async with renewing(secured, "late") as file:
            config = config_for(secured, prefix, secured.login(OPEN, "OAUTHBEARER") | {"sasl_token_file": file})
            await make_topics(config)
            stack = AsyncExitStack()
            memory = await stack.enter_async_context(worker(config))
            await until(lambda: memory.recoveries, "the shard has begun")
        async with stack:
            with capture_logs() as logs:
                file.write_text("")
                await until(lambda: any("is empty" in str(line.get("error")) for line in logs), "the token is missed")
            await send_views(secured.kafka, config, range(40))
            file.write_text(token(3600))
            await counted(memory, 40)
            await written(secured, config, 40)

    asyncio.run(main())


def test_a_worker_outlives_its_certificates_and_those_of_the_brokers(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    """All are of new CAs when the broker comes back: no connection could be made with the files read at the start."""
    assert kafka.running
    secured = SecuredKafka(tmp_path)

    async def main(thread: ThreadPoolExecutor) -> Memory:
        config = config_for(secured, prefix, secured.login(MUTUAL), **PATIENT)
        await make_topics(config)
        async with worker(config) as memory:
            await until(lambda: memory.recoveries, "the shard has begun")
            await send_views(secured.kafka, config, range(20))
            await counted(memory, 20)
            secured.renew_certificates()
            await asyncio.get_running_loop().run_in_executor(thread, secured.kafka.restart)
            await send_views(secured.kafka, config, range(20, 40))
            await counted(memory, 40)
            await written(secured, config, 40)
        return memory

    with ThreadPoolExecutor(1) as thread:
        thread.submit(secured.kafka.start).result()
        try:
            with capture_logs() as logs, noted_contexts() as threads:
                asyncio.run(main(thread))
        finally:
            thread.submit(secured.kafka.kill).result()
            thread.submit(secured.kafka.stop).result()
    renewed = [line for line in logs if line["event"].startswith("certificates or secrets were renewed")]
    assert renewed
    assert len(threads) >= 2, "one before, one after the renewal"
    assert threading.main_thread() not in threads


def test_files_that_cannot_be_used_yet_change_nothing(secured: SecuredKafka) -> None:
    """Whoever renews a certificate and its key replaces one of them first."""
    key, chain = certificate(trustme.CA())
    cert_file, key_file = secured.file("one.pem", chain.decode()), secured.file("one.key", key.decode())
    login = secured.login(MUTUAL) | {"tls_cert_file": str(cert_file), "tls_key_file": str(key_file)}
    credentials = Credentials(Settings(**login))

    async def main() -> None:
        first = await credentials.current()
        other_key, other_chain = certificate(trustme.CA())
        secured.replace("one.pem", other_chain.decode())
        with capture_logs() as logs:
            assert await credentials.current() is first
        assert [line["event"] for line in logs] == [
            "renewed files cannot be used yet: connections use the earlier ones"
        ]
        secured.replace("one.key", other_key.decode())
        renewed = await credentials.current()
        assert renewed["ssl_context"] is not first["ssl_context"]
        assert await credentials.current() is renewed

    asyncio.run(main())


# -- an endpoint that gives tokens


class _Endpoint(BaseHTTPRequestHandler):
    asked: list[str]

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        type(self).asked.append(asked)
        known = f"liveshop:{CLIENT_SECRET}"
        if self.path == "/away":
            self._answer(302, {}, Location="/elsewhere")
        elif self.headers["Authorization"] != "Basic " + base64.b64encode(known.encode()).decode():
            self._answer(401, {"error": "invalid_client"})
        else:
            self._answer(200, {"access_token": token(60), "expires_in": 60})

    def _answer(self, status: int, content: dict[str, Any], **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it was asked."""
    asked: list[str] = []
    handler = type("Endpoint", (_Endpoint,), {"asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            serving.join()


def by_endpoint(secured: SecuredKafka, url: str) -> dict[str, str]:
    login = {"brokers": secured.kafka.address(OPEN), "security_protocol": "sasl_plaintext"}
    client = {"sasl_client_id": "liveshop", "sasl_scope": "live read"}
    return {**login, "sasl_mechanism": "OAUTHBEARER", "sasl_token_url": url, **client}


def test_one_token_of_the_endpoint_does_for_many_connections(
    secured: SecuredKafka, endpoint: tuple[str, list[str]]
) -> None:
    url, asked = endpoint
    config = Settings.model_validate(by_endpoint(secured, url) | {"sasl_secret": CLIENT_SECRET})

    async def main() -> None:
        await asyncio.gather(*(connect(config) for _ in range(3)))

    asyncio.run(main())
    assert asked == ["grant_type=client_credentials&scope=live+read"]


@pytest.mark.parametrize(
    ("path", "secret", "says"),
    [
        ("/", WRONG, "401 invalid_client: no token for liveshop: check sasl_client_id"),
        ("/away", CLIENT_SECRET, "answered 302"),  # with the secret nobody is sent anywhere else
    ],
)
def test_an_endpoint_that_gives_no_token_is_named(
    secured: SecuredKafka, endpoint: tuple[str, list[str]], path: str, secret: str, says: str
) -> None:
    url, asked = endpoint
    login = by_endpoint(secured, url + path) | {"sasl_secret": secret, "connect_timeout": "4s"}
    with pytest.raises((UsageError, FailedError), match=says) as caught:
        asyncio.run(connect(Settings.model_validate(login)))
    assert secret not in str(caught.value)
    assert set(asked) == {"grant_type=client_credentials&scope=live+read"}


# -- refused


def refused(capsys: pytest.CaptureFixture[str], login: dict[str, Any], **environ: str) -> tuple[Any, str]:
    """Exit code and message of ``liveshop topics show``."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in login.items()]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            cli.main(["topics", "show", "--connect-timeout=4s", *arguments])
    return end.value.code, capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_usage_and_names_user_and_mechanism(
    secured: SecuredKafka, capsys: pytest.CaptureFixture[str], mechanism: str
) -> None:
    login = secured.login(SEALED, mechanism)
    del login["sasl_password_file"]
    code, text = refused(capsys, login, LIVESHOP_SASL_PASSWORD=WRONG)
    assert code == 2
    address = secured.kafka.address(SEALED)
    assert text.startswith(f"liveshop: {address} refuses the {mechanism} login of user {USER}: check sasl_username, ")


def test_a_token_that_has_expired_is_usage(secured: SecuredKafka, capsys: pytest.CaptureFixture[str]) -> None:
    old = secured.file("old", token(-60))
    code, text = refused(capsys, secured.login(OPEN, "OAUTHBEARER") | {"sasl_token_file": old})
    assert code == 2
    assert f"refuses the OAUTHBEARER token of {old}" in text


def test_an_unknown_ca_is_usage(secured: SecuredKafka, capsys: pytest.CaptureFixture[str]) -> None:
    for ca in ({"tls_ca_file": secured.other_ca}, {"tls_ca_file": ""}):  # of others; of the system
        code, text = refused(capsys, secured.login(SEALED, "PLAIN") | ca)
        assert code == 2
        assert "is not to be trusted" in text
        assert "set tls_ca_file" in text


def test_a_certificate_for_another_name_is_usage_unless_names_are_not_looked_at(
    secured: SecuredKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    login = secured.login(SEALED, "PLAIN")
    login["brokers"] = login["brokers"].replace("127.0.0.1", "localhost")
    code, text = refused(capsys, login)
    assert code == 2
    assert "is for another name" in text
    asyncio.run(connect(Settings.model_validate(login | {"tls_check_hostname": "false"})))


def test_no_certificate_and_one_of_a_strange_ca_are_usage(
    secured: SecuredKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    login = secured.login(MUTUAL)
    code, text = refused(capsys, login | {"tls_cert_file": ""})
    assert (code, "it may demand a certificate: set tls_cert_file" in text) == (2, True)
    code, text = refused(capsys, login | {"tls_cert_file": secured.stranger})
    assert (code, f"is {secured.stranger} valid, and of a CA that it trusts?" in text) == (2, True)


def test_a_login_where_none_is_known_is_usage(secured: SecuredKafka, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = refused(capsys, secured.login(OPEN, "PLAIN") | {"brokers": secured.kafka.bootstrap})
    assert code == 2
    assert "knows no login: check the port, or security_protocol" in text


def test_settings_for_an_open_kafka_say_what_may_be_missing(
    secured: SecuredKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = refused(capsys, {"brokers": secured.kafka.address(SEALED)})
    assert code == 1
    assert text.endswith("speaks TLS: set security_protocol to ssl, or to sasl_ssl where it wants a login")


# -- secrets stay secret


def test_a_worker_shows_no_secret(secured: SecuredKafka, prefix: str, tmp_path: Path) -> None:
    """Not in its log at the lowest level, not on its pages, not in its arguments; nor when it is refused."""
    login = {name: str(value) for name, value in secured.login(SEALED, "PLAIN").items()}
    brokers = login.pop("brokers")
    del login["sasl_password_file"]
    live.create_topics(secured.kafka.bootstrap, prefix, partitions=1)
    shown = ""
    for password, code in ((PASSWORD, 0), (WRONG, 2)):
        file, log = tmp_path / f"{code}.toml", tmp_path / f"{code}.log"
        file.write_text(f"sasl_password = '{password}'")
        with live.Worker(brokers, prefix, log, config=str(file), log_level="debug", **login) as process:
            if code:
                assert process.child.wait(PATIENCE) == code
            else:
                process.await_ready()
                shown += "".join(process.get(page)[1] for page in ("/metrics", "/healthz", "/readyz"))
                process.stop()
        shown += log.read_text() + " ".join(process.child.command)
    assert "***" in shown  # the password is among the settings that it shows
    assert f"refuses the PLAIN login of user {USER}" in shown
    for secret in (PASSWORD, WRONG):
        for form in (secret, base64.b64encode(secret.encode()).decode(), repr(secret.encode())[2:-1]):
            assert form not in shown


def test_everything_in_one_go_on_a_secured_kafka(secured: SecuredKafka, tmp_path: Path) -> None:
    """`liveshop run`: topics, worker and simulator all log in, and the topics are deleted at the end."""
    login = secured.login(SEALED, "SCRAM-SHA-512")
    del login["sasl_password_file"]
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in login.items()]
    environ = {**os.environ, "LIVESHOP_SASL_PASSWORD": PASSWORD, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "stream.cli", "run", "--partitions=1", "--http-port=0", *arguments]
    log = tmp_path / "run.log"
    run = Child(command, log=log, environ=environ)
    try:
        live.wait_for("records are read", lambda: re.search("read [1-9]", log.read_text()))
        assert run.stop(PATIENCE) == 0, run.tail()
    finally:
        run.kill()
    assert PASSWORD not in log.read_text()


def test_processes_of_ours_get_secrets_by_their_environment(secured: SecuredKafka) -> None:
    login = secured.login(MUTUAL) | {"tls_cert_file": secured.locked_cert, "tls_key_file": secured.locked_key}
    config = Settings(**login, tls_key_password=SecretStr(KEY_PASSWORD))
    assert environment(config)["LIVESHOP_TLS_KEY_PASSWORD"] == KEY_PASSWORD
    assert KEY_PASSWORD not in " ".join(demo._flags(config))
    assert f"--tls-key-file={secured.locked_key}" in demo._flags(config)
    assert security.options(config.model_copy(update=UNSECURED)) == {"security_protocol": "PLAINTEXT"}


def test_all_connections_of_a_process_share_one_context_until_a_file_is_renewed(tmp_path: Path) -> None:
    authority = trustme.CA()
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    config = Settings(brokers="kafka:9093", security_protocol="ssl", tls_ca_file=file)

    def context(config: Settings) -> Any:
        return asyncio.run(security.options_now(config))["ssl_context"]

    first = context(config)
    assert context(config) is first
    assert context(config.model_copy(update={"tls_check_hostname": False})) is not first
    trustme.CA().cert_pem.write_to_path(file)
    assert context(config) is not first


def test_connections_opened_together_wait_for_one_context_that_is_built_in_a_thread(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    config = Settings(brokers="kafka:9093", security_protocol="ssl", tls_ca_file=file)

    async def together() -> None:
        made = await asyncio.gather(*(Credentials(config).current() for _ in range(12)))
        assert len({id(each["ssl_context"]) for each in made}) == 1
        trustme.CA().cert_pem.write_to_path(file)
        await asyncio.gather(*(Credentials(config).current() for _ in range(12)))

    with noted_contexts() as threads:
        asyncio.run(together())
    assert len(threads) == 2
    assert threading.main_thread() not in threads


def test_no_command_builds_a_context_on_its_loop(secured: SecuredKafka) -> None:
    """Whatever connects, connects by `client.start`, or asks a broker why another failed."""
    config = Settings(**secured.login(MUTUAL))

    async def main() -> None:
        for made in (client.make_admin(config), client.make_reader(config), client.make_producer(config, "contexts")):
            await client.start(made, config)
            await client.end(made)
        assert await security.ask_why(config, client.addresses(config)) == ""
        probe = client.make_probe(config)
        assert await probe.ask() == (1, "")
        await probe.close()

    with noted_contexts() as threads:
        asyncio.run(main())
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_a_file_that_holds_no_certificate_is_one_clear_message(secured: SecuredKafka) -> None:
    login = secured.login(MUTUAL)
    config = Settings(**login)
    broken = config.model_copy(update={"tls_ca_file": secured.file("broken.pem", "no certificate")})
    with pytest.raises(UsageError, match=r"tls_ca_file: .*broken.pem holds no certificates in PEM"):
        asyncio.run(connect(broken))
