"""How every connection to Kafka is secured: the settings as options of aiokafka, and why a broker refuses us.

aiokafka logs why it could not connect, tries the next broker, and in the end says only that there was none. What a
person must mend is found out here, by asking the brokers once more.
"""

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from functools import lru_cache
from threading import Lock
from typing import Any, Final

import structlog
from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka.diagnosis import Address
from stream.kafka.patches.connection import Connection
from stream.kafka.tokens import TokenRefusedError, provider
from stream.security_settings import FILES, Stamp, authorities, stamp, tls_context

log: Final = structlog.get_logger()

Stamps = tuple[Stamp | None, ...]
"""Of each file that is configured, whether it is another one by now."""
_BUILDING: Final = Lock()
"""Several connections that are opened at once wait for one context."""
ASK_MS: Final = 5_000
"""For one broker to say why."""
NOT_ITS_NAME: Final = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def options(settings: Settings) -> dict[str, Any]:
    """For any consumer, producer or admin client, which `secure` gives the certificates. Reads no file of TLS, so that
    the loop is not held up. UsageError when the file of a password is not (any more) what it should be.
    """
    made: dict[str, Any] = {"security_protocol": settings.protocol.upper()}
    if settings.uses_tls:
        made["ssl_context"] = _trusting_nobody()
    if settings.uses_sasl:
        made["sasl_mechanism"] = settings.sasl_mechanism
        if settings.sasl_mechanism == "OAUTHBEARER":
            made["sasl_oauth_token_provider"] = provider(settings)
        else:
            made |= {"sasl_plain_username": settings.sasl_username, "sasl_plain_password": settings.password()}
    return made


@lru_cache(maxsize=1)
def _trusting_nobody() -> ssl.SSLContext:
    """Aiokafka is not made without a context. No connection is opened with this one, and if one were, it would fail."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def options_now(settings: Settings) -> dict[str, Any]:
    """`options` of one connection that is opened now, with its certificates. UsageError as there, for any file."""
    if settings.protocol == "plaintext":
        return options(settings)
    return await asyncio.to_thread(_read, settings, _stamps(settings))


def _read(settings: Settings, stamps: Stamps) -> dict[str, Any]:
    """For a thread: the CAs of a system take 30 ms to read."""
    made = options(settings)
    if settings.uses_tls:
        with _BUILDING:
            made["ssl_context"] = _context(settings, stamps)
    return made


@lru_cache(maxsize=4)
def _context(settings: Settings, _stamps: Stamps) -> ssl.SSLContext:
    """One for all connections of the process, as long as the files are the same."""
    return tls_context(settings)


class Credentials:
    """Sees when a file of `options` was replaced: certificates and passwords are renewed while a worker runs.

    Until the new files can be used (one of two may have come), the earlier ones are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamps: Stamps | None = None
        """Of what was read last; None before the first time."""
        self._options: dict[str, Any] = {}

    async def current(self) -> dict[str, Any]:
        """`options_now`, read anew when a file was replaced. UsageError only the first time."""
        stamps = _stamps(self._settings)
        if stamps == self._stamps:
            return self._options
        try:
            made = await options_now(self._settings)
        except UsageError as error:
            if self._stamps is None:
                raise
            log.warning("renewed files cannot be used yet: connections use the earlier ones", why=str(error))
            return self._options
        if self._stamps not in {None, stamps}:  # another connection may have been quicker
            log.info("certificates or secrets were renewed: new connections use them")
        self._stamps, self._options = stamps, made
        return made


def _stamps(settings: Settings) -> Stamps:
    files = [file for name in FILES if (file := getattr(settings, name)) is not None]
    return tuple(stamp(file) for file in [*files, *authorities(settings)])


async def ask_why(settings: Settings, brokers: Iterable[Address]) -> str:
    """Connects to each once. UsageError for what a person must mend, else what the last one failed of, "" when none did."""
    failure = ""
    made = await options_now(settings)
    for host, port in brokers:
        connection = Connection(host, port, client_id="liveshop", request_timeout_ms=ASK_MS, **made)
        try:
            await connection.connect()
        except Exception as error:  # noqa: BLE001 - aiokafka lets out whatever a library raises; that it failed is the point
            text = _refusal(error, f"{host}:{port}", settings)
            if text is not None:
                raise UsageError(text) from None
            failure = str(error) or type(error).__name__
        else:
            await connection.ended()
    return failure


def _refusal(error: BaseException, broker: str, settings: Settings) -> str | None:
    """What to tell people; None when waiting may help."""
    for cause in _causes(error):
        match cause:
            case TokenRefusedError():
                return (
                    f"{cause}: no token for {settings.sasl_client_id}: check sasl_client_id, its secret and sasl_scope"
                )
            case UnsupportedSaslMechanismError():
                return f"{broker} does not know sasl_mechanism {settings.sasl_mechanism}: {cause.args[0]}"
            case IllegalSaslStateError():
                return f"{broker} knows no login: check the port, or security_protocol, which is {settings.protocol}"
            case SaslAuthenticationFailed():
                return _login_refused(broker, settings)
            case ssl.SSLCertVerificationError():
                return _certificate_refused(cause, broker)
            case ssl.SSLError() if "ALERT" in (cause.reason or ""):
                return _alert(cause, broker, settings)
            case ssl.SSLError() if cause.reason in NO_TLS:
                return (
                    f"{broker} does not speak TLS: check the port, or security_protocol, which is {settings.protocol}"
                )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__


def _login_refused(broker: str, settings: Settings) -> str:
    if settings.sasl_mechanism == "OAUTHBEARER":
        origin = settings.sasl_token_file or settings.sasl_token_url
        return (
            f"{broker} refuses the OAUTHBEARER token of {origin}: "
            "it must be of the issuer, the audience and the scope that the broker wants, and not be expired"
        )
    return (
        f"{broker} refuses the {settings.sasl_mechanism} login of user {settings.sasl_username}: "
        "check sasl_username, sasl_password (or its file) and sasl_mechanism"
    )


def _certificate_refused(error: ssl.SSLCertVerificationError, broker: str) -> str:
    if error.verify_code in NOT_ITS_NAME:
        return (
            f"the certificate of {broker} is for another name ({error.verify_message.rstrip('.')}): name the broker as its "
            "certificate does, or set tls_check_hostname to false"
        )
    return (
        f"the certificate of {broker} is not to be trusted ({error.verify_message}): set tls_ca_file to the CA that "
        "has signed it"
    )


def _alert(error: ssl.SSLError, broker: str, settings: Settings) -> str:
    reason = (error.reason or "").replace("_", " ").lower()
    if settings.tls_cert_file is None:
        return (
            f"{broker} refuses TLS with us ({reason}): it may demand a certificate: set tls_cert_file and tls_key_file"
        )
    return f"{broker} refuses TLS with us ({reason}): is {settings.tls_cert_file} valid, and of a CA that it trusts?"
