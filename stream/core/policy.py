"""What was configured, as the pure core needs it: windows, delays and bounds, all in integer milliseconds."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Windows ``[start, start + size_ms)`` for every start that is a multiple of ``slide_ms`` since the epoch, UTC.

    Tumbling when slide equals size, hopping when it is smaller.
    """

    name: str
    size_ms: int
    slide_ms: int

    def first_end(self, t: int) -> int:
        """End of the earliest window that contains ``t``."""
        return (t - self.size_ms) // self.slide_ms * self.slide_ms + self.slide_ms + self.size_ms

    def last_end(self, t: int) -> int:
        """End of the latest window that contains ``t``."""
        return t // self.slide_ms * self.slide_ms + self.size_ms

    def first_ending_after(self, t: int) -> int:
        """The earliest time whose latest window ends after ``t``."""
        return ((t - self.size_ms) // self.slide_ms + 1) * self.slide_ms


_LENGTHS: Final = (
    *("delay_ms", "lateness_ms", "max_future_ms"),
    *("session_end_after_ms", "end_grace_ms", "session_keep_ms", "late_totals_ms"),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides results. Two shards with equal policies and equal logs write equal last revisions."""

    windows: tuple[WindowSpec, ...] = (WindowSpec("1m", MINUTE, MINUTE), WindowSpec("5m", 5 * MINUTE, MINUTE))
    delay_ms: int = 10 * SECOND
    lateness_ms: int = 5 * MINUTE
    max_future_ms: int = 60 * SECOND
    state_retention_ms: int = HOUR
    session_end_after_ms: int = 15 * MINUTE
    end_grace_ms: int = 2 * MINUTE
    """So long after its host has ended it a session has ended: what viewers did until then still comes."""
    session_keep_ms: int = DAY
    late_totals_ms: int = DAY
    """How far behind its topic's clock a checkout still counts in the totals of its session."""
    totals_every_ms: int = 10 * SECOND
    currency: str = "IDR"
    max_value: int = 1_048_576
    max_batch: int = 32 * 1_048_576
    trust_producer_time: bool = False
    max_ids: int = 1000
    checkout_key_ms: int = DAY
    max_checkout_keys: int = 5_000_000
    """That the checkouts of one partition are known by; of more, whole minutes are forgotten, the oldest first."""
    max_pane_events: int = 5_000_000
    """That one topic partition counts in a pane."""
    gone_session_ms: int = 90 * DAY
    max_gone_sessions: int = 2_000_000
    """That are remembered after they were let go; of more, whole days are forgotten, the oldest first."""
    totals_per_checkpoint: int = 200
    checkpoint_span: int = 60
    max_new_sessions: int = 20_000
    """That one topic partition admits in a pane."""
    max_sessions: int = 200_000
    """That one topic partition knows."""
    pane_ms: int = field(init=False, default=0)
    longest_ms: int = field(init=False, default=0)
    bound_ms: int = field(init=False, default=0)
    known_ms: int = field(init=False, default=0)
    """How long a topic knows a session after its latest pane: at least as long as it may count events in that pane."""

    def __post_init__(self) -> None:
        errors = self.errors()
        if errors:
            raise ValueError("; ".join(errors))
        lengths = [length for spec in self.windows for length in (spec.size_ms, spec.slide_ms)]
        object.__setattr__(self, "pane_ms", math.gcd(*lengths))
        object.__setattr__(self, "longest_ms", max(spec.size_ms for spec in self.windows))
        # without delay and lateness an event at its topic's clock is still in time: else none ever were
        object.__setattr__(self, "bound_ms", max(1, self.delay_ms + self.lateness_ms))
        object.__setattr__(self, "known_ms", max(self.session_keep_ms, self.bound_ms))

    def errors(self) -> list[str]:
        """Everything wrong with the combination, each naming its setting."""
        found = []
        if not self.windows:
            return ["windows: at least one is needed"]
        names = [spec.name for spec in self.windows]
        found += [f"windows: the name {name!r} is used twice" for name in sorted(set(names)) if names.count(name) > 1]
        for spec in self.windows:
            if not 0 < spec.slide_ms <= spec.size_ms:
                found.append(f"windows: {spec.name}: the slide must be above 0 and at most the size")
        found += [f"{name.removesuffix('_ms')}: must not be negative" for name in _LENGTHS if getattr(self, name) < 0]
        if self.late_totals_ms > self.checkout_key_ms:
            found.append(f"late_totals: must be at most {_text(self.checkout_key_ms)}: so long repeats are known")
        bounds = ("max_new_sessions", "max_sessions")
        found += [f"{name}: must be at least 1" for name in bounds if getattr(self, name) < 1]
        pane_ms = math.gcd(*(length for spec in self.windows for length in (spec.size_ms, spec.slide_ms)))
        if pane_ms % SECOND:
            found.append(f"windows: sizes and slides must be whole seconds, else panes of {pane_ms} ms have to be kept")
        least = max(spec.size_ms for spec in self.windows) + self.delay_ms + self.lateness_ms
        if self.state_retention_ms < least:
            found.append(f"state_retention: must be at least {_text(least)}: the longest window + delay + lateness")
        return found

    def deciding(self) -> dict[str, object]:
        """The settings that decide results, as the checkpoint stores them."""
        every = asdict(self)
        for derived in ("pane_ms", "longest_ms", "bound_ms", "known_ms", "totals_per_checkpoint"):
            del every[derived]
        every["windows"] = [[spec.name, spec.size_ms, spec.slide_ms] for spec in self.windows]
        return every


def _text(ms: int) -> str:
    """``1d5m10s``, as a setting takes it (stream/durations.py)."""
    parts = []
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)):
        number, ms = divmod(ms, size)
        parts += [f"{number}{unit}"] if number else []
    return "".join(parts)


def fingerprint(deciding: Mapping[str, object]) -> str:
    """The same for the same settings, whoever computes it: 12 hex digits of the SHA-256 of their sorted JSON."""
    return hashlib.sha256(orjson.dumps(dict(deciding), option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def refused_changes(old: dict[str, object], new: dict[str, object]) -> list[tuple[str, object, object]]:
    """Changed settings that a running state cannot follow: (setting, old value, new value).

    A change that keeps the windows and bounds and does not raise delay + lateness applies at once; any other needs a
    rebuild, since panes and ids that the new setting wants were already dropped under the old one. The bounds on sessions
    apply at once too: nothing that another bound wants was dropped, and under a flood nobody can wait for a rebuild. A
    setting that the old state does not know is taken up.
    """
    fixed = ("windows", "currency", "max_ids", "max_value", "max_future_ms", "checkout_key_ms", "state_retention_ms")
    refused = [(name, old.get(name), new.get(name)) for name in fixed if name in old and old[name] != new.get(name)]

    def bound(values: dict[str, object]) -> int:
        delay, lateness = values.get("delay_ms", 0), values.get("lateness_ms", 0)
        return (delay if isinstance(delay, int) else 0) + (lateness if isinstance(lateness, int) else 0)

    if bound(new) > bound(old):  # each that has changed: to put them back is a way out
        both = ("delay_ms", "lateness_ms")
        refused += [(name, old.get(name), new.get(name)) for name in both if old.get(name) != new.get(name)]
    return refused
