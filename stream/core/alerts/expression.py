"""The `when` of a rule, read and checked: the part of CEL that compares numbers, with figures as its variables.

What passes here cannot fail later but by a division by zero or a figure that is absent. The expression is handed to CEL with
its figures as plain variables (``w.ctor`` as ``w__ctor``), which CEL reads three times as fast as fields of a map, and with
every divisor guarded: CEL itself makes infinity of 1.0 / 0.0, and that would exceed any threshold.

The text for CEL grows with the source and no faster: each part stands in it once, and parentheses only where the source has
them. What CEL would refuse for its size (it reads 96 levels) is refused here before anything is built, with the limit.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isinf
from typing import Final

import cel

from stream.core.alerts.lexer import CLOSE, Tokens, quoted, split
from stream.model.money import MAX_SUM as MAX_WHOLE

LONGEST: Final = 1000
"""Characters of an expression."""
DEEPEST: Final = 30
"""Parentheses, signs before a term and choices (``? :``) within one another."""
MOST_TERMS: Final = 200
"""Figures and numbers in an expression."""
MOST_MISTAKES: Final = 20
"""Of one expression; then there may be more."""

_NUMBERS: Final = ("int", "double")
_COMPARING: Final = ("==", "!=", "<=", ">=", "<", ">")

CHOICE, ANY, ALL, COMPARED, ADDED, MULTIPLIED, SIGNED, SINGLE = range(8)
"""How strongly a term binds, from the weakest on: what binds weaker than its place asks for needs parentheses there."""


class ExpressionError(ValueError):
    """What is wrong with an expression, all of it."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Expression:
    """One that is known to be right."""

    program: cel.Program
    paths: tuple[str, ...]
    """Figures it reads, as `variable` names them for CEL, in the order of their first use."""
    asked: tuple[str, ...]
    """Figures it asks for with ``has()``, which come as truth values named by `asked_variable`."""


def variable(path: str) -> str:
    return path.replace(".", "__")


