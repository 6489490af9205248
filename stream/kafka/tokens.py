"""Tokens for OAUTHBEARER: from a file that somebody else renews, or from an endpoint for client credentials.

aiokafka asks for one whenever it logs in on a new connection. No message here holds anything of a token or a secret.
"""

import asyncio
import base64
import http.client
import json
import re
import ssl
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import (
    BaseHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.errors import UsageError
from stream.security_settings import SMALL, Stamp, authorities, is_loopback, stamp, token_context
from stream.sources import read_text

SECONDS: Final = 10.0
"""For each step of an answer of the endpoint, and for its whole content."""
LARGEST: Final = SMALL
"""Bytes of an answer; tokens have one or two thousand."""
LONGEST: Final = 1e9
"""Seconds that a token may live; one that says more, or nothing of the kind, is not held."""
FRESH: Final = 0.5
"""Share of its life during which a token is handed out again: a connection is best made with one that lasts."""
REFUSED: Final = frozenset({400, 401, 403})
_CODE: Final = re.compile(r"[a-z_]{1,40}", re.ASCII)
_TOKEN: Final = re.compile(r"[!-~]+")
"""RFC 7628 lets a token be of these; another character, as a control, would end its field of the login."""


class TokenError(KafkaError):  # type: ignore[misc]  # aiokafka is not typed for us
    """There is no token now; there may be one later."""


class TokenRefusedError(TokenError):
    """The endpoint does not give us one."""


def provider(settings: Settings) -> AbstractTokenProvider:
    """Where the settings say that tokens come from. The endpoint is asked for all connections of the process at once."""
    return _endpoint(settings) if settings.sasl_token_file is None else FileTokens(settings.sasl_token_file)


@lru_cache(maxsize=8)
def _endpoint(settings: Settings) -> "EndpointTokens":
    return EndpointTokens(settings)


class FileTokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is not typed for us
    """Reads the file each time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        return await asyncio.to_thread(self._read)

    def _read(self) -> str:
        try:
            token = read_text(self._file, SMALL).strip()
        except (OSError, ValueError) as error:
            raise TokenError(f"the token file {self._file} cannot be read: {type(error).__name__}") from None
        if not token:
            raise TokenError(f"the token file {self._file} is empty")
        if not _TOKEN.fullmatch(token):
            raise TokenError(f"the token file {self._file} holds no token")
        return token


class _NoRedirect(HTTPRedirectHandler):
    """A secret goes to the named endpoint or nowhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(slots=True)
class _CachedToken:
    token: str
    until: float
    """By the monotonic clock: when it is no longer handed out."""


@dataclass(eq=False)
class EndpointTokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is not typed for us
    """Keeps one token and hands it out while it is fresh. Asks from a thread, so that the loop is not held up."""

    settings: Settings
    _lock: Lock = field(default_factory=Lock)
    _cached: _CachedToken | None = None
    _tls: tuple[list[Stamp | None], ssl.SSLContext] | None = None
    """How the endpoint is known, by files that were these."""

    async def token(self) -> str:
        return await asyncio.to_thread(self._current)

    def _current(self) -> str:
        with self._lock:
            if self._cached is None or time.monotonic() >= self._cached.until:
                self._cached = self._asked()
            return self._cached.token

    def _asked(self) -> _CachedToken:
        began = time.monotonic()
        answer = self._answer()
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise TokenError(f"{self.settings.sasl_token_url} answered without an access_token")
        return _CachedToken(token, began + _life(answer.get("expires_in")) * FRESH)

    def _answer(self) -> Any:
        url = self.settings.sasl_token_url or ""
        try:
            with self._opener(url).open(self._request(url), timeout=SECONDS) as answer:
                return json.loads(_content(answer))
        except HTTPError as error:
            with error:
                text = f"{url} answered {error.code}{_reason(error)}"
            if error.code in REFUSED:
                raise TokenRefusedError(text) from None
            raise TokenError(text) from None
        except UsageError as error:
            raise TokenError(str(error)) from None
        except _TooMuchError as error:
            raise TokenError(f"{url} gave no token: {error}") from None
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise TokenError(f"{url} gave no token: {reason}") from None

    def _opener(self, url: str) -> OpenerDirector:
        """Redirected by nobody. What stays on this machine goes through no proxy, which would read it."""
        handlers: list[BaseHandler] = [_NoRedirect(), HTTPSHandler(context=self._context())]
        return build_opener(*handlers, *([ProxyHandler({})] if is_loopback(url) else []))

    def _context(self) -> ssl.SSLContext:
        """One as long as the files are the same: the CAs of a system take 30 ms to read."""
        ours = [] if self.settings.tls_ca_file is None else [self.settings.tls_ca_file]
        stamps = [stamp(file) for file in [*authorities(self.settings), *ours]]
        if self._tls is None or self._tls[0] != stamps:
            self._tls = stamps, token_context(self.settings)
        return self._tls[1]

    def _request(self, url: str) -> Request:
        """RFC 6749, 4.4, with the client's secret in the Authorization header."""
        asked = {"grant_type": "client_credentials"} | (
            {"scope": self.settings.sasl_scope} if self.settings.sasl_scope else {}
        )
        who = f"{self.settings.sasl_client_id}:{self.settings.client_secret()}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(who).decode()}", "Accept": "application/json"}
        return Request(url, data=urlencode(asked).encode(), headers=headers)  # noqa: S310 - http or https: the settings were checked


def _life(said: object) -> float:
    """Seconds; 0 for what is none."""
    try:
        life = float(said)  # type: ignore[arg-type]  # whatever it is
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return life if 0 < life < LONGEST else 0.0


class _TooMuchError(Exception):
    """An answer that is too large or takes too long."""


def _content(answer: http.client.HTTPResponse | HTTPError) -> bytes:
    """All of an answer, unless it goes on and on."""
    content = bytearray()
    until = time.monotonic() + SECONDS
    while piece := answer.read1(LARGEST):
        content += piece
        if len(content) > LARGEST:
            raise _TooMuchError(f"its answer is larger than {LARGEST:,} bytes")
        if time.monotonic() > until:
            raise _TooMuchError(f"its answer takes longer than {SECONDS:g} s")
    return bytes(content)


def _reason(error: HTTPError) -> str:
    """The error code of RFC 6749, when it is one."""
    try:
        code = json.loads(_content(error))["error"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError, _TooMuchError, http.client.HTTPException):
        return ""
    return f" {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
