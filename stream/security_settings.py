"""The settings of a secured Kafka: TLS and SASL, what is wrong with them together, and the secrets they lead to.

Secrets come from the environment, from the settings file or from files of their own, never from flags, which every
user of a machine can see. Files of secrets are read when they are needed, so that a renewed one is found.
"""

import os
import ssl
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, SecretStr

from stream.errors import UsageError
from stream.sources import TooLargeError, read_text

SMALL: Final = 64 * 1024
"""Bytes of a file with a password, a secret or a token."""
PEM: Final = 10_000_000
"""Bytes of a file with keys or certificates: the CAs of a whole system are a quarter of a megabyte."""


def _or_none(change: Callable[[str], str] = str) -> BeforeValidator:
    """An empty text is as good as none."""
    return BeforeValidator(lambda value: (change(value) or None) if isinstance(value, str) else value)


Protocol: TypeAlias = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
Mechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
Text: TypeAlias = Annotated[str | None, _or_none()]
File: TypeAlias = Annotated[Path | None, _or_none()]
Secret: TypeAlias = Annotated[SecretStr | None, _or_none()]


class Security(BaseModel):
    """The part of the settings that every connection to Kafka is made with."""

    security_protocol: Annotated[Protocol | None, _or_none(str.lower)] = Field(
        default=None,
        description="plaintext, ssl, sasl_plaintext or sasl_ssl; not given: sasl_ssl with a sasl_mechanism, ssl with any "
        "tls_ file, else plaintext",
    )
    tls_ca_file: File = Field(default=None, description="PEM file of the CAs of the brokers; default the system's")
    tls_cert_file: File = Field(
        default=None, description="PEM file of the client certificate, for brokers that require one"
    )
    tls_key_file: File = Field(
        default=None, description="PEM file of its private key, if tls_cert_file does not hold it"
    )
    tls_key_password: Secret = Field(default=None, description="password of the private key")
    tls_key_password_file: File = Field(
        default=None, description="file with the password of the private key; or LIVESHOP_TLS_KEY_PASSWORD itself"
    )
    tls_check_hostname: bool = Field(
        default=True, description="whether a broker's certificate must name the host of the connection"
    )
    sasl_mechanism: Annotated[Mechanism | None, _or_none(str.upper)] = Field(
        default=None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
    )
    sasl_username: Text = Field(default=None, description="user of PLAIN and SCRAM")
    sasl_password: Secret = Field(default=None, description="password of PLAIN and SCRAM")
    sasl_password_file: File = Field(
        default=None, description="file with the password of PLAIN and SCRAM; or LIVESHOP_SASL_PASSWORD itself"
    )
    sasl_token_file: File = Field(
        default=None, description="OAUTHBEARER: file with a token that another program renews; read for each connection"
    )
    sasl_token_url: Text = Field(
        default=None,
        description="OAUTHBEARER: endpoint that gives tokens for client credentials: https, or http on this machine; "
        "trusted by the system's CAs and by those of tls_ca_file",
    )
    sasl_client_id: Text = Field(default=None, description="OAUTHBEARER: client id for sasl_token_url")
    sasl_secret: Secret = Field(default=None, description="OAUTHBEARER: the secret of sasl_client_id")
    sasl_secret_file: File = Field(
        default=None, description="file with the secret of sasl_client_id; or LIVESHOP_SASL_SECRET itself"
    )
    sasl_scope: Text = Field(default=None, description="OAUTHBEARER: scope to request from sasl_token_url")

    @property
    def protocol(self) -> Protocol:
        """The one in force. A login goes through TLS unless somebody says otherwise."""
        if self.security_protocol is not None:
            return self.security_protocol
        if self.sasl_mechanism is not None:
            return "sasl_ssl"
        return "ssl" if _given(self, _TLS) else "plaintext"

    @property
    def uses_tls(self) -> bool:
        return self.protocol.endswith("ssl")

    @property
    def uses_sasl(self) -> bool:
        return self.protocol.startswith("sasl_")

    def key_password(self) -> str | None:
        return read_secret(self.tls_key_password, self.tls_key_password_file)

    def password(self) -> str | None:
        return read_secret(self.sasl_password, self.sasl_password_file)

    def client_secret(self) -> str | None:
        return read_secret(self.sasl_secret, self.sasl_secret_file)


UNSECURED: Final[dict[str, Any]] = {name: field.default for name, field in Security.model_fields.items()}
"""What to change to reach a Kafka that is not secured."""

