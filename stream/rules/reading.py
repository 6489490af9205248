"""Reads a rules file: all that is wrong with it at once, each mistake with its line.

What a rule means is core/alerts/rules.py's to judge; this knows how one is written down.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from importlib.resources import files
from math import nan
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from stream.core.alerts.rules import CompiledRule, RuleError, Rules
from stream.durations import parse_duration
from stream.errors import UsageError
from stream.model.alerts import Rule, Severity
from stream.sources import TooLargeError, read_text

SHIPPED: Final = "default"
"""Names the rules that come with liveshop."""
NONE: Final = "none"
"""Turns alerts off."""
LARGEST: Final = 1_000_000
"""Bytes of a rules file."""
MOST_RULES: Final = 500
"""Each is asked of every session at the end of every slide."""
MOST_NODES: Final = 40_000
"""Keys, values and lists of a file, those that an alias repeats not counted again."""
MOST_IDS: Final = 20_000
"""In all lists of sellers, sessions and platforms; one that an alias repeats counts again."""
MOST_LEAST: Final = 50
"""Figures under min."""
DEEPEST: Final = 20
"""Lists and mappings within one another; rules need 4."""
LONGEST_TEXT: Final = 1_000
"""Characters of a summary, a runbook or any other value."""
MOST_PROBLEMS: Final = 100
"""Then reading stops."""
QUOTED: Final = 100
"""Characters of a wrong text that a mistake quotes."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file."""

    line: int
    rule: str
    """Empty where it belongs to none."""
    text: str

    def located(self, source: str) -> str:
        """As compilers put it: ``FILE:LINE: rule NAME: …``."""
        return f"{source}:{self.line}: {f'rule {self.rule}: ' if self.rule else ''}{self.text}"


class RulesError(UsageError):
    """All that is wrong with a rules file."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        lines = [problem.located(source) for problem in self.problems]
        super().__init__("the alert rules are wrong:\n" + "\n".join(f"  {line}" for line in lines))


def load_rules(setting: str, pane_ms: int) -> Rules:
    """The rules that the setting ``rules`` names, for slides of ``pane_ms``. Raises RulesError, a UsageError.

    Those of a file must suit the slide; the shipped ones are fitted to it, so that no choice of windows forbids alerts.
    """
    if setting == NONE:
        return Rules((), pane_ms)
    if setting == SHIPPED:
        return Rules([_fitted(rule, pane_ms) for rule in read_rules(shipped_text(), SHIPPED)], pane_ms)
    return Rules(read_rules(_content(Path(setting)), setting, pane_ms), pane_ms)


def rules_text(setting: str) -> str:
    """The text that the setting ``rules`` names, to be kept; `kept_rules` reads it. Empty where there are to be no alerts.

    Raises UsageError for a file that cannot be read.
    """
    if setting == NONE:
        return ""
    return shipped_text() if setting == SHIPPED else _content(Path(setting))


def kept_rules(text: str, source: str, pane_ms: int) -> Rules:
    """The rules of a text that was kept, for slides of ``pane_ms``: those that suit them stay as they are. RulesError."""
    rules = read_rules(text, source) if text else []
    return Rules([_fitted(rule, pane_ms) for rule in rules], pane_ms)


def shipped_text() -> str:
    return files("stream.rules").joinpath("default.yaml").read_text(encoding="utf-8")


def _content(path: Path) -> str:
    try:
        return read_text(path, LARGEST)
    except OSError as error:
        raise UsageError(f"the rules file {path} cannot be read: {error.strerror}") from None
    except TooLargeError as error:
        raise UsageError(f"the rules file {path} {error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the rules file {path} is not UTF-8") from None


def _fitted(rule: Rule, pane_ms: int) -> Rule:
    """Window and baseline lengthened to whole slides."""
    window_ms, baseline_ms = (-(-length // pane_ms) * pane_ms for length in (rule.window_ms, rule.baseline_ms))
    return replace(rule, window_ms=window_ms, baseline_ms=baseline_ms)


def read_rules(text: str, source: str, pane_ms: int = 1000) -> list[Rule]:
    """Raises RulesError with every mistake, ``source`` being what the file is called."""
    reading = _Reading(pane_ms)
    try:
        rules = reading.rules_of(yaml.compose(text, Loader=_Loader))
    except _EnoughError:
        rules = []
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = str(error.problem)[: 2 * QUOTED]
        raise RulesError(source, [Problem(mark.line + 1 if mark else 1, "", f"not YAML: {what}")]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character
        what = f"the character {chr(code)!a} is not allowed" if isinstance(code, int) else str(error.reason)
        raise RulesError(source, [Problem(line, "", f"not YAML: {what}")]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # such as %YAML 1.11111…, a number without end
        raise RulesError(source, [Problem(1, "", f"not YAML: {type(error).__name__}")]) from None
    if reading.problems:
        raise RulesError(source, reading.problems)
    return rules


class _Loader(yaml.SafeLoader):
    """Ends where nodes become too many or too deep: reading them calls itself, and looks at each open list."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            self._refuse(f"more than {MOST_NODES:,} keys and values")
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(TOO_DEEP)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def fetch_flow_collection_start(self, token: Any) -> None:
        """The scanner runs ahead of the nodes."""
        if self.flow_level > DEEPEST:
            self._refuse(TOO_DEEP)
        super().fetch_flow_collection_start(token)

    def _refuse(self, why: str) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=why, problem_mark=self.get_mark())