def asked_variable(path: str) -> str:
    return f"has__{variable(path)}"


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of an expression: as it is handed to CEL, as it was written, and its type; "" after a mistake."""

    text: str
    written: str
    type: str
    binds: int = SINGLE

    def within(self, least: int) -> str:
        """As it stands where something is needed that binds at least so strongly."""
        return self.text if self.binds >= least else f"({self.text})"

    def __str__(self) -> str:
        """As a mistake quotes it."""
        return quoted(self.written)


HOLE: Final = _Term("", "…", "")
"""Stands where a term is missing."""


def read_expression(source: str, unknown: Callable[[str], str | None]) -> Expression:
    """``unknown`` says what is wrong with the name of a figure, or nothing. Raises ExpressionError."""
    if len(source) > LONGEST:
        raise ExpressionError([f"longer than {LONGEST} characters"])
    reader = _Reader(split(source), unknown)
    term = reader.whole()
    mistakes = reader.tokens.mistakes
    if len(mistakes) > MOST_MISTAKES:
        raise ExpressionError([*mistakes[:MOST_MISTAKES], f"the first {MOST_MISTAKES} mistakes: there may be more"])
    if mistakes:
        raise ExpressionError(mistakes)
    try:
        return Expression(cel.compile(term.text), tuple(reader.paths), tuple(reader.asked))
    except ValueError as error:  # nothing is known that comes here
        raise ExpressionError([f"CEL: {quoted(str(error).rpartition('ERROR: ')[2].partition(chr(10))[0])}"]) from None


class _LimitError(Exception):
    """Ends the reading: the expression is larger than one may be."""


@dataclass(slots=True)
class _Reader:
    """Reads by recursive descent, one method for each level of precedence.

    It goes on behind a mistake. Where a term is missing it has a hole, which fits everywhere. A sign that is missing or
    unknown compares something. What only follows from a mistake is not told.
    """

    tokens: Tokens
    unknown: Callable[[str], str | None]
    paths: dict[str, None] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)
    depth: int = 0

    def whole(self) -> _Term:
        if not self.tokens.all:
            return self._empty()
        try:
            self._check_size()
            term = self._to_end()
        except _LimitError as error:
            self.tokens.tell(str(error))
            return HOLE
        if term.type not in {"bool", ""}:
            self.tokens.tell_type(f"gives a number, and must be true or false: compare it, as in {term} > 0.5")
        return term

    def _empty(self) -> _Term:
        if not self.tokens.mistakes:  # such as brackets that close nothing
            self.tokens.tell("is empty")
        return HOLE

    def _check_size(self) -> None:
        if sum(token.kind not in {"sign", "unknown"} for token in self.tokens.all) > MOST_TERMS:
            raise _LimitError(f"more than {MOST_TERMS} figures and numbers")

    def _to_end(self) -> _Term:
        """What stands up to the end of the brackets, or of the expression."""
        term = self._choice()
        if self.tokens.at_end():
            return term
        self.tokens.tell_unexpected()
        while not self.tokens.at_end():
            self.tokens.place += 1
            self._choice()
        return HOLE

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """Reading calls itself in here, and so does CEL."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise _LimitError(f"more than {DEEPEST} parentheses, signs and choices within one another")
        yield
        self.depth -= 1

    # -- from the weakest binding to the strongest

    def _choice(self) -> _Term:
        test = self._any()
        if self.tokens.take("?") is None:
            return test
        yes = self._any()
        if self.tokens.take(":") is None:
            token = self.tokens.next()
            at = "at the end" if token is None else f"before {quoted(token.text)!r}"
            self.tokens.tell_here(f"':' is missing {at}")
            return HOLE
        with self._deeper():
            no = self._choice()
        self._need(test, ("bool",), "stands before ? and must be true or false")
        text = f"{test.within(ANY)} ? {yes.within(ANY)} : {no.text}"
        written = f"{test.written} ? {yes.written} : {no.written}"
        return _Term(text, written, self._same(yes, no, written), CHOICE)

    def _any(self) -> _Term:
        return self._joined("||", self._all, ANY)

    def _all(self) -> _Term:
        return self._joined("&&", self._compared, ALL)

    def _joined(self, sign: str, part: Callable[[], _Term], binds: int) -> _Term:
        left = part()
        while self.tokens.take(sign):
            right = part()
            for term in (left, right):
                self._need(term, ("bool",), f"stands beside {sign} and must be true or false")
            left = _beside(left, sign, right, "bool", binds)
        return left

    def _compared(self) -> _Term:
        left = self._added()
        while (sign := self._comparing()) is not None:
            right = self._added()
            if sign not in _COMPARING or "" in {left.type, right.type}:
                left = _beside(left, sign, right, "", COMPARED)
                continue
            if sign not in {"==", "!="} or "bool" not in {left.type, right.type}:
                for term in (left, right):
                    self._need(term, _NUMBERS, f"is compared with {sign} and must be a number")
            elif left.type != right.type:
                self.tokens.tell_type(
                    f"{quoted(f'{left.written} {sign} {right.written}')} compares a truth value with a number"
                )
            left = _beside(left, sign, right, "bool", COMPARED)
        return left

    def _comparing(self) -> str | None:
        """The next sign when it compares, is unknown, or is missing between two terms."""
        sign, token = self.tokens.take(*_COMPARING), self.tokens.next()
        if sign is not None or token is None or (token.kind == "sign" and token.text not in {"!", "("}):
            return sign
        if token.kind == "unknown":
            self.tokens.take_wrong()
            return token.text
        self.tokens.tell_unexpected()
        self.tokens.take("!")
        return ""

    def _added(self) -> _Term:
        left = self._multiplied()
        while (sign := self.tokens.take("+", "-")) is not None:
            left = self._computed(left, sign, self._multiplied(), ADDED)
        return left

    def _multiplied(self) -> _Term:
        left = self._signed()
        while (sign := self.tokens.take("*", "/", "%")) is not None:
            left = self._computed(left, sign, self._signed(), MULTIPLIED)
        return left

    def _computed(self, left: _Term, sign: str, right: _Term, binds: int) -> _Term:
        written = f"{left.written} {sign} {right.written}"
        for term in (left, right):
            self._need(term, _NUMBERS, f"stands beside {sign} and must be a number")
        type_ = self._same(left, right, written) if "bool" not in {left.type, right.type} else ""
        if sign == "%" and type_ == "double":
            self.tokens.tell(f"{quoted(written)}: CEL has % for whole numbers only, and figures are decimal ones")
        if sign in {"/", "%"}:
            right = self._guarded(right, written)
        return replace(_beside(left, sign, right, type_, binds), written=written)

    def _guarded(self, divisor: _Term, written: str) -> _Term:
        """As a divisor: a zero becomes CEL's own error, as it is for whole numbers.

        One that is reckoned out stands in the text once, or it would double with each divisor within a divisor.
        """
        literal = re.fullmatch(r"[\d.][\d.eE+-]*", divisor.text)
        if literal and float(literal[0]) == 0:
            self.tokens.tell(f"{quoted(written)} divides by zero")
        if literal or divisor.type != "double":
            return divisor
        if divisor.text.isidentifier():
            return replace(divisor, text=f"({divisor.text} == 0.0 ? double(1 / 0) : {divisor.text})", binds=SINGLE)
        text = f"[{divisor.text}].map(d, d == 0.0 ? double(1 / 0) : d)[0]"
        return replace(divisor, text=text, binds=SINGLE)

    def _signed(self) -> _Term:
        sign = self.tokens.take("-", "!")
        if sign is None:
            return self._single()
        with self._deeper():
            term = self._signed()
        fitting = _NUMBERS if sign == "-" else ("bool",)
        self._need(term, fitting, f"cannot stand after {sign}")
        type_ = term.type if term.type in fitting else ""
        return _Term(f"({sign}{term.within(SINGLE)})", f"{sign}{term.written}", type_)

    def _single(self) -> _Term:
        if self.tokens.take("(") is not None:
            return self._enclosed()
        token = self.tokens.next()
        if token is None or token.kind in {"sign", "unknown"}:
            self.tokens.tell_unexpected()
            return HOLE
        kind, text = token
        if kind == "hole":
            self.tokens.take_wrong()
            return _Term("", text, "")
        self.tokens.place += 1
        if kind != "path":
            self._check_number(kind, text)
            return _Term(text, text, kind)
        return _Term(text, text, "bool") if text in {"true", "false"} else self._named(text)

    def _enclosed(self) -> _Term:
        with self._deeper():
            term = self._to_end()
        closed = self.tokens.place < self.tokens.written
        self.tokens.place += 1
        return replace(term, written=f"({term.written})", type=term.type if closed else "")

    def _named(self, path: str) -> _Term:
        if self.tokens.take("(") is not None:
            return self._called(path)
        self._note(path, self.paths)
        return _Term(variable(path), path, "double")

    def _called(self, path: str) -> _Term:
        """has() with a figure; anything else is a mistake, and read for those in it."""
        first, behind = (*self.tokens.all[self.tokens.place : self.tokens.place + 2], None)[:2]
        if path != "has":
            self.tokens.tell(f"{quoted(path)}() is not known: rules know only has(), as in has(base.ctor)")
        elif behind == CLOSE and first is not None and first.kind in {"path", "hole"}:
            self.tokens.place += 2
            if first.kind == "path":
                self._note(first.text, self.asked)
            return _Term(asked_variable(first.text), f"has({first.text})", "bool")
        else:
            self.tokens.tell("has() takes one figure, as in has(base.ctor)")
        return self._passed(path)

    def _passed(self, path: str) -> _Term:
        """What stands between the brackets of a function."""
        with self._deeper():
            while not self.tokens.at_end():
                self._choice()
                if self.tokens.take(",") is None:
                    break
            if not self.tokens.at_end():
                self._to_end()
        self.tokens.place += 1
        return _Term("", f"{path}(…)", "")

    def _note(self, path: str, where: dict[str, None]) -> None:
        mistake = self.unknown(path)
        if mistake is None:
            where[path] = None
        else:
            self.tokens.tell(mistake)

    def _check_number(self, kind: str, text: str) -> None:
        if kind == "int" and int(text) > MAX_WHOLE:
            self.tokens.tell(f"{quoted(text)} is above 2^63 - 1, the largest whole number: write it with decimals")
        elif kind == "double" and isinf(float(text)):
            self.tokens.tell(f"{quoted(text)} is larger than any number")

    def _need(self, term: _Term, types: tuple[str, ...], complaint: str) -> None:
        if term.type and term.type not in types:
            self.tokens.tell_type(f"{term} {complaint}")

    def _same(self, left: _Term, right: _Term, written: str) -> str:
        types = {left.type, right.type}
        if types == {"int", "double"}:
            whole = left if left.type == "int" else right
            better = f"write {whole}.0" if whole.written.isdigit() else f"write {whole} with decimals"
            self.tokens.tell(f"{quoted(written)} mixes a whole number with a decimal one, which CEL refuses: {better}")
            return "double"
        if len(types) > 1 and "" not in types and "bool" in types:
            self.tokens.tell_type(f"{quoted(written)}: a truth value and a number")
        return left.type if len(types) == 1 else ""


def _beside(left: _Term, sign: str, right: _Term, type_: str, binds: int) -> _Term:
    """Both of them, from left to right: a chain needs no parentheses."""
    text = f"{left.within(binds)} {sign} {right.within(binds + 1)}"
    return _Term(text, f"{left.written} {sign} {right.written}", type_, binds)
