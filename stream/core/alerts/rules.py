"""Rules that can be asked: what one says of a session at the end of a slide. No state; that is the alerting's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, Self

from stream.core.alerts.expression import ExpressionError, asked_variable, read_expression, variable
from stream.core.alerts.figures import COUNTS, SILENCE, History, full_path, read, shown_name, unknown_figure
from stream.core.alerts.summary import fill, mistakes_in, names_in
from stream.model.alerts import Rule
from stream.model.money import capped

DAY: Final = 86_400_000
LONGEST: Final = DAY
"""Of window and baseline together: so long the slides of every session are kept."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong with a rule: its name, the key under which it stands, and what."""

    alert: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"rule {self.alert}: {self.key}: {self.text}"


class RuleError(ValueError):
    """All that is wrong with some rules."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("; ".join(map(str, mistakes)))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of a session at the end of a slide."""

    holds: bool
    values: dict[str, int | float]
    """The figures it refers to, as an alert shows them; only where it holds."""
    error: str | None
    """Why ``when`` could not be told: then it does not hold."""
    evaluated: bool
    """Whether ``when`` was asked at all: most sessions are below a least value of ``min``."""


BELOW: Final = Verdict(holds=False, values={}, error=None, evaluated=False)
NO: Final = Verdict(holds=False, values={}, error=None, evaluated=True)


class CompiledRule:
    """One rule, ready to be asked."""

    __slots__ = ("_asked", "_counted", "_least", "_program", "_readings", "_shown", "_silence_ms", "rule")

    def __init__(self, rule: Rule, pane_ms: int) -> None:
        """Raises RuleError."""
        mistakes = [*_spans(rule, pane_ms), *_misnamed(rule)]
        try:
            expression = read_expression(rule.when, lambda path: unknown_figure(path, baseline=rule.baseline_ms > 0))
        except ExpressionError as error:
            mistakes += [Mistake(rule.alert, "when", text) for text in error.mistakes]
        if mistakes:
            raise RuleError(mistakes)
        self.rule = rule
        self._program = expression.program
        self._readings = [(variable(path), read(path, rule)) for path in expression.paths]
        self._asked = [(asked_variable(path), read(path, rule)) for path in expression.asked]
        shown = {*expression.paths, *expression.asked, *map(full_path, [*rule.min, *names_in(rule.summary)])}
        self._shown = [(shown_name(path), read(path, rule)) for path in sorted(shown)]
        floors = {full_path(path): least for path, least in rule.min.items()}
        self._silence_ms = 1000 * floors.pop(SILENCE, 0)
        self._counted = [
            (COUNTS[name], least) for path, least in floors.items() if (name := shown_name(path)) in COUNTS
        ]
        self._least = [(read(path, rule), least) for path, least in floors.items() if shown_name(path) not in COUNTS]

    def judge(self, history: History) -> Verdict:
        """The least values first, the cheapest before the others: they leave few sessions for CEL.

        An absent figure where one is needed: it does not hold. Any other trouble is told, and it does not hold.
        """
        end = history.end
        if end - history.last_event < self._silence_ms:
            return BELOW
        if self._counted:
            column = history.sum(end - self.rule.window_ms, end)
            for counted, least in self._counted:
                if counted(column) < least:
                    return BELOW
        for reading, least in self._least:
            value = reading(history)
            if value is None or value < least:
                return BELOW
        return self._ask(history)

    def _ask(self, history: History) -> Verdict:
        figures: dict[str, float | bool] = {
            name: float(value) for name, reading in self._readings if (value := reading(history)) is not None
        }
        absent = len(figures) < len(self._readings)
        for name, reading in self._asked:
            figures[name] = reading(history) is not None
        try:
            holds = self._program.execute(figures)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # an absent figure is an undefined variable to CEL, which || and && may still do without
            if absent and isinstance(error, RuntimeError):
                return NO
            return Verdict(holds=False, values={}, error=_trouble(error), evaluated=True)
        return Verdict(holds=True, values=self.values(history), error=None, evaluated=True) if holds is True else NO

    def values(self, history: History) -> dict[str, int | float]:
        """The figures it refers to, without those that are absent: whole numbers, or 6 decimals."""
        values = {name: reading(history) for name, reading in self._shown}
        return {name: _plain(value) for name, value in values.items() if value is not None}

    def summary(self, values: dict[str, int | float]) -> str:
        return fill(self.rule.summary, values)


class Rules(tuple[CompiledRule, ...]):
    """All rules of a shard, in the order of their file."""

    __slots__ = ()

    def __new__(cls, rules: Sequence[Rule], pane_ms: int) -> Self:
        """Raises RuleError with the mistakes of them all."""
        compiled: list[CompiledRule] = []
        mistakes: list[Mistake] = []
        for rule in rules:
            try:
                compiled.append(CompiledRule(rule, pane_ms))
            except RuleError as error:
                mistakes += error.mistakes
        names = [rule.alert for rule in rules]
        mistakes += [
            Mistake(name, "alert", "the name is used twice") for name in sorted(set(names)) if names.count(name) > 1
        ]
        if mistakes:
            raise RuleError(mistakes)
        return super().__new__(cls, compiled)

    @property
    def span_ms(self) -> int:
        """The longest window and baseline: so much history a rule may ask for."""
        return max((each.rule.window_ms + each.rule.baseline_ms for each in self), default=0)


def _spans(rule: Rule, pane_ms: int) -> Iterator[Mistake]:
    slides = f"not a multiple of the slide, {pane_ms / 1000:g}s (what all sizes and slides of windows divide by)"
    if rule.window_ms <= 0 or rule.window_ms % pane_ms:
        yield Mistake(rule.alert, "window", slides)
    if rule.baseline_ms < 0 or rule.baseline_ms % pane_ms:
        yield Mistake(rule.alert, "baseline", slides)
    if rule.window_ms + rule.baseline_ms > LONGEST:
        yield Mistake(rule.alert, "baseline" if rule.baseline_ms else "window", "window and baseline are above 24h")


def _misnamed(rule: Rule) -> Iterator[Mistake]:
    def unknown(path: str) -> str | None:
        return unknown_figure(full_path(path), baseline=rule.baseline_ms > 0)

    for path, least in rule.min.items():
        if (text := unknown(path)) is not None:
            yield Mistake(rule.alert, "min", text)
        if not isfinite(least):
            yield Mistake(rule.alert, "min", f"the least value of {path} must be a number")
    for text in mistakes_in(rule.summary, unknown):
        yield Mistake(rule.alert, "summary", text)


def _plain(value: float) -> int | float:
    """A count exactly, though CEL compares its double."""
    if isinstance(value, int):
        return value
    return capped(int(value)) if value.is_integer() else round(value, 6)


def _trouble(error: Exception) -> str:
    return "division by zero" if isinstance(error, ZeroDivisionError) else f"CEL: {type(error).__name__}"