_TLS: Final = ("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_key_password", "tls_key_password_file")
_PASSWORD: Final = ("sasl_username", "sasl_password", "sasl_password_file")
_CLIENT: Final = ("sasl_client_id", "sasl_secret", "sasl_secret_file", "sasl_scope")
_TOKEN: Final = ("sasl_token_file", "sasl_token_url", *_CLIENT)
FILES: Final = tuple(name for name in Security.model_fields if name.endswith("_file"))
"""Settings that name a file."""
_SECRETS: Final = tuple(name for name in FILES if name.removesuffix("_file") in Security.model_fields)


def read_secret(value: SecretStr | None, file: Path | None) -> str | None:
    """The value, or what the file holds but for the newline at its end. UsageError when it cannot be read."""
    if value is not None or file is None:
        return None if value is None else value.get_secret_value()
    try:
        return read_text(file, SMALL).rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {_why(error)}") from None


def tls_context(settings: Security) -> ssl.SSLContext:
    """How connections are encrypted. UsageError for files that do not hold what they should."""
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca_file)
    except (OSError, ValueError) as error:
        raise _no_authorities(settings, error) from None
    context.check_hostname = settings.tls_check_hostname
    if settings.tls_cert_file is not None:
        _show_certificate(context, settings, settings.tls_cert_file)
    return context


def _show_certificate(context: ssl.SSLContext, settings: Security, certificate: Path) -> None:
    password = settings.key_password() or ""
    try:
        context.load_cert_chain(certificate, settings.tls_key_file, lambda: password)  # else OpenSSL asks the terminal
    except (OSError, ValueError) as error:
        key = settings.tls_key_file or certificate
        raise UsageError(
            f"tls_cert_file: {certificate} with the private key in {key} cannot be used ({_why(error)}): both must be PEM "
            "and belong together, and tls_key_password must be that of the key, if it has one"
        ) from None


def token_context(settings: Security) -> ssl.SSLContext:
    """How the endpoint of ``sasl_token_url`` is known: by the system's CAs, as it may be a public one, or by ours.

    Its name is always checked. UsageError when ``tls_ca_file`` does not hold what it should (any more).
    """
    context = ssl.create_default_context()
    if settings.tls_ca_file is not None:
        try:
            context.load_verify_locations(settings.tls_ca_file)
        except (OSError, ValueError) as error:
            raise _no_authorities(settings, error) from None
    return context


Stamp: TypeAlias = tuple[int, int, int]
"""Of a file: two of them differ when it was replaced or written to between."""


