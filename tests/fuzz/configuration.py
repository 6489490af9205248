"""Settings from flags, environment and file: accepted, or refused with every problem, never quoting a secret."""

from random import Random
from typing import Final

from stream.config import SETTINGS, ConfigError, load
from tests.fuzz.damage import damaged, repeated
from tests.fuzz.target import Bound, Input, scratch_file

NAMES: Final = tuple(setting.name.encode() for setting in SETTINGS)
SECRET: Final = "hunter2hunter2"
VALUES: Final = (
    *(
        b"",
        b"0",
        b"1",
        b"-1",
        b"1m",
        b"5m/1m",
        b"1m,5m/1m",
        b"99999999999999999999d",
        b"1e9",
        b"nan",
        b"inf",
        b"yes",
        b"x" * 300,
    ),
    *(
        b"host:9092",
        b"host:99999999",
        b"[::1]:9092",
        b",",
        b"h:1,h:2",
        b"/dev/null",
        b"..",
        b"\xff",
        b"\x00",
        b"IDR",
        b"0.5",
    ),
    *(
        b"https://h/t",
        b"http://h/t",
        b"1_000",
        b"0x10",
        "\u0661".encode(),
        b"1" * 5000,
        b"none",
        b"default",
        b"scram-sha-256",
    ),
)
TOML: Final = b'brokers = "h:9092"\nwindows = "1m,5m/1m"\nmax_value = 1000\nbad_share = 0.5\n[x]\ny = [1, {z = 2}]\n'
TOKENS: Final = (
    *NAMES,
    *VALUES,
    b" = ",
    b"\n",
    b'"',
    b"'''",
    b"[",
    b"]",
    b"{",
    b"}",
    b"[[",
    b"a.b.c",
    b"#",
    b"1979-05-27",
    b"\\u0000",
)


def make(random: Random) -> bytes:
    """Bytes that choose flags and variables, then a file."""
    parts = [bytes([random.randrange(4)])]
    for _ in range(parts[0][0]):
        value = random.choice(VALUES)
        value = (damaged(random, value, VALUES) if random.random() < 0.5 else value)[:255]
        parts.append(bytes([random.randrange(len(NAMES)), random.randrange(2), len(value)]) + value)
    if random.random() < 0.5:
        parts.append(
            repeated(random, TOML, TOKENS, 200_000) if random.random() < 0.1 else damaged(random, TOML, TOKENS)
        )
    return b"".join(parts)


def run(data: bytes) -> None:
    given = Input(data)
    flags: dict[str, str | None] = {}
    environ = {"LIVESHOP_SASL_PASSWORD": SECRET}
    for _ in range(given.byte() % 4):
        setting, where, value = SETTINGS[given.byte() % len(SETTINGS)], given.byte(), given.some()
        text = value.replace(b"\x00", b"").decode(errors="surrogateescape")
        if where % 2:
            environ[setting.env] = text
        elif not setting.secret:
            flags[setting.name] = text
    content = given.rest()
    file = scratch_file(".toml")
    file.write_bytes(content)
    try:
        settings = load(flags, file if content else None, environ)
        said = f"{settings!r} {settings.shown()}"
        settings.policy()
    except ConfigError as error:
        said = str(error)
    assert SECRET not in said
    assert len(said) < 20_000


BOUND: Final = Bound(seconds=1.0, seconds_a_byte=20e-6, memory_a_byte=500.0)
