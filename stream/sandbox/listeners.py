"""Secured listeners of the embedded Kafka: TLS, with a certificate of the client if wished, and SASL. For tests.

The settings are those of Kafka 4. Certificates are PEM, written by whoever makes the listener.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_MODULES: Final = "org.apache.kafka.common.security"
_VALIDATOR: Final = f"{_MODULES}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM texts: the broker's key and certificate chain, and the CA of the clients if they must show a certificate."""

    key: str = field(repr=False)
    chain: str
    clients_ca: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """One more address of the broker. With ``users`` it demands a login: PLAIN and SCRAM with a password of these, or
    OAUTHBEARER with any token in the form of an unsigned JWS, of any user.

    ``session``: how long a login counts, if not for ever. A token's own end ends it too.
    """

    name: str
    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    session: timedelta | None = None

    @property
    def protocol(self) -> Literal["SSL", "PLAINTEXT", "SASL_SSL", "SASL_PLAINTEXT"]:
        if self.users:
            return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"
        return "SSL" if self.tls else "PLAINTEXT"

    def lines(self) -> Iterator[str]:
        """Of server.properties."""
        prefix = f"listener.name.{self.name.lower()}"
        settings = {**self._tls(), **self._sasl()}
        yield from (f"{prefix}.{name}={_escaped(value)}" for name, value in settings.items())

    def scram_users(self) -> Iterator[str]:
        """What the storage is formatted with: SCRAM passwords are part of it, for all listeners."""
        for user, password in self.users.items():
            yield from (f"{mechanism}=[name={user},password={password}]" for mechanism in SCRAM)

    def _tls(self) -> dict[str, str]:
        if self.tls is None:
            return {}
        settings = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.key": self.tls.key,
            "ssl.keystore.certificate.chain": self.tls.chain,
        }
        if self.tls.clients_ca is None:
            return settings
        return settings | {
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": self.tls.clients_ca,
            "ssl.client.auth": "required",
        }

    def _sasl(self) -> dict[str, str]:
        if not self.users:
            return {}
        passwords = " ".join(f'user_{user}="{password}"' for user, password in self.users.items())
        settings = {
            "sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM, "OAUTHBEARER")),
            "plain.sasl.jaas.config": f"{_MODULES}.plain.PlainLoginModule required {passwords};",
            "oauthbearer.sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required;",
            "oauthbearer.sasl.server.callback.handler.class": _VALIDATOR,
        } | {f"{name.lower()}.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;" for name in SCRAM}
        if self.session is not None:
            settings["connections.max.reauth.ms"] = str(self.session // timedelta(milliseconds=1))
        return settings


def _escaped(value: str) -> str:
    """On one line, as Java properties have it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")