TOO_DEEP: Final = f"more than {DEEPEST} lists and mappings within one another"


# -- the values under the keys of a rule; each raises ValueError with what is wrong


def _text(node: Node) -> str:
    if not isinstance(node, ScalarNode) or not node.value.strip():
        raise ValueError("a text is needed")
    text = str(node.value).strip()
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"longer than {LONGEST_TEXT:,} characters")
    return text


def _name(node: Node) -> str:
    name = _text(node)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{_quoted(name)} is no name: small letters, digits and _, beginning with a letter")
    return name


def _span(node: Node) -> int:
    """In ms."""
    return parse_duration(_text(node)) // timedelta(milliseconds=1)


def _severity(node: Node) -> Severity:
    text = _text(node)
    if text not in set(Severity):
        raise ValueError(f"{_quoted(text)} is none of {', '.join(Severity)}{_near(text, list(Severity))}")
    return Severity(text)


def _least(node: Node) -> dict[str, float]:
    if not isinstance(node, MappingNode):
        raise ValueError("figures with their least values are needed, as in {attempts: 20}")  # noqa: TRY004 - as all here
    if len(node.value) > MOST_LEAST:
        raise ValueError(f"more than {MOST_LEAST} figures")
    return {_text(name): _number(value) for name, value in node.value}


def _number(node: Node) -> float:
    """Not a number where it is none: the rule says so, and may have other mistakes."""
    try:
        return float(_text(node))
    except ValueError:
        return nan


