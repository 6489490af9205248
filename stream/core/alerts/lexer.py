"""The `when` of a rule as tokens, with every mistake that shows before it is parsed.

A mistake here does not hide those behind it. A word or sign of another language is read as the sign of CEL. What rules do
not have at all becomes a `hole` or an `unknown` sign. Brackets are closed. The parser says nothing more of these.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

QUOTED: Final = 60
"""Characters of a part of an expression that a mistake quotes."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)(?![\w.])|(?P<int>\d+)(?![\w.])"
    r"|(?P<path>[A-Za-z_]\w*+(?:\s*+\.\s*+[A-Za-z_]\w*+)*+)"
    r"|(?P<foreign>[=!]==|=[<>]|<>|[<>=!]\s+=(?!=)|&\s+&|\|\s+\|)|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:(),])|(?P<single>[=&|])"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<list>[\[{])|(?P<strange>[\]}'\"]?[^\s()<>!=&|+\-*/%?:,'\"\[\]{}]*))",
    re.ASCII,
)
_WORDS: Final = {"and": "&&", "or": "||", "not": "!"}
_FOREIGN: Final = {"===": "==", "!==": "!=", "=>": ">=", "=<": "<=", "<>": "!=", "=": "==", "&": "&&", "|": "||"}
_NO_NUMBER: Final = "is not expected: rules compare numbers, and know no texts, lists or maps"
_TRUTHS: Final = ("true", "false")


class Token(NamedTuple):
    """`kind` is int, double, path or sign; hole for what stands where a figure should; unknown for what stands as a sign."""

    kind: str
    text: str


OPEN: Final = Token("sign", "(")
CLOSE: Final = Token("sign", ")")


def quoted(text: str) -> str:
    """The beginning of what may be long."""
    return text if len(text) <= QUOTED else f"{text[: QUOTED - 1]}…"


@dataclass(slots=True)
class Tokens:
    """Those of an expression, how far they are read, and what is wrong with it so far."""

    all: list[Token] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)
    """Mistakes, each once, with the number of the token at which it was noticed first."""
    written: int = 0
    """How many there are without the brackets that were closed behind the end."""
    balanced: bool = True
    """Otherwise nobody knows what belongs together."""
    place: int = 0
    """Of the next one."""
    _told_to: int = -1
    """Up to there a mistake has been told: another one would be a part of it."""

    def next(self) -> Token | None:
        return self.all[self.place] if self.place < len(self.all) else None

    def at_end(self) -> bool:
        """Of the brackets, or of the expression."""
        return self.next() in {None, CLOSE}

    def take(self, *signs: str) -> str | None:
        """The next token when it is one of these signs."""
        token = self.next()
        if token is None or token.kind != "sign" or token.text not in signs:
            return None
        self.place += 1
        return token.text

    def take_wrong(self) -> None:
        """One of which the mistake is told: what is amiss right behind it comes of that."""
        self.place += 1
        self._told_to = self.place

    @property
    def mistakes(self) -> list[str]:
        """In the order of the text."""
        return sorted(self.told, key=lambda mistake: self.told[mistake])

    def tell(self, mistake: str, place: int | None = None) -> None:
        """Of the token that was read last, or of the one at that place."""
        self.told.setdefault(mistake, self.place - 1 if place is None else place)

    def tell_here(self, mistake: str) -> None:
        """Of the next token, unless a mistake reaches up to it."""
        if self.place > self._told_to:
            self.tell(mistake, self.place)
        self._told_to = self.place + 1

    def tell_unexpected(self) -> None:
        token = self.next()
        if token is None or self.place >= self.written:
            self.tell_here("ends where a figure or a number is expected")
        elif self._lacks_operator(token):
            before = self.all[self.place - 1]
            self.tell_here(f"an operator is missing between {quoted(before.text)!r} and {quoted(token.text)!r}")
        else:
            self.tell_here(f"{quoted(token.text)!r} is not expected {_behind(self.all[: self.place])}")

    def _lacks_operator(self, token: Token) -> bool:
        """Two terms stand beside each other."""
        begins = token == OPEN or token.kind not in {"sign", "unknown"}
        before = self.all[self.place - 1] if self.place else OPEN
        return begins and (before == CLOSE or before.kind not in {"sign", "unknown"})

    def tell_type(self, mistake: str) -> None:
        """Of what stands beside what: nobody knows where brackets are missing."""
        if self.balanced:
            self.tell(mistake)


