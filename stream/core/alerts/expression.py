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

from stream.model.money import MAX_SUM as MAX_WHOLE

LONGEST: Final = 1000
"""Characters of an expression."""
DEEPEST: Final = 30
"""Parentheses, signs before a term and choices (``? :``) within one another."""
MOST_TERMS: Final = 200
"""Figures and numbers in an expression."""
QUOTED: Final = 60
"""Characters of a part of it that a mistake quotes."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)(?![\w.])|(?P<int>\d+)(?![\w.])"
    r"|(?P<path>[A-Za-z_]\w*+(?:\s*+\.\s*+[A-Za-z_]\w*+)*+)|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:()]))",
    re.ASCII,
)
_WORDS: Final = {"and": "&&", "or": "||", "not": "!"}
_NUMBERS: Final = ("int", "double")

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


def quoted(text: str) -> str:
    """The beginning of what may be long."""
    return text if len(text) <= QUOTED else f"{text[: QUOTED - 1]}…"


def read_expression(source: str, unknown: Callable[[str], str | None]) -> Expression:
    """``unknown`` says what is wrong with the name of a figure, or nothing. Raises ExpressionError."""
    if len(source) > LONGEST:
        raise ExpressionError([f"longer than {LONGEST} characters"])
    reader = _Reader(source, unknown)
    term = reader.whole()
    if reader.mistakes:
        raise ExpressionError(reader.mistakes)
    try:
        return Expression(cel.compile(term.text), tuple(reader.paths), tuple(reader.asked))
    except ValueError as error:  # nothing is known that comes here
        raise ExpressionError([f"CEL: {quoted(str(error).rpartition('ERROR: ')[2].partition(chr(10))[0])}"]) from None


class _SyntaxError(Exception):
    """Ends the reading: what follows could not be understood."""


@dataclass(slots=True)
class _Reader:
    """Reads by recursive descent, one method for each level of precedence."""

    source: str
    unknown: Callable[[str], str | None]
    mistakes: list[str] = field(default_factory=list)
    paths: dict[str, None] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    place: int = 0
    depth: int = 0

    def whole(self) -> _Term:
        try:
            self._split()
            term = self._choice()
            self._expect_end()
        except _SyntaxError as error:
            self.mistakes.append(str(error))
            return _Term("", "", "")
        if term.type not in {"bool", ""}:
            self.mistakes.append(f"gives a number, and must be true or false: compare it, as in {term} > 0.5")
        return term

    def _split(self) -> None:
        end = 0
        rest = self.source.rstrip()
        while end < len(rest):
            match = _TOKEN.match(rest, end)
            if match is None:
                raise _SyntaxError(_strange(rest[end:].lstrip()))
            kind = match.lastgroup or ""
            self.tokens.append(self._meant(kind, re.sub(r"\s", "", match[kind])))
            end = match.end()
        if sum(kind != "sign" for kind, _ in self.tokens) > MOST_TERMS:
            raise _SyntaxError(f"more than {MOST_TERMS} figures and numbers")

    def _meant(self, kind: str, token: str) -> tuple[str, str]:
        """A word of other languages is a mistake, and read as the sign, so that what follows is read, too."""
        if token.lower() not in _WORDS:
            return kind, token
        sign = _WORDS[token.lower()]
        self.mistakes.append(f"write {sign} for {token}")
        return "sign", sign

    def _next(self) -> str:
        return quoted(self.tokens[self.place][1]) if self.place < len(self.tokens) else "its end"

    def _take(self, *signs: str) -> str | None:
        """The next token when it is one of these signs."""
        if self.place < len(self.tokens) and self.tokens[self.place] in [("sign", sign) for sign in signs]:
            self.place += 1
            return self.tokens[self.place - 1][1]
        return None

    def _expect(self, sign: str) -> None:
        if self._take(sign) is None:
            raise _SyntaxError(f"{sign!r} is missing before {self._next()!r}")

    def _expect_end(self) -> None:
        if self.place < len(self.tokens):
            raise _SyntaxError(f"{self._next()!r} is not expected there")

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """Reading calls itself in here, and so does CEL."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise _SyntaxError(f"more than {DEEPEST} parentheses, signs and choices within one another")
        yield
        self.depth -= 1

    # -- from the weakest binding to the strongest

    def _choice(self) -> _Term:
        test = self._any()
        if self._take("?") is None:
            return test
        yes = self._any()
        self._expect(":")
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
        while self._take(sign):
            right = part()
            for term in (left, right):
                self._need(term, ("bool",), f"stands beside {sign} and must be true or false")
            left = _beside(left, sign, right, "bool", binds)
        return left

    def _compared(self) -> _Term:
        left = self._added()
        while (sign := self._take("==", "!=", "<=", ">=", "<", ">")) is not None:
            right = self._added()
            if sign not in {"==", "!="} or "bool" not in {left.type, right.type}:
                for term in (left, right):
                    self._need(term, _NUMBERS, f"is compared with {sign} and must be a number")
            elif left.type != right.type:
                self.mistakes.append(
                    f"{quoted(f'{left.written} {sign} {right.written}')} compares a truth value with a number"
                )
            left = _beside(left, sign, right, "bool", COMPARED)
        return left

    def _added(self) -> _Term:
        left = self._multiplied()
        while (sign := self._take("+", "-")) is not None:
            left = self._computed(left, sign, self._multiplied(), ADDED)
        return left

    def _multiplied(self) -> _Term:
        left = self._signed()
        while (sign := self._take("*", "/", "%")) is not None:
            left = self._computed(left, sign, self._signed(), MULTIPLIED)
        return left

    def _computed(self, left: _Term, sign: str, right: _Term, binds: int) -> _Term:
        written = f"{left.written} {sign} {right.written}"
        for term in (left, right):
            self._need(term, _NUMBERS, f"stands beside {sign} and must be a number")
        type_ = self._same(left, right, written) if "bool" not in {left.type, right.type} else ""
        if sign == "%" and type_ == "double":
            self.mistakes.append(f"{quoted(written)}: CEL has % for whole numbers only, and figures are decimal ones")
        if sign in {"/", "%"}:
            right = self._guarded(right, written)
        return replace(_beside(left, sign, right, type_, binds), written=written)

    def _guarded(self, divisor: _Term, written: str) -> _Term:
        """As a divisor: a zero becomes CEL's own error, as it is for whole numbers.

        One that is reckoned out stands in the text once, or it would double with each divisor within a divisor.
        """
        literal = re.fullmatch(r"[\d.][\d.eE+-]*", divisor.text)
        if literal and float(literal[0]) == 0:
            self.mistakes.append(f"{quoted(written)} divides by zero")
        if literal or divisor.type != "double":
            return divisor
        if divisor.text.isidentifier():
            return replace(divisor, text=f"({divisor.text} == 0.0 ? double(1 / 0) : {divisor.text})", binds=SINGLE)
        text = f"[{divisor.text}].map(d, d == 0.0 ? double(1 / 0) : d)[0]"
        return replace(divisor, text=text, binds=SINGLE)

    def _signed(self) -> _Term:
        sign = self._take("-", "!")
        if sign is None:
            return self._single()
        with self._deeper():
            term = self._signed()
        self._need(term, _NUMBERS if sign == "-" else ("bool",), f"cannot stand after {sign}")
        return _Term(f"({sign}{term.within(SINGLE)})", f"{sign}{term.written}", term.type)

    def _single(self) -> _Term:
        if self._take("(") is not None:
            return self._enclosed()
        if self.place == len(self.tokens):
            raise _SyntaxError("ends where a figure or a number is expected" if self.tokens else "is empty")
        kind, text = self.tokens[self.place]
        if kind == "sign":
            raise _SyntaxError(f"{text!r} is not expected there")
        self.place += 1
        if kind != "path":
            self._check_number(kind, text)
            return _Term(text, text, kind)
        return _Term(text, text, "bool") if text in {"true", "false"} else self._named(text)

    def _enclosed(self) -> _Term:
        with self._deeper():
            term = self._choice()
            self._expect(")")
        return replace(term, written=f"({term.written})")

    def _named(self, path: str) -> _Term:
        if self._take("(") is None:
            self._note(path, self.paths)
            return _Term(variable(path), path, "double")
        if path != "has":
            raise _SyntaxError(f"{quoted(path)}() is not known: rules know only has(), as in has(base.ctor)")
        asked = self.tokens[self.place][1] if self.place < len(self.tokens) else ""
        self.place += 1
        self._expect(")")
        self._note(asked, self.asked)
        return _Term(asked_variable(asked), f"has({asked})", "bool")

    # -- mistakes after which reading goes on

    def _note(self, path: str, where: dict[str, None]) -> None:
        mistake = self.unknown(path)
        if mistake is None:
            where[path] = None
        elif mistake not in self.mistakes:
            self.mistakes.append(mistake)

    def _check_number(self, kind: str, text: str) -> None:
        if kind == "int" and int(text) > MAX_WHOLE:
            self.mistakes.append(f"{quoted(text)} is above 2^63 - 1, the largest whole number: write it with decimals")
        elif kind == "double" and isinf(float(text)):
            self.mistakes.append(f"{quoted(text)} is larger than any number")

    def _need(self, term: _Term, types: tuple[str, ...], complaint: str) -> None:
        if term.type and term.type not in types:
            self.mistakes.append(f"{term} {complaint}")

    def _same(self, left: _Term, right: _Term, written: str) -> str:
        types = {left.type, right.type}
        if types == {"int", "double"}:
            whole = left if left.type == "int" else right
            better = f"write {whole}.0" if whole.written.isdigit() else f"write {whole} with decimals"
            self.mistakes.append(
                f"{quoted(written)} mixes a whole number with a decimal one, which CEL refuses: {better}"
            )
            return "double"
        if len(types) > 1 and "" not in types and "bool" in types:
            self.mistakes.append(f"{quoted(written)}: a truth value and a number")
        return left.type if len(types) == 1 else ""


def _beside(left: _Term, sign: str, right: _Term, type_: str, binds: int) -> _Term:
    """Both of them, from left to right: a chain needs no parentheses."""
    text = f"{left.within(binds)} {sign} {right.within(binds + 1)}"
    return _Term(text, f"{left.written} {sign} {right.written}", type_, binds)


def _strange(rest: str) -> str:
    if rest[0] in "=&|":
        return f"a single {rest[0]}: write {rest[0] * 2}"
    if rest[0] in "'\"[{":
        return f"{rest[0]} is not expected there: rules compare numbers, and know no texts, lists or maps"
    return f"{rest[:12]!r} is not understood"
