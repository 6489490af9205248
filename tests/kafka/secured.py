"""A Kafka that demands TLS and logins, for tests: its certificates, its users, and settings that it lets in."""

import base64
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import trustme
from cryptography.hazmat.primitives import serialization

from stream.sandbox.broker import HOST, EmbeddedKafka
from stream.sandbox.listeners import Listener, Tls

USER: Final = "ann"
PASSWORD: Final = "pw-5f0b2c/+Az9"
KEY_PASSWORD: Final = "key-81d47a"
OPEN, SEALED, MUTUAL, SHORT, FAST = "OPEN", "SEALED", "MUTUAL", "SHORT", "FAST"
"""Listeners: logins in the clear, logins in TLS, certificates of clients instead of logins, logins that end soon, and logins
in TLS that end at once.
"""
SESSION: Final = timedelta(seconds=8)
FAST_SESSION: Final = timedelta(seconds=2)


def token(seconds: float, user: str = USER) -> str:
    """An unsigned JWS that is valid for so long."""
    now = time.time()
    parts = [{"alg": "none"}, {"sub": user, "iat": now, "exp": now + seconds, "scope": "live"}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


class SecuredKafka:
    """The broker, and files for its clients in ``folder``. One process, five secured listeners."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        servers, clients, strangers = trustme.CA(), trustme.CA(), trustme.CA()
        self.ca = self._write("ca.pem", servers.cert_pem.bytes())
        self.other_ca = self._write("other.pem", strangers.cert_pem.bytes())
        self.client = self._write("client.pem", *certificate(clients))
        self.stranger = self._write("stranger.pem", *certificate(strangers))
        key, cert = certificate(clients, KEY_PASSWORD)
        self.locked_key, self.locked_cert = self._write("locked.key", key), self._write("locked.pem", cert)
        self.token = self._write("token", token(3600).encode())
        self.password = self._write("password", PASSWORD.encode() + b"\n")
        key, cert = certificate(servers)
        tls = Tls(key.decode(), cert.decode())
        users = {USER: PASSWORD}
        self.kafka = EmbeddedKafka(
            listeners=(
                Listener(OPEN, users=users),
                Listener(SEALED, tls=tls, users=users),
                Listener(MUTUAL, tls=Tls(tls.key, tls.chain, clients_ca=clients.cert_pem.bytes().decode())),
                Listener(SHORT, users=users, session=SESSION),
                Listener(FAST, tls=tls, users=users, session=FAST_SESSION),
            )
        )

    def file(self, name: str, text: str) -> Path:
        return self._write(name, text.encode())

    def replace(self, name: str, text: str) -> None:
        """As those do it who renew a token: nobody sees half of one."""
        new = self.file(f"{name}.new", text)
        new.replace(self._folder / name)

    def renew_certificates(self) -> None:
        """New CAs, and new certificates of the brokers and of the client: of MUTUAL, from the broker's next start on."""
        servers, clients = trustme.CA(), trustme.CA()
        key, cert = certificate(servers)
        tls = Tls(key.decode(), cert.decode(), clients_ca=clients.cert_pem.bytes().decode())
        self.kafka.listen(Listener(MUTUAL, tls=tls))
        self.replace(self.ca.name, servers.cert_pem.bytes().decode())
        self.replace(self.client.name, b"".join(certificate(clients)).decode())

    def login(self, listener: str, mechanism: str | None = None) -> dict[str, Any]:
        """Settings that this listener lets in."""
        found: dict[str, Any] = {"brokers": self.kafka.address(listener)}
        if listener in {SEALED, MUTUAL, FAST}:
            found["tls_ca_file"] = str(self.ca)
        if listener == MUTUAL:
            found["tls_cert_file"] = str(self.client)
        elif listener in {OPEN, SHORT}:
            found["security_protocol"] = "sasl_plaintext"
        if mechanism == "OAUTHBEARER":
            found |= {"sasl_mechanism": mechanism, "sasl_token_file": str(self.token)}
        elif mechanism is not None:
            found |= {"sasl_mechanism": mechanism, "sasl_username": USER, "sasl_password_file": str(self.password)}
        return found

    def _write(self, name: str, *parts: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(b"".join(parts))
        return path


def certificate(ca: trustme.CA, password: str | None = None) -> tuple[bytes, bytes]:
    """Key in PKCS 8, which is what Kafka reads, and certificate chain, for the address that our brokers have."""
    made = ca.issue_cert(HOST)
    lock = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    key = serialization.load_pem_private_key(made.private_key_pem.bytes(), None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock
    )
    return key, b"".join(part.bytes() for part in made.cert_chain_pems)