def split(source: str) -> Tokens:
    tokens = Tokens()
    end, rest = 0, source.rstrip()
    while end < len(rest):
        match = _TOKEN.match(rest, end)
        if match is None or match.lastgroup is None:  # what nothing else takes is strange
            raise AssertionError(rest)
        kind = match.lastgroup
        end = match.end() if kind != "list" else _end_of_list(rest, match.start(kind))
        _add(tokens, kind, rest[match.start(kind) : end], touching=match.start() == match.start(kind))
    _balance(tokens)
    return tokens


def _end_of_list(text: str, start: int) -> int:
    """Behind the bracket that closes it, or behind the first word in it where none does."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "[{") - (text[at] in "]}")
        if depth == 0:
            return at + 1
    unclosed = re.compile(r"[\[{]+[^\s()]*").match(text, start)
    return unclosed.end() if unclosed else start + 1


def _add(tokens: Tokens, kind: str, text: str, *, touching: bool) -> None:
    if kind == "path":
        tokens.all.append(_word(tokens, re.sub(r"\s", "", text)))
    elif kind in {"foreign", "single"}:
        meant = _FOREIGN.get(text) or re.sub(r"\s", "", text)
        tokens.tell(f"write {meant} for {text}", len(tokens.all))
        tokens.all.append(Token("sign", meant))
    elif kind in {"text", "list"}:
        tokens.tell(f"{_shown(text)} {_NO_NUMBER}", len(tokens.all))
        _add_hole(tokens, text, belongs=kind == "list" and touching and _after_operand(tokens))
    elif kind == "strange":
        _add_strange(
            tokens, text, belongs=touching and _after_operand(tokens) and (text[0] == "." or text[0].isalnum())
        )
    else:
        tokens.all.append(Token(kind, text))


def _word(tokens: Tokens, text: str) -> Token:
    """Words of other languages are mistakes, and read as what they mean."""
    word = text.lower()
    if word == "in":
        tokens.tell(f"{text} {_NO_NUMBER}", len(tokens.all))
        return Token("unknown", text)
    if word not in _WORDS and (word not in _TRUTHS or word == text):
        return Token("path", text)
    meant = Token("sign", _WORDS[word]) if word in _WORDS else Token("path", word)
    tokens.tell(f"write {meant.text} for {text}", len(tokens.all))
    return meant


def _add_strange(tokens: Tokens, text: str, *, belongs: bool) -> None:
    whole = tokens.all[-1].text + text if belongs else text
    tokens.tell(f"{quoted(repr(whole))} is not understood", len(tokens.all))
    if belongs or not _after_operand(tokens):
        _add_hole(tokens, text, belongs=belongs)
    else:
        tokens.all.append(Token("unknown", _shown(text)))


def _add_hole(tokens: Tokens, text: str, *, belongs: bool) -> None:
    """In place of the term before it where it belongs to that."""
    if belongs and tokens.all[-1] == CLOSE:
        return
    before = tokens.all.pop().text if belongs else ""
    tokens.all.append(Token("hole", _shown(before + text)))


def _after_operand(tokens: Tokens) -> bool:
    return bool(tokens.all) and (tokens.all[-1].kind not in {"sign", "unknown"} or tokens.all[-1] == CLOSE)


def _shown(text: str) -> str:
    return quoted(repr(text)[1:-1])


def _balance(tokens: Tokens) -> None:
    """Leaves out what closes no bracket, and closes at the end what is open."""
    depth = 0
    kept: list[Token] = []
    for token in tokens.all:
        depth += (token == OPEN) - (token == CLOSE)
        if depth < 0:
            depth = 0
            tokens.tell(f"')' is not expected {_behind(kept)}", len(kept))
            tokens.balanced = False
        else:
            kept.append(token)
    if depth:
        tokens.tell("')' is missing at the end" if depth == 1 else f"{depth} ')' are missing at the end", len(kept))
        tokens.balanced = False
    tokens.written = len(kept)
    tokens.all = kept + [CLOSE] * depth


def _behind(tokens: Sequence[Token]) -> str:
    """Right behind these, as a mistake says it."""
    return f"after {quoted(tokens[-1].text)!r}" if tokens else "at the start"
