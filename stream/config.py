"""Settings: one frozen object, read once at start from flags, environment, file and defaults, in that order.

The class ``Settings`` is the one table of settings: its field names, help texts and defaults make the flags, the
environment variables (``LIVESHOP_<NAME>``), the keys of the file and the documentation. Everything wrong is reported
together, each problem naming where the value came from. Core functions are given their policy, never ``Settings``.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticUndefined

from stream import sources
from stream.core.policy import Policy, fingerprint
from stream.durations import duration_text, parse_duration, parse_windows, windows_text
from stream.errors import UsageError
from stream.model.money import EXPONENTS
from stream.security_settings import CHECKS, Security
from stream.sources import Given

LONGEST: Final = timedelta(days=400)

_quoted: Final = Repr()
_quoted.maxstring = _quoted.maxother = 100
"""How a wrong value is quoted: a file may hold one of any length or depth."""


class ConfigError(UsageError):
    """Everything that is wrong with the configuration: one text a problem, each naming the setting and its source."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("the configuration is wrong:\n" + "\n".join(f"  - {problem}" for problem in self.problems))


def _one_line(value: object) -> object:
    """A TOML list of windows or brokers means the same as the text with commas."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return value


def _check_windows(text: str) -> str:
    parse_windows(text)
    return text


def _check_brokers(text: str) -> str:
    for broker in text.split(","):
        host, _, port = broker.strip().rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
            raise ValueError(f"{broker.strip()!r} is not host:port")
    return ",".join(broker.strip() for broker in text.split(","))


def _check_currency(code: str) -> str:
    if code not in EXPONENTS:
        near = get_close_matches(code.upper(), EXPONENTS, 1)
        raise ValueError(f"no currency of ISO 4217{f', did you mean {near[0]}?' if near else ''}")
    return code


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no value here")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration), Field(gt=timedelta(0), le=LONGEST)]
DurationOrZero: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration), Field(ge=timedelta(0), le=LONGEST)]
KafkaName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]*$", max_length=100)]
Count: TypeAlias = Annotated[int, BeforeValidator(_not_bool)]
Share: TypeAlias = Annotated[float, BeforeValidator(_not_bool)]
Windows: TypeAlias = Annotated[str, BeforeValidator(_one_line), AfterValidator(_check_windows)]
Brokers: TypeAlias = Annotated[str, BeforeValidator(_one_line), AfterValidator(_check_brokers)]
Currency: TypeAlias = Annotated[str, AfterValidator(_check_currency)]


class Settings(Security):
    """What was configured. ``load`` makes one from all sources; a test may construct one and gets the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # where
    brokers: Brokers | None = Field(default=None, description="Kafka brokers, host:port with commas between")
    group: KafkaName = Field(
        default="liveshop", min_length=1, description="consumer group; all workers of one installation share it"
    )
    topic_prefix: KafkaName = Field(default="", description="prefix of every topic name")
    http_host: str = Field(default="127.0.0.1", min_length=1, description="address that /metrics and health listen on")
    http_port: Count = Field(
        default=9464, ge=0, lt=2**16, description="port of /metrics and health; 0 takes any free one"
    )
    # what is counted
    windows: Windows = Field(
        default="1m,5m/1m",
        description="windows: size, or size/slide for a hopping window; they start by UTC, so 1d is a day in UTC",
    )
    delay: DurationOrZero = Field(
        default=timedelta(seconds=10), description="how long a window stays open for late events"
    )
    lateness: DurationOrZero = Field(
        default=timedelta(minutes=5), description="how long after that a late event still corrects the closed window"
    )
    max_future: DurationOrZero = Field(
        default=timedelta(seconds=60),
        description="an event further ahead of its record's broker timestamp is refused",
    )
    state_retention: Duration = Field(
        default=timedelta(hours=1),
        description="how long a pane is kept behind the newest topic clock, beyond the longest window",
    )
    session_end_after: Duration = Field(
        default=timedelta(minutes=15), description="a session has ended after so long without a view or comment"
    )
    end_grace: DurationOrZero = Field(
        default=timedelta(minutes=2), description="a session has ended so long after its host's end"
    )
    session_keep: DurationOrZero = Field(
        default=timedelta(hours=24), description="how long the totals of an ended session are held"
    )
    late_totals: DurationOrZero = Field(
        default=timedelta(hours=24),
        description="how late a checkout still counts in its session's totals, though its windows are final; at most 24h",
    )
    totals_every: Duration = Field(
        default=timedelta(seconds=10), description="event time between two records of one session's totals"
    )
    currency: Currency = Field(default="IDR", description="currency that ranked lists are sorted by")
    max_value: Count = Field(
        default=2**20, ge=1024, le=4_000_000, description="largest value of a record, in bytes; a larger one is refused"
    )
    max_batch: Count = Field(
        default=32 * 2**20,
        ge=2**20,
        le=2**30,
        description="largest unpacked batch of a producer, in bytes; a larger one is refused as a whole",
    )
    trust_producer_time: bool = Field(
        default=False,
        description="count records that producers stamped (CreateTime); one wrong clock can make other events late",
    )
    max_new_sessions: Count = Field(
        default=20_000,
        ge=1,
        le=10_000_000,
        description="new sessions that an input partition admits in a pane; events of further ones are refused",
    )
    max_sessions: Count = Field(
        default=200_000,
        ge=1,
        le=10_000_000,
        description="sessions that an input partition knows at a time; events of further ones are refused",
    )
    rules: str = Field(
        default="default",
        min_length=1,
        description="file of alert rules; default: the rules that come with liveshop; none: no alerts",
    )
    # how the worker goes about it
    idle_after: Duration = Field(
        default=timedelta(seconds=5),
        description="a caught-up topic is left out of the watermark after so long without a record",
    )
    checkpoint_every: Duration = Field(
        default=timedelta(seconds=1), description="time between two transactions of a shard"
    )
    buffer_memory: Count = Field(
        default=128 * 2**20,
        ge=16 * 2**20,
        description="bytes that all shards of a process may hold between reading and committing",
    )
    start_at: Literal["earliest", "latest"] = Field(
        default="earliest", description="where a shard without a state begins"
    )
    state_format: Literal["keep", "newest"] = Field(
        default="keep",
        description="keep: a state of an earlier version keeps its format, so that you can roll back; newest: upgrade it",
    )
    connect_timeout: Duration = Field(
        default=timedelta(seconds=60), description="how long a command tries to reach a broker when it starts"
    )
    stuck_after: Duration = Field(
        default=timedelta(seconds=60),
        description="the worker exits when a shard with records to read has not moved for so long",
    )
    session_timeout: Duration = Field(
        default=timedelta(seconds=10),
        le=timedelta(minutes=30),
        description="the group removes a worker after so long without a heartbeat",
    )
    heartbeat_every: Duration = Field(
        default=timedelta(seconds=2), description="time between two heartbeats to the group"
    )
    revoke_deadline: Duration = Field(
        default=timedelta(seconds=5), description="time that a revoked shard has for its last checkpoint"
    )
    transaction_timeout: Duration = Field(
        default=timedelta(seconds=10),
        le=timedelta(minutes=15),
        description="the broker aborts a transaction after so long",
    )
    # what is shown
    top_sessions: Count = Field(
        default=20, ge=0, le=10_000, description="number of busiest sessions with metrics of their own"
    )
    bad_share: Share = Field(
        default=0.5,
        gt=0,
        le=1,
        description="the worker is unready while a larger share of a topic's records is rejected",
    )
    warn_share: Share = Field(
        default=0.05,
        gt=0,
        le=1,
        description="the log and /readyz warn while a larger share of a topic's records is late, repeated or refused",
    )
    bad_minimum: Count = Field(
        default=100, ge=1, description="with fewer records a minute, bad_share and warn_share do not apply"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON elsewhere"
    )

    def policy(self) -> Policy:
        """What the pure core needs. Raises ValueError for settings that do not go together; ``load`` has checked."""
        return Policy(**_policy_values(self))  # type: ignore[arg-type]

    def topic(self, name: str) -> str:
        """The name on the broker of the topic that the code calls ``name``."""
        return self.topic_prefix + name

    def as_flags(self, names: Collection[str]) -> list[str]:
        """The words of a command line that give those of ``names`` that are no defaults. Secrets are not among them."""
        values = {name: _text(getattr(self, name)) for name in names if not _is_secret(name)}
        defaults = {setting.name: setting.default for setting in SETTINGS}
        given = ((name, value) for name, value in values.items() if value != defaults[name])
        return [word for name, value in given for word in (sources.flag(name), value)]

    @property
    def fingerprint(self) -> str:
        """The same for all workers that go by the same settings: of all but secrets and where each listens."""
        left_out = {"http_host", "http_port", *(name for name in type(self).model_fields if _is_secret(name))}
        return fingerprint({name: text for name, text in self.shown().items() if name not in left_out})

    def shown(self) -> dict[str, str]:
        """Every setting as text, with units, for the log at start. Secrets are ``***``."""
        return {name: _text(getattr(self, name)) for name in type(self).model_fields}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: how a setting is called on the command line, in the environment and in the file."""

    name: str
    help: str
    default: str
    secret: bool = False
    """Never a flag, which all users of the machine could see."""

    @property
    def flag(self) -> str:
        return sources.flag(self.name)

    @property
    def env(self) -> str:
        return sources.variable(self.name)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return "***"
        case timedelta():
            return duration_text(value)
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _is_secret(name: str) -> bool:
    annotation = Settings.model_fields[name].annotation
    return SecretStr in (annotation, *get_args(annotation))


def _table() -> tuple[Setting, ...]:
    fields = sorted(Settings.model_fields.items(), key=lambda item: item[0] in Security.model_fields)  # those come last
    return tuple(
        Setting(
            name,
            field.description or "",
            "" if field.default is PydanticUndefined else _text(field.default),
            _is_secret(name),
        )
        for name, field in fields
    )


SETTINGS: Final = _table()

CONNECTION: Final = ("brokers", "connect_timeout", *Security.model_fields)
"""The settings that every command needs which connects to Kafka."""

_PLAIN: Final = ("currency", "max_value", "max_batch", "max_new_sessions", "max_sessions", "trust_producer_time")
"""Those of the policy that are no durations."""
_IN_POLICY: Final = (
    *("delay", "lateness", "max_future", "state_retention"),
    *("session_end_after", "end_grace", "session_keep", "late_totals", "totals_every"),
)
DECIDING: Final = ("windows", *_IN_POLICY, *_PLAIN)
"""The settings that decide results: who restores a state needs them all."""


def _policy_values(settings: Settings) -> dict[str, object]:
    durations = {f"{name}_ms": getattr(settings, name) // timedelta(milliseconds=1) for name in _IN_POLICY}
    windows = parse_windows(settings.windows)
    plain = {name: getattr(settings, name) for name in _PLAIN}
    return {"windows": windows, **plain, **durations}


@dataclass(frozen=True, slots=True)
class Change:
    """A setting under which a state was counted, and ours: both as people write them."""

    flag: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.flag} was {self.old}, is now {self.new}"


def changes(found: Iterable[tuple[str, object, object]]) -> list[Change]:
    """``found``: names and values as `Policy.deciding` has them, and a state stores them."""
    return [Change(_flag_of(name), as_written(name, old), as_written(name, new)) for name, old, new in found]


def _flag_of(name: str) -> str:
    """A bound that is no setting keeps its name."""
    bare = name.removesuffix("_ms")
    return sources.flag(bare) if bare in Settings.model_fields else bare


def as_written(name: str, value: object) -> str:
    """The value of a setting of a policy, as people write it: ``1m,5m/1m``, ``10s``, ``yes``.

    What a state of another version says, and this one cannot write, is quoted.
    """
    try:
        match value:
            case None:
                return "not there"
            case list() | tuple():
                return windows_text(value)
            case int() if name.endswith("_ms"):
                return duration_text(timedelta(milliseconds=value))
            case _:
                return _text(value)
    except (TypeError, ValueError, OverflowError):
        return _quoted.repr(value)


class _Draft(Policy):
    """A policy that may be wrong, to be asked for its errors."""

    def __post_init__(self) -> None: ...


def _policy_errors(settings: Settings) -> list[str]:
    return _Draft(**_policy_values(settings)).errors()  # type: ignore[arg-type]


def _heartbeat_errors(settings: Settings) -> list[str]:
    if settings.heartbeat_every * 2 <= settings.session_timeout:
        return []
    return ["heartbeat_every: must be at most half of session_timeout, or one lost heartbeat costs the membership"]


_COMBINATIONS: Final[tuple[tuple[frozenset[str], Callable[[Settings], list[str]]], ...]] = (
    (frozenset({"windows", *_IN_POLICY}), _policy_errors),
    (frozenset({"heartbeat_every", "session_timeout"}), _heartbeat_errors),
    *CHECKS,
)
"""Checks of settings against each other. One is made only when each of its settings is right by itself."""


def load(
    flags: Mapping[str, str | None],
    config_file: Path | None,
    environ: Mapping[str, str],
    *,
    required: Collection[str] = (),
) -> Settings:
    """Settings from flags (by setting name; None: not given), then environment, then file, then defaults.

    An empty environment variable is as good as none. ``required`` settings have no default that could do. Raises
    ConfigError with every problem found.
    """
    problems: list[str] = []
    given = sources.gather(
        Settings.model_fields,
        flags,
        config_file,
        environ,
        problems,
        secret=[each.name for each in SETTINGS if each.secret],
    )
    settings, bad = _validated(given, problems)
    problems += [
        f"{setting.name} is needed: give {setting.flag} or {setting.env}"
        for setting in SETTINGS
        if setting.name in required and setting.name not in given
    ]
    problems += [text for names, check in _COMBINATIONS if not names & bad for text in check(settings)]
    if problems:
        raise ConfigError(problems)
    return settings


def _validated(given: Given, problems: list[str]) -> tuple[Settings, set[str]]:
    """Settings of what is right, and the names of what is not, which keep their defaults."""
    values = {name: value for name, (value, _) in given.items()}
    try:
        return Settings.model_validate(values), set()
    except ValidationError as error:
        faults = {str(detail["loc"][0]): detail["msg"] for detail in error.errors()}
    problems += [_problem(name, message, given) for name, message in faults.items()]
    return Settings.model_validate({name: value for name, value in values.items() if name not in faults}), set(faults)


def _problem(name: str, message: str, given: Given) -> str:
    value, source = given[name]
    text = message.removeprefix("Value error, ")
    return f"{source}: {'***' if _is_secret(name) else _quoted.repr(value)}: {text[:1].lower()}{text[1:]}"
