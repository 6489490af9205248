"""Windows of a replay as OpenMetrics text with timestamps, for ``promtool tsdb create-blocks-from openmetrics``. Pure.

A sample is the sum over all sessions of a platform in one window, at the end of that window. Values in Prometheus cannot be
overwritten, so a replay has its own label ``run``, and live results, which may be asked for, have ``run="live"``.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from stream.core.counts import COUNTERS
from stream.core.figures import BY_NAME
from stream.replay.results import Result

PREFIX: Final = "liveshop_window_"
GMV: Final = "gmv_minor"
"""In minor units of its currency, as the live metric is."""
WATCH: Final = "watch_ms"
_SECONDS: Final = "watch_seconds"
END: Final = "# EOF\n"
Labels = tuple[str, str, str]
"""run, window, platform."""
Series = dict[int, int]
"""Sums by time in ms."""


class _Window(msgspec.Struct, frozen=True, gc=False):
    run: str
    window: str
    end: int
    counts: dict[str, int] = {}
    gmv_minor: dict[str, int] = {}
    platform: str = "unknown"


_decode: Final = msgspec.json.Decoder(_Window).decode


class Export:
    """Adds up windows, partition by partition. What is held does not grow with the sessions."""

    def __init__(self) -> None:
        self.windows: Counter[str] = Counter()
        """By run."""
        self._counts: defaultdict[str, defaultdict[Labels, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
        self._gmv: defaultdict[tuple[Labels, str], Counter[int]] = defaultdict(Counter)

    def add(self, results: Iterable[Result], run: str) -> None:
        """The last revisions of some windows. ``run``: under which they are shown."""
        for result in results:
            window = _decode(result.value)
            self.windows[run] += 1
            labels = run, window.window, window.platform
            for name in COUNTERS:
                self._counts[name][labels][window.end] += window.counts.get(name, 0)
            for currency, minor in window.gmv_minor.items():
                self._gmv[labels, currency][window.end] += minor

    def text(self) -> Iterator[str]:
        """Lines with their ends. Of each series its samples stand together, in the order of time."""
        for name in COUNTERS:
            yield from self._family(name)
        yield from _head(GMV, BY_NAME["gmv"].what)
        for (labels, currency), series in sorted(self._gmv.items()):
            yield from _samples(GMV, _labels(labels, currency=currency), series)
        yield END

    def _family(self, name: str) -> Iterator[str]:
        shown, divisor = (_SECONDS, 1000) if name == WATCH else (name, 1)
        yield from _head(shown, "time watched, in seconds" if name == WATCH else BY_NAME[name].what)
        for labels, series in sorted(self._counts[name].items()):
            yield from _samples(shown, _labels(labels), series, divisor)


def _head(name: str, what: str) -> Iterator[str]:
    yield f"# TYPE {PREFIX}{name} gauge\n"
    if name == _SECONDS:
        yield f"# UNIT {PREFIX}{name} seconds\n"
    yield f"# HELP {PREFIX}{name} {_escaped(what)}, of all sessions in one window\n"


def _labels(labels: Labels, **more: str) -> str:
    run, window, platform = labels
    pairs: Mapping[str, Any] = {"run": run, "window": window, "platform": platform, **more}
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _samples(name: str, labels: str, series: Mapping[int, int], divisor: int = 1) -> Iterator[str]:
    for end in sorted(series):
        value = series[end] if divisor == 1 else series[end] / divisor
        yield f"{PREFIX}{name}{{{labels}}} {value} {end // 1000}.{end % 1000:03}\n"
