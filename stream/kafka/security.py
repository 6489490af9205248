"""How every connection to Kafka is secured: the settings as options of aiokafka, and why a broker refuses us.

aiokafka logs why it could not connect, tries the next broker, and in the end says only that there was none. What a
person must mend is found out here, by asking the brokers once more.
"""

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import structlog
from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka.diagnosis import Address
from stream.kafka.patches.connection import Connection
from stream.kafka.tokens import TokenRefusedError, provider
from stream.security_settings import FILES, tls_context

log: Final = structlog.get_logger()

Stamps = tuple[tuple[int, int, int] | None, ...]
"""Of each file that is configured, whether it is another one by now."""
ASK_MS: Final = 5_000
"""For one broker to say why."""
NOT_ITS_NAME: Final = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


def options(settings: Settings) -> dict[str, Any]:
    """For any consumer, producer or admin client. UsageError when a file is not (any more) what it should be."""
    made: dict[str, Any] = {"security_protocol": settings.protocol.upper()}
    if settings.uses_tls:
        made["ssl_context"] = _context(settings, _stamps(settings))
    if settings.uses_sasl:
        made["sasl_mechanism"] = settings.sasl_mechanism
        if settings.sasl_mechanism == "OAUTHBEARER":
            made["sasl_oauth_token_provider"] = provider(settings)
        else:
            made |= {"sasl_plain_username": settings.sasl_username, "sasl_plain_password": settings.password()}
    return made


@lru_cache(maxsize=4)
def _context(settings: Settings, _stamps: Stamps) -> ssl.SSLContext:
    """One for all connections of the process: the CAs of a system take 30 ms to read, and a shard has several."""
    return tls_context(settings)


async def prepare(settings: Settings) -> None:
    """Reads the files that connections need in a thread, so that the first ones do not hold up the loop."""
    if settings.uses_tls:
        await asyncio.to_thread(_context, settings, _stamps(settings))


class Credentials:
    """Sees when a file of `options` was replaced: certificates and passwords are renewed while a worker runs.

    Until the new files can be used (one of two may have come), the earlier ones are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamp = _stamps(settings)
        self._options: dict[str, Any] = {}

    def current(self) -> dict[str, Any]:
        """`options` as they are for a connection that is opened now; empty while they are the first ones."""
        stamp = _stamps(self._settings)
        if stamp != self._stamp:
            try:
                self._options = options(self._settings)
            except UsageError as error:
                log.warning("renewed files cannot be used yet, the earlier ones are", why=str(error))
            else:
                self._stamp = stamp
                log.info("certificates or secrets were renewed: new connections use them")
        return self._options


def _stamps(settings: Settings) -> Stamps:
    return tuple(_stamp(file) for name in FILES if (file := getattr(settings, name)) is not None)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def ask_why(settings: Settings, brokers: Iterable[Address]) -> str:
    """Connects to each once. UsageError for what a person must mend, else what the last one failed of, "" when none did."""
    failure = ""
    for host, port in brokers:
        connection = Connection(host, port, client_id="liveshop", request_timeout_ms=ASK_MS, **options(settings))
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
