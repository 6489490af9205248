"""Tokens for OAUTHBEARER: from a file that somebody else renews, or from an endpoint for client credentials.

aiokafka asks for one whenever it logs in on a new connection. No message here holds anything of a token or a secret.
"""

import asyncio
import base64
import json
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from stream.config import Settings
from stream.errors import UsageError

SECONDS: Final = 10.0
"""For one answer of the endpoint."""
FRESH: Final = 0.5
"""Share of its life during which a token is handed out again: a connection is best made with one that lasts."""
REFUSED: Final = frozenset({400, 401, 403})
_CODE: Final = re.compile(r"[a-z_]{1,40}", re.ASCII)


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
            token = self._file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenError(f"the token file {self._file} cannot be read: {type(error).__name__}") from None
        if not token:
            raise TokenError(f"the token file {self._file} is empty")
        return token


class _NoRedirect(HTTPRedirectHandler):
    """A secret goes to the named endpoint or nowhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(slots=True)
class _Held:
    token: str
    until: float
    """By the monotonic clock: when it is no longer handed out."""


@dataclass(eq=False)
class EndpointTokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is not typed for us
    """Keeps one token and hands it out while it is fresh. Asks from a thread, so that the loop is not held up."""

    settings: Settings
    _lock: Lock = field(default_factory=Lock)
    _held: _Held | None = None

    async def token(self) -> str:
        return await asyncio.to_thread(self._current)

    def _current(self) -> str:
        with self._lock:
            if self._held is None or time.monotonic() >= self._held.until:
                self._held = self._asked()
            return self._held.token

    def _asked(self) -> _Held:
        began = time.monotonic()
        answer = self._answer()
        try:
            token, life = answer["access_token"], float(answer.get("expires_in", 0))
        except (TypeError, KeyError, ValueError):
            token, life = None, 0.0
        if not isinstance(token, str) or not token:
            raise TokenError(f"{self.settings.sasl_token_url} answered without an access_token")
        return _Held(token, began + life * FRESH)

    def _answer(self) -> Any:
        url = self.settings.sasl_token_url or ""
        try:
            with build_opener(_NoRedirect).open(self._request(url), timeout=SECONDS) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                text = f"{url} answered {error.code}{_reason(error)}"
            if error.code in REFUSED:
                raise TokenRefusedError(text) from None
            raise TokenError(text) from None
        except UsageError as error:
            raise TokenError(str(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise TokenError(f"{url} gave no token: {reason}") from None

    def _request(self, url: str) -> Request:
        """RFC 6749, 4.4, with the client's secret in the Authorization header."""
        asked = {"grant_type": "client_credentials"} | (
            {"scope": self.settings.sasl_scope} if self.settings.sasl_scope else {}
        )
        who = f"{self.settings.sasl_client_id}:{self.settings.client_secret()}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(who).decode()}", "Accept": "application/json"}
        return Request(url, data=urlencode(asked).encode(), headers=headers)  # noqa: S310 - http or https: the settings were checked


def _reason(error: HTTPError) -> str:
    """The error code of RFC 6749, when it is one."""
    try:
        code = json.loads(error.read(4096))["error"]
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    return f" {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
