"""What a round is like: all of it follows from the seed, but for what the machine's own timing adds."""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from stream.config import Settings, load
from tests.recount import Rules

PARTITIONS: Final = 4
OUTAGE: Final = 120.0

# Event time runs so many times faster than the wall clock, so that many windows close while a round lasts.
_QUICK: Final = (10.0, {"windows": "10s,30s/10s", "delay": "2s", "lateness": "20s", "session_end_after": "45s"})
_USUAL: Final = (20.0, {"windows": "1m,5m/1m", "delay": "10s", "lateness": "5m", "session_end_after": "3m"})
_HASTY: Final = (15.0, {"windows": "15s/5s,20s", "delay": "1s", "lateness": "40s", "session_end_after": "20s"})
_KINDS: Final = (_QUICK, _QUICK, _USUAL, _HASTY)


@dataclass(frozen=True)
class Profile:
    """One round. Seconds are of wall clock."""

    seed: int
    seconds: float = 35.0
    workers: int = 3
    rate: float = 900.0
    """Events a second of wall clock."""
    sessions: int = 14
    pause: tuple[float, float] = (3.0, 8.0)
    """Seconds from one fault of a worker to its next, from..to."""
    asleep: tuple[float, float] = (6.5, 10.0)
    """Seconds for which a worker is stopped: longer than its session timeout."""
    broker_restarts: int = 1
    speed: float = 10.0
    outage: float = 0.0
    """Seconds for which no broker is there, in the middle of the round."""
    neighbour: bool = True
    """Another installation is started on the same topics."""
    grows: bool = False
    """Somebody adds partitions, and then a larger set of topics takes over."""
    clock_jumps: bool = False
    """Those of the workers' machines."""
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int, outage: float = OUTAGE) -> "Profile":
        """Of five rounds one has an outage, one grows, and in two clocks jump."""
        rng = Random(f"profile {seed}")
        speed, settings = rng.choice(_KINDS)
        made = cls(seed, workers=rng.choice((2, 3, 3)), speed=speed, settings={**_COMMON, **settings})
        match seed % 5:
            case 1:
                patient = {**made.settings, "connect_timeout": "10m"}  # also of those that are started meanwhile
                return replace(made, outage=outage, seconds=made.seconds + outage, settings=patient)
            case 2 | 4:
                return replace(made, clock_jumps=True)
            case 3:
                return replace(made, grows=True, neighbour=False)
            case _:
                return made

    @classmethod
    def short(cls, seed: int) -> "Profile":
        """Two workers and a few faults, for `make test`."""
        speed, settings = _QUICK
        return cls(
            seed,
            seconds=14.0,
            workers=2,
            rate=700.0,
            sessions=8,
            pause=(3.0, 5.0),
            broker_restarts=0,
            speed=speed,
            settings={**_COMMON, **settings},
        )

    @property
    def length_ms(self) -> int:
        """Event time of the whole round."""
        return int(self.seconds * self.speed * 1000)

    @property
    def reach_ms(self) -> int:
        """How far beyond the last event its last window reaches, and when that may be closed."""
        policy = self.loaded().policy()
        return policy.longest_ms + policy.delay_ms + 10_000

    @property
    def rules(self) -> Rules:
        """The same settings as the referee wants them."""
        policy = self.loaded().policy()
        return Rules(
            windows=tuple((spec.name, spec.size_ms, spec.slide_ms) for spec in policy.windows),
            delay_ms=policy.delay_ms,
            lateness_ms=policy.lateness_ms,
            max_future_ms=policy.max_future_ms,
            max_value=policy.max_value,
        )

    def loaded(self) -> Settings:
        return load(self.settings, None, {})


_COMMON: Final = {
    "checkpoint_every": "300ms",
    "session_timeout": "6s",
    "heartbeat_every": "1s",
    "idle_after": "2s",
    "totals_every": "5s",
    # whatever stands still, no topic falls so far behind that panes are gone: that would be no function of the logs
    "state_retention": "6h",
}
