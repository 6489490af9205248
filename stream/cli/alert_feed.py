"""Alerts as they are written, seen beside a command that does something else."""

import asyncio
from collections import deque
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

from stream.config import Settings
from stream.model.alerts import Alert, Status
from stream.operate import alerts

KEPT: Final = 1000
"""The newest alerts; older ones are only counted."""
EVERY: Final = 0.5
"""Seconds between two looks at the topic."""
END_SECONDS: Final = 5.0


class Alerts:
    """Noted by one thread, shown by another."""

    def __init__(self) -> None:
        self._seen: deque[Alert] = deque(maxlen=KEPT)
        self.number = 0
        """Of all that were seen."""

    def note(self, alert: Alert) -> None:
        self._seen.append(alert)
        self.number += 1

    def seen(self) -> list[Alert]:
        """Firing and resolved, oldest first."""
        return list(self._seen)

    def fired(self) -> list[Alert]:
        return [alert for alert in self.seen() if alert.status is Status.FIRING]


class AlertFeed(Alerts):
    """Every alert of live.alerts, while the context lasts. A broker that is away is asked again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="alerts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(END_SECONDS)

    def _run(self) -> None:
        asyncio.run(alerts.follow(self._settings, self.note, self._stopped.is_set, EVERY))
