"""The `when` of a rule, read and checked: the part of CEL that compares numbers, with figures as its variables.

What passes here cannot fail later but by a division by zero or a figure that is absent. The expression is handed to CEL with
its figures as plain variables (``w.ctor`` as ``w__ctor``), which CEL reads three times as fast as fields of a map, and with
every divisor asked first: CEL itself makes infinity of 1.0 / 0.0, and that would exceed any threshold.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import cel

LONGEST: Final = 1000
"""Characters of an expression."""
DEEPEST: Final = 30
"""Parentheses within one another."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)(?![\w.])|(?P<int>\d+)(?![\w.])"
    r"|(?P<path>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:()]))",
    re.ASCII,
)
_NUMBERS: Final = ("int", "double")


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
    except ValueError as error:  # such as a whole number of more than 64 bits
        raise ExpressionError([f"CEL: {str(error).rpartition('ERROR: ')[2].partition(chr(10))[0]}"]) from None


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
            self.mistakes.append(f"gives a number, and must be true or false: compare it, as in {term.written} > 0.5")
        return term

    def _split(self) -> None:
        end = 0
        rest = self.source.rstrip()
        while end < len(rest):
            match = _TOKEN.match(rest, end)
            if match is None:
                raise _SyntaxError(_strange(rest[end:].lstrip()))
            kind = match.lastgroup or ""
            self.tokens.append((kind, re.sub(r"\s", "", match[kind])))
            end = match.end()

    def _next(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else "its end"

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

    # -- from the weakest binding to the strongest

    def _choice(self) -> _Term:
        test = self._any()
        if self._take("?") is None:
            return test
        yes = self._any()
        self._expect(":")
        no = self._choice()
        self._need(test, ("bool",), "stands before ? and must be true or false")
        text = f"({test.text} ? {yes.text} : {no.text})"
        written = f"{test.written} ? {yes.written} : {no.written}"
        return _Term(text, written, self._same(yes, no, written))

    def _any(self) -> _Term:
        return self._joined("||", self._all)

    def _all(self) -> _Term:
        return self._joined("&&", self._compared)

    def _joined(self, sign: str, part: Callable[[], _Term]) -> _Term:
        left = part()
        while self._take(sign):
            right = part()
            for term in (left, right):
                self._need(term, ("bool",), f"stands beside {sign} and must be true or false")
            left = _Term(f"({left.text} {sign} {right.text})", f"{left.written} {sign} {right.written}", "bool")
        return left

    def _compared(self) -> _Term:
        left = self._added()
        while (sign := self._take("==", "!=", "<=", ">=", "<", ">")) is not None:
            right = self._added()
            written = f"{left.written} {sign} {right.written}"
            if sign not in {"==", "!="} or "bool" not in {left.type, right.type}:
                for term in (left, right):
                    self._need(term, _NUMBERS, f"is compared with {sign} and must be a number")
            elif left.type != right.type:
                self.mistakes.append(f"{written} compares a truth value with a number")
            left = _Term(f"({left.text} {sign} {right.text})", written, "bool")
        return left

    def _added(self) -> _Term:
        left = self._multiplied()
        while (sign := self._take("+", "-")) is not None:
            left = self._computed(left, sign, self._multiplied())
        return left

    def _multiplied(self) -> _Term:
        left = self._signed()
        while (sign := self._take("*", "/", "%")) is not None:
            left = self._computed(left, sign, self._signed())
        return left

    def _computed(self, left: _Term, sign: str, right: _Term) -> _Term:
        written = f"{left.written} {sign} {right.written}"
        for term in (left, right):
            self._need(term, _NUMBERS, f"stands beside {sign} and must be a number")
        type_ = self._same(left, right, written) if "bool" not in {left.type, right.type} else ""
        if sign == "%" and type_ == "double":
            self.mistakes.append(f"{written}: CEL has % for whole numbers only, and figures are decimal ones")
        text = f"({left.text} {sign} {right.text})"
        if sign in {"/", "%"}:
            text = self._divided(text, right, written)
        return _Term(text, written, type_)

    def _divided(self, text: str, divisor: _Term, written: str) -> str:
        """Zero below becomes CEL's own error, as it is for whole numbers."""
        literal = re.fullmatch(r"[\d.eE+-]+", divisor.text)
        if literal and float(literal[0]) == 0:
            self.mistakes.append(f"{written} divides by zero")
        return text if literal or divisor.type != "double" else f"({divisor.text} == 0.0 ? double(1 / 0) : {text})"

    def _signed(self) -> _Term:
        sign = self._take("-", "!")
        if sign is None:
            return self._single()
        term = self._signed()
        self._need(term, _NUMBERS if sign == "-" else ("bool",), f"cannot stand after {sign}")
        return _Term(f"({sign}{term.text})", f"{sign}{term.written}", term.type)

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
            return _Term(text, text, kind)
        return _Term(text, text, "bool") if text in {"true", "false"} else self._named(text)

    def _enclosed(self) -> _Term:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _SyntaxError(f"more than {DEEPEST} parentheses within one another")
        term = self._choice()
        self._expect(")")
        self.depth -= 1
        return _Term(term.text, f"({term.written})", term.type)

    def _named(self, path: str) -> _Term:
        if self._take("(") is None:
            self._note(path, self.paths)
            return _Term(variable(path), path, "double")
        if path != "has":
            raise _SyntaxError(f"{path}() is not known: rules know only has(), as in has(base.ctor)")
        asked = self._next()
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

    def _need(self, term: _Term, types: tuple[str, ...], complaint: str) -> None:
        if term.type and term.type not in types:
            self.mistakes.append(f"{term.written} {complaint}")

    def _same(self, left: _Term, right: _Term, written: str) -> str:
        types = {left.type, right.type}
        if types == {"int", "double"}:
            whole = left if left.type == "int" else right
            better = f"write {whole.written}.0" if whole.written.isdigit() else f"write {whole.written} with decimals"
            self.mistakes.append(f"{written} mixes a whole number with a decimal one, which CEL refuses: {better}")
            return "double"
        if len(types) > 1 and "" not in types and "bool" in types:
            self.mistakes.append(f"{written}: a truth value and a number")
        return left.type if len(types) == 1 else ""


def _strange(rest: str) -> str:
    if rest[0] in "=&|":
        return f"a single {rest[0]}: write {rest[0] * 2}"
    if rest[0] in "'\"[{":
        return f"{rest[0]} is not expected there: rules compare numbers, and know no texts, lists or maps"
    return f"{rest[:12]!r} is not understood"
