"""The alert rules of this process: read at the start, and again when it is asked to (SIGHUP)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from stream.config import Settings
from stream.errors import UsageError
from stream.kafka import metrics_hooks as kafka_hooks

if TYPE_CHECKING:
    from stream.core.alerts.rules import Rules


class MetricsHooks(kafka_hooks.MetricsHooks, Protocol):
    """What the session worker reports about itself."""

    def rules(self, alerts: Sequence[tuple[str, str]]) -> None:
        """Name and severity of the alert rules that are asked from now on."""


log: Final = structlog.get_logger()


class ReloadedRules:
    """``current`` is what every shard is to go by; each looks here in every turn."""

    def __init__(self, settings: Settings, hooks: MetricsHooks | None = None) -> None:
        """``hooks`` is told of the rules. Raises UsageError with every mistake in the file."""
        self._setting = settings.rules
        self._pane_ms = settings.policy().pane_ms
        self._hooks = hooks
        self.current = self._load()

    def read_again(self) -> bool:
        """A good file is used from each session's next slide on. A bad one is reported, and the old rules stay."""
        try:
            rules = self._load()
        except UsageError as error:
            log.error(  # noqa: TRY400 - the mistakes are the operator's, and where in our code they were found helps nobody
                "the alert rules are wrong: those of before stay", rules=self._setting, mistakes=str(error).splitlines()
            )
            return False
        log.info("alert rules read again", rules=self._setting, alerts=[each.rule.alert for each in rules])
        self.current = rules
        return True

    def _load(self) -> "Rules":
        from stream.rules.reading import load_rules  # noqa: PLC0415  # CEL takes a quarter of a second to import

        rules = load_rules(self._setting, self._pane_ms)
        if self._hooks is not None:
            self._hooks.rules([(each.rule.alert, each.rule.severity) for each in rules])
        return rules
