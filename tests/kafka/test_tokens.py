"""Tokens from a file and from an endpoint: nothing is read without bound, and the secret goes to one place or nowhere."""

import asyncio
import json
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from stream.config import Settings, load
from stream.kafka import tokens
from stream.kafka.tokens import EndpointTokens, FileTokens, TokenError, TokenRefusedError
from stream.security_settings import SMALL

SECRET = "cs-9c31ee"
GOOD = json.dumps({"access_token": "abc.def-~+/=", "expires_in": 60}).encode()
Answer = Callable[[BaseHTTPRequestHandler], None]


def saying(content: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@contextmanager
def endpoint(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """Its host and port, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...  # we hang up on it

    with Server(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            serving.join()


def asking(url: str, **more: Any) -> EndpointTokens:
    login = {"security_protocol": "sasl_plaintext", "sasl_mechanism": "OAUTHBEARER", "sasl_client_id": "liveshop"}
    return EndpointTokens(Settings.model_validate({**login, "sasl_token_url": url, "sasl_secret": SECRET, **more}))


def given(provider: EndpointTokens | FileTokens) -> str:
    return asyncio.run(provider.token())


def refusal(answer: Answer) -> str:
    with endpoint(answer) as (host, _), pytest.raises(TokenError) as caught:
        given(asking(f"http://{host}/token"))
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_token_is_handed_out_while_it_is_fresh() -> None:
    with endpoint(saying(GOOD)) as (host, asked):
        provider = asking(f"http://{host}/token")
        assert [given(provider) for _ in range(3)] == ["abc.def-~+/="] * 3
        assert asked == ["/token"]


@pytest.mark.parametrize("life", ["NaN", "Infinity", "-5", '"x"', "1e400", "null", "[]"])
def test_a_life_that_is_none_holds_no_token_for_ever(life: str) -> None:
    with endpoint(saying(b'{"access_token":"abc","expires_in":%b}' % life.encode())) as (host, asked):
        provider = asking(f"http://{host}/")
        assert [given(provider), given(provider)] == ["abc", "abc"]
        assert len(asked) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"7", b'{"access_token":7}', b'{"access_token":""}', b'{"access_token":"a\\u0001b"}', b"\xff",
     b"[" * 60_000, b'{"access_token":"\\ud800"}'],
)  # fmt: skip
def test_what_is_no_answer_gives_no_token(content: bytes) -> None:
    assert "127.0.0.1" in refusal(saying(content))


def test_an_answer_without_end_is_not_read_to_it() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x" * 1_000_000)

    tracemalloc.start()
    try:
        assert f"larger than {SMALL:,} bytes" in refusal(endless)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Each byte comes in time, and the whole never would."""
    monkeypatch.setattr(tokens, "SECONDS", 2.0)
    done = threading.Event()

    def dripping(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        while not done.wait(0.05):
            handler.wfile.write(b" ")

    try:
        began = time.monotonic()
        text = refusal(dripping)
        assert ("longer than 2 s" in text) == (status == 200)
        assert time.monotonic() - began < 30
    finally:
        done.set()


@pytest.mark.parametrize("where", ["http://127.0.0.1:9/", "https://elsewhere.example/", "/token"])
def test_nobody_is_followed_anywhere(where: str) -> None:
    assert "answered 302" in refusal(saying(b"", 302, Location=where))


def test_a_refusal_is_told_by_its_code_alone() -> None:
    with (
        endpoint(saying(b'{"error":"invalid_client","error_description":"pw"}', 401)) as (host, _),
        pytest.raises(TokenRefusedError, match=r"answered 401 invalid_client$"),
    ):
        given(asking(f"http://{host}/"))


def test_a_secret_that_stays_on_this_machine_passes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(saying(GOOD)) as (host, asked), endpoint(saying(b"")) as (proxy, through):
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        given(asking(f"http://{host}/"))
        assert (asked, through) == (["/"], [])


def test_an_endpoint_is_known_by_the_ca_file_and_by_its_name(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    for name, ca in (("ca", authority), ("stranger", stranger)):
        ca.cert_pem.write_to_path(str(tmp_path / name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with endpoint(saying(GOOD), context) as (host, asked):
        url = f"https://{host}/token"
        assert given(asking(url, tls_ca_file=tmp_path / "ca")) == "abc.def-~+/="
        for more in ({}, {"tls_ca_file": tmp_path / "stranger"}):
            with pytest.raises(TokenError, match="certificate verify failed"):
                given(asking(url, **more))
        by_name = asking(url.replace("127.0.0.1", "localhost"), tls_ca_file=tmp_path / "ca", tls_check_hostname=False)
        with pytest.raises(TokenError, match=r"(?i)hostname mismatch|not valid for"):  # whatever holds for brokers
            given(by_name)
        assert asked == ["/token"]


def test_the_ca_file_is_welcome_where_only_the_endpoint_speaks_tls(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca"))
    flags = {
        "security_protocol": "sasl_plaintext",
        "sasl_mechanism": "oauthbearer",
        "sasl_token_url": "https://id.example/token",
        "sasl_client_id": "liveshop",
        "tls_ca_file": str(tmp_path / "ca"),
    }
    assert load(flags, None, {"LIVESHOP_SASL_SECRET": SECRET}).protocol == "sasl_plaintext"


@pytest.mark.parametrize("content", [b"", b"\xff", b"a\x01b", b"two tokens", b"x" * (SMALL + 1)])
def test_a_file_without_a_token_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(TokenError, match=str(file)) as caught:
        given(FileTokens(file))
    assert "two" not in str(caught.value)


def test_a_token_file_is_read_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for token in ("abc", "def"):
        file.write_text(f"{token}\n")
        assert given(FileTokens(file)) == token