def _some(node: Node) -> frozenset[str]:
    if not isinstance(node, SequenceNode) or not node.value:
        raise ValueError("a list of ids is needed, as in [s9, s12]; without the key it is for all")
    return frozenset(_text(each) for each in node.value)


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of a rule: the attribute it becomes, how it is read, and what stands in for it after a mistake."""

    attribute: str
    read: Callable[[Node], Any]
    instead: Any = None
    needed: bool = True


def _keys(pane_ms: int) -> dict[str, _Key]:
    return {
        "alert": _Key("alert", _name, "?"),
        "window": _Key("window_ms", _span, pane_ms),
        "baseline": _Key("baseline_ms", _span, pane_ms, needed=False),
        "when": _Key("when", _text, "true"),
        "min": _Key("min", _least, {}, needed=False),
        "for": _Key("for_ms", _span, 0, needed=False),
        "keep_firing_for": _Key("keep_firing_for_ms", _span, 0, needed=False),
        "severity": _Key("severity", _severity, Severity.INFO),
        "summary": _Key("summary", _text, "?"),
        "runbook": _Key("runbook", _text, "", needed=False),
        "sellers": _Key("sellers", _some, frozenset(), needed=False),
        "sessions": _Key("sessions", _some, frozenset(), needed=False),
        "platforms": _Key("platforms", _some, frozenset(), needed=False),
    }


class _EnoughError(Exception):
    """There are so many mistakes that further ones help nobody."""


class _Reading:
    """One going through a file. A rule with a mistake is read to its end, for the others in it."""

    def __init__(self, pane_ms: int) -> None:
        self._pane_ms = pane_ms
        self._keys = _keys(pane_ms)
        self._names: set[str] = set()
        self._ids = 0
        self.problems: list[Problem] = []

    def _note(self, node: Node, rule: str, text: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, rule, text))
        if len(self.problems) == MOST_PROBLEMS:
            self.problems.append(
                Problem(node.start_mark.line + 1, "", f"the first {MOST_PROBLEMS} mistakes: there may be more")
            )
            raise _EnoughError

    def rules_of(self, root: Node | None) -> list[Rule]:
        if root is None:
            self.problems.append(Problem(1, "", "empty: a list of rules is needed, under the key rules"))
            return []
        rules: list[Rule] = []
        for node in self._items(root):
            if len(rules) == MOST_RULES:
                self._note(node, "", f"more than {MOST_RULES} rules")
                break
            rules.append(self._rule(node, len(rules) + 1))
        return rules

    def _items(self, root: Node) -> Iterator[Node]:
        listed = False
        for key, value in root.value if isinstance(root, MappingNode) else ():
            if key.value != "rules":
                self._note(key, "", f"unknown key {_key_text(key)}{_near(_plain(key), ['rules'])}")
            elif isinstance(value, SequenceNode) and value.value and not listed:
                listed = True
                yield from value.value
            else:
                self._note(value, "", "rules must be one list of rules; to have no alerts, set rules to none")
                listed = True
        if not listed and not self.problems:
            self._note(root, "", "a list of rules is needed, under the key rules")

    def _rule(self, node: Node, number: int) -> Rule:
        values = {key.attribute: key.instead for key in self._keys.values() if key.needed}
        if not isinstance(node, MappingNode):
            self._note(node, str(number), "a rule is written as keys and values, such as alert: checkout_failures")
            return Rule(**values)
        given = self._given(node, name := self._name(node, number))
        for key in (key for key, about in self._keys.items() if about.needed and key not in given):
            self._note(node, name, f"{key} is missing")
        for key, value in given.items():
            about = self._keys[key]
            values[about.attribute] = self._value(about, key, value, name)
        rule = Rule(**values)
        self._judge(rule, given, node, name)
        return rule

    def _name(self, node: MappingNode, number: int) -> str:
        """The rule's, to name it in its mistakes, or its number. A second one of that name is a mistake."""
        named = [value for key, value in node.value if key.value == "alert" and isinstance(value, ScalarNode)]
        if not named or not _NAME.fullmatch(named[0].value):
            return str(number)
        name = str(named[0].value)
        if name in self._names:
            self._note(named[0], name, "an alert of this name is there already")
        self._names.add(name)
        return name

    def _given(self, node: MappingNode, name: str) -> dict[str, Node]:
        given: dict[str, Node] = {}
        for key, value in node.value:
            text = _plain(key)
            if text not in self._keys:
                self._note(key, name, f"unknown key {_key_text(key)}{_near(text, list(self._keys))}")
            elif text in given:
                self._note(key, name, f"{text} is given twice")
            else:
                given[text] = value
        return given

    def _value(self, about: _Key, key: str, node: Node, name: str) -> Any:
        try:
            if isinstance(node, SequenceNode):
                self._ids += len(node.value)
                if self._ids > MOST_IDS:
                    raise ValueError(f"more than {MOST_IDS:,} ids in the file")  # noqa: TRY301 - told as any mistake
            return about.read(node)
        except ValueError as error:
            self._note(node, name, f"{key}: {error}")
            return about.instead

    def _judge(self, rule: Rule, given: dict[str, Node], node: MappingNode, name: str) -> None:
        try:
            CompiledRule(rule, self._pane_ms)
        except RuleError as error:
            for mistake in error.mistakes:
                self._note(given.get(mistake.key, node), name, f"{mistake.key}: {mistake.text}")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= QUOTED else f"{text[:QUOTED]}…")


def _plain(key: Node) -> str:
    """Empty for what is no text: nothing else is looked into, since aliases can make it as large as they like."""
    return str(key.value) if isinstance(key, ScalarNode) else ""


def _key_text(key: Node) -> str:
    return _quoted(key.value) if isinstance(key, ScalarNode) else "that is no text"


def _near(name: str, known: list[str]) -> str:
    close = get_close_matches(name[:QUOTED].lower(), known, 1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