def stamp(file: Path) -> Stamp | None:
    """None when it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def authorities(settings: Security) -> list[Path]:
    """The file with the CAs of the system, where they are one file, if brokers or a token endpoint are known by them."""
    file = ssl.get_default_verify_paths().cafile or ""
    known_by_ours = settings.tls_ca_file is not None and settings.sasl_token_url is None
    return [Path(file)] if file and not known_by_ours else []


def _no_authorities(settings: Security, error: Exception) -> UsageError:
    return UsageError(f"tls_ca_file: {settings.tls_ca_file} holds no certificates in PEM ({_why(error)})")


def is_loopback(url: str) -> bool:
    """Whether what is sent there stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: Exception) -> str:
    """In a few words, and without anything of what a file holds."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").replace("_", " ").lower()
    if isinstance(error, TooLargeError):
        return str(error)
    return (error.strerror or "unreadable") if isinstance(error, OSError) else "not text in UTF-8"


def _given(settings: Security, names: Iterable[str]) -> list[str]:
    return [name for name in names if getattr(settings, name) is not None]


# -- what is wrong


def _file_errors(name: str) -> Callable[[Security], list[str]]:
    def check(settings: Security) -> list[str]:
        file: Path | None = getattr(settings, name)
        if file is None:
            return []
        if not file.is_file():
            return [f"{name}: {file} is not there"]
        if not os.access(file, os.R_OK):
            return [f"{name}: {file} may not be read by this user"]
        size, most = file.stat().st_size, PEM if name in _TLS and name not in _SECRETS else SMALL
        if size > most:
            return [f"{name}: {file} is larger than {most:,} bytes: is it the right one?"]
        return [] if size else [f"{name}: {file} is empty"]

    return check


def _either(name: str) -> Callable[[Security], list[str]]:
    plain = name.removesuffix("_file")
    return lambda settings: (
        [f"{name}: give this or {plain}, not both"] if len(_given(settings, (name, plain))) > 1 else []
    )


def _protocol_errors(settings: Security) -> list[str]:
    protocol, mechanism = settings.protocol, settings.sasl_mechanism
    if settings.uses_sasl and mechanism is None:
        return [f"sasl_mechanism: is needed with security_protocol {protocol}: PLAIN, SCRAM-SHA-512, OAUTHBEARER …"]
    if mechanism is not None and not settings.uses_sasl:
        return [f"sasl_mechanism: {protocol} knows no login: make security_protocol sasl_ssl, or leave this out"]
    return []


def _stray_errors(settings: Security) -> list[str]:
    """What would be ignored was meant to do something."""
    unused = _TLS[1:] if settings.sasl_token_url else _TLS  # the CAs are the token endpoint's, too
    stray = {} if settings.uses_tls else dict.fromkeys(_given(settings, unused), f"{settings.protocol} knows no TLS")
    if settings.sasl_mechanism is None:
        why = "nobody logs in without a sasl_mechanism"
        stray |= dict.fromkeys(_given(settings, (*_PASSWORD, *_TOKEN)), why)
    else:
        foreign = _PASSWORD if settings.sasl_mechanism == "OAUTHBEARER" else _TOKEN
        stray |= dict.fromkeys(_given(settings, foreign), f"{settings.sasl_mechanism} has no use for it")
    return [f"{name}: {why}" for name, why in stray.items()]


def _login_errors(settings: Security) -> list[str]:
    mechanism = settings.sasl_mechanism
    if mechanism is None:
        return []
    if mechanism != "OAUTHBEARER":
        return _lacking(settings, mechanism, "sasl_username") + _lacking(settings, mechanism, *_PASSWORD[1:])
    problems = _lacking(settings, mechanism, "sasl_token_file", "sasl_token_url")
    if settings.sasl_token_url is None:
        return problems + [f"{name}: goes with sasl_token_url" for name in _given(settings, _CLIENT)]
    if settings.sasl_token_file is not None:
        problems.append("sasl_token_file: give this or sasl_token_url, not both")
    return [
        *problems,
        *_lacking(settings, "sasl_token_url", _CLIENT[0]),
        *_lacking(settings, "sasl_token_url", *_CLIENT[1:3]),
    ]


def _lacking(settings: Security, what: str, *names: str) -> list[str]:
    return [] if _given(settings, names) else [f"{names[0]}: {what} needs {' or '.join(names)}"]


_IN_THE_CLEAR: Final = (
    "sasl_token_url: http would send the secret and the token in the clear: make it https, with tls_ca_file when "
    "its CA is not one of the system's; http is for this machine alone (127.0.0.1, localhost)"
)


def _url_errors(settings: Security) -> list[str]:
    url = settings.sasl_token_url
    if url is None:
        return []
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at, it may be none
    except ValueError as error:
        return [f"sasl_token_url: {str(error)[:1].lower()}{str(error)[1:]}"]
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return ["sasl_token_url: must begin with https:// and a host"]
    if parts.username or parts.password:
        return ["sasl_token_url: must not hold a user or a password: give sasl_client_id and its secret"]
    if parts.scheme == "http" and not is_loopback(url):
        return [_IN_THE_CLEAR]
    return []


def _tls_errors(settings: Security) -> list[str]:
    """The files are tried out, once it is known that they are there."""
    if settings.tls_cert_file is None and (needing := _given(settings, _TLS[2:])):
        return [f"{name}: is of no use without tls_cert_file" for name in needing]
    if any(_file_errors(name)(settings) for name in _TLS if name in FILES):
        return []
    try:
        if settings.uses_tls:
            tls_context(settings)
        elif settings.sasl_token_url is not None:
            token_context(settings)
    except UsageError as error:
        return [str(error)]
    return []


CHECKS: Final[tuple[tuple[frozenset[str], Callable[[Security], list[str]]], ...]] = (
    *((frozenset({name}), _file_errors(name)) for name in FILES),
    *((frozenset({name, name.removesuffix("_file")}), _either(name)) for name in _SECRETS),
    (frozenset({"security_protocol", "sasl_mechanism", *_TLS}), _protocol_errors),
    (frozenset({"security_protocol", "sasl_mechanism", *_TLS, *_PASSWORD, *_TOKEN}), _stray_errors),
    (frozenset({"sasl_mechanism", *_PASSWORD, *_TOKEN}), _login_errors),
    (frozenset({"sasl_token_url"}), _url_errors),
    (frozenset({"security_protocol", "sasl_mechanism", "sasl_token_url", "tls_check_hostname", *_TLS}), _tls_errors),
)
"""Checks with the settings they look at: one is made only when each of these is right by itself."""
