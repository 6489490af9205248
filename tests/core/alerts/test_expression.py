"""The CEL of rules: what is refused, with which words, and what a right expression gives."""

import re
from collections.abc import Callable

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts.expression import DEEPEST, LONGEST, MOST_TERMS, ExpressionError, read_expression
from stream.core.alerts.figures import unknown_figure


def unknown(path: str) -> str | None:
    return unknown_figure(path, baseline=True)


def mistakes(source: str) -> list[str]:
    with pytest.raises(ExpressionError) as caught:
        read_expression(source, unknown)
    return caught.value.mistakes


def value(source: str, **figures: float | bool) -> object:
    return read_expression(source, unknown).program.execute(dict(figures))


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("w.views >", "ends where a figure or a number is expected"),
        ("(w.views > 1.0", "')' is missing at the end"),
        ("w.views > 1.0)", "')' is not expected after '1.0'"),
        ("w.views > 1.0 and true", "write && for and"),
        ("w.views = 3.0", "write == for ="),
        ("w.views > 1.0 & w.likes > 1.0", "write && for &"),
        ("w.views == 'many'", "'many' is not expected: rules compare numbers, and know no texts, lists or maps"),
        ("w['views'] > 1.0", "['views'] is not expected: rules compare numbers, and know no texts, lists or maps"),
        ("w.views > 5x", "'5x' is not understood"),
        ("size(w) > 1", "size() is not known: rules know only has(), as in has(base.ctor)"),
        ("w.views", "gives a number, and must be true or false: compare it, as in w.views > 0.5"),
        ("w.views * 2 > 3.0", "w.views * 2 mixes a whole number with a decimal one, which CEL refuses: write 2.0"),
        (
            "(1 + 2) * w.views > 3.0",
            "(1 + 2) * w.views mixes a whole number with a decimal one, which CEL refuses: write (1 + 2) with decimals",
        ),
        ("w.views && true", "w.views stands beside && and must be true or false"),
        ("1.0 < w.views < 2.0", "1.0 < w.views is compared with < and must be a number"),
        ("!w.views", "w.views cannot stand after !"),
        ("-(w.views > 1.0) > 2.0", "(w.views > 1.0) cannot stand after -"),
        ("true + w.views > 1.0", "true stands beside + and must be a number"),
        ("w.views == true", "w.views == true compares a truth value with a number"),
        ("w.views > 1.0 ? true : 2.0", "w.views > 1.0 ? true : 2.0: a truth value and a number"),
        ("w.views ? true : false", "w.views stands before ? and must be true or false"),
        ("w.views / 0.0 > 1.0", "w.views / 0.0 divides by zero"),
        ("1 / 0 > 1", "1 / 0 divides by zero"),
        ("w.views % 2.0 > 1.0", "w.views % 2.0: CEL has % for whole numbers only, and figures are decimal ones"),
        ("w.vievs > 1.0", "w.vievs is not known; did you mean w.views?"),
        ("views > 1.0", "views is not known: write w.views"),
        ("window.views > 1.0", "window.views is not known; did you mean w.views?"),
        ("qqq > 1.0", "qqq is not known: figures are w.<name>, base.<name> and median.<name>"),
        ("median.ctor > 1.0", "median.ctor is not known"),
        ("base.seconds_since_last_event > 1.0", "base.seconds_since_last_event is not known"),
        ("has(w.vievs) && true", "w.vievs is not known; did you mean w.views?"),
        ("has() || true", "has() takes one figure, as in has(base.ctor)"),
        ("w.views > " + "9" * 30, "9" * 30 + " is above 2^63 - 1, the largest whole number: write it with decimals"),
        ("w.views > 1e999", "1e999 is larger than any number"),
        ("(" * 31 + "true" + ")" * 31, "more than 30 parentheses, signs and choices within one another"),
        ("!" * 31 + "true", "more than 30 parentheses, signs and choices within one another"),
        ("-" * 900 + "1 > 0", "more than 30 parentheses, signs and choices within one another"),
        ("true ? true : " * 31 + "true", "more than 30 parentheses, signs and choices within one another"),
        ("1+" * 200 + "1 > 0", "more than 200 figures and numbers"),
        ("w.views > 1.0 || " * 100 + "true", "longer than 1000 characters"),
        ("w.views + " * 90 + "1 > 0.5", "w.views + w.views + w.views + w.views + w.views + w.views +… mixes"),
    ],
)
def test_a_mistake_is_named(source: str, mistake: str) -> None:
    assert mistakes(source)[0].startswith(mistake)


def test_every_mistake_is_reported_at_once() -> None:
    assert mistakes("w.vievs > 2 * w.likes && w.comment > 1.0 || w.views") == [
        "w.vievs is not known; did you mean w.views?",
        "2 * w.likes mixes a whole number with a decimal one, which CEL refuses: write 2.0",
        "w.comment is not known; did you mean w.comments?",
        "w.views stands beside || and must be true or false",
    ]


def test_an_unknown_name_is_reported_once() -> None:
    assert len(mistakes("w.vievs > 1.0 || w.vievs < 0.5")) == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("w.views > 3", True),
        ("w.views >= 4.0 && w.likes < 1.0", True),
        ("w.views > 5.0 || w.likes == 0", True),
        ("w.views - 1.0 - 1.0 == 2.0", True),
        ("w.views + 2.0 * 3.0 == 10.0", True),
        ("(w.views + 2.0) * 3.0 == 18.0", True),
        ("w.views / 2.0 / 2.0 == 1.0", True),
        ("-w.views < -3.5", True),
        ("!(w.views > 3.0)", False),
        ("w.views > 3.0 ? w.likes > 1.0 : true", False),
        ("1e1 > w.views && .5 < w.views", True),
        ("w . views > 3.0\n && w.likes < 1.0", True),
        ("7 % 4 == 3", True),
        ("true || w.views > 1.0 && false", True),
        ("w.views - (w.views - 1.0) == 1.0", True),
        ("8.0 / (w.views / 2.0) == 4.0", True),
        ("8.0 / w.views / 2.0 == 1.0", True),
        ("2.0 * (w.views / 2.0) == 4.0", True),
        ("(w.views > 3.0 ? w.likes : w.views) == 0.0", True),
        ("(false ? true : true) && false", False),
        ("!(true && false) && !(w.likes > 1.0) == true", True),
        ("--w.views == 4.0", True),
    ],
)
def test_a_right_expression_means_what_cel_says(source: str, expected: object) -> None:
    assert value(source, w__views=4.0, w__likes=0.0) is expected


def test_has_asks_whether_a_figure_is_there() -> None:
    read = read_expression("!has(base.ctor) || w.ctor < base.ctor", unknown)
    assert read.paths == ("w.ctor", "base.ctor")
    assert read.asked == ("base.ctor",)
    assert read.program.execute({"has__base__ctor": False, "w__ctor": 1.0}) is True


@pytest.mark.parametrize(
    "source", ["w.likes / w.views > 1.0", "w.likes / (w.views - w.views) > 1.0", "1.0 / -w.views < 2.0"]
)
def test_a_division_by_zero_is_an_error_and_not_infinity(source: str) -> None:
    with pytest.raises(ZeroDivisionError):
        value(source, w__views=0.0, w__likes=1.0)


def test_a_division_that_is_not_needed_does_no_harm() -> None:
    assert value("w.views > 0.0 && w.likes / w.views > 1.0", w__views=0.0, w__likes=1.0) is False


@pytest.mark.parametrize(
    "source",
    [
        "w.likes / (w.views - w.views) > 1.0 || w.views == 0.0",
        "w.views == 0.0 || w.likes / (w.views - w.views) > 1.0",
        "w.likes / base.ctor > 1.0 || w.views == 0.0",
        "w.likes / (base.ctor + 1.0) > 1.0 || w.views == 0.0",
    ],
)
def test_what_cannot_be_reckoned_out_does_no_harm_where_the_rest_decides(source: str) -> None:
    assert value(source, w__views=0.0, w__likes=1.0) is True


def not_a_truth(term: str, sign: str) -> str:
    return f"{term} stands beside {sign} and must be true or false"


ONE = "w.views"
SHAPES: dict[str, Callable[[int], str]] = {
    "divisors within divisors": lambda n: "1.0/(" * n + ONE + ")" * n + " > 0.5",
    "signs within divisors": lambda n: "1.0/-(" * (n // 2) + ONE + ")" * (n // 2) + " > 0.5",
    "divisors of sums": lambda n: "1.0/(1.0+" * n + ONE + ")" * n + " > 0.5",
    "choices within divisors": lambda n: "1.0/(true?2.0:" * (n // 2) + ONE + ")" * (n // 2) + " > 0.5",
    "parentheses": lambda n: "(" * n + ONE + ")" * n + " > 0.5",
    "sums within sums": lambda n: "(1.0-" * n + ONE + ")" * n + " > 0.5",
    "negations": lambda n: "!" * n + "true",
    "negated parentheses": lambda n: "!(" * (n // 2) + "true" + ")" * (n // 2),
    "choices": lambda n: "false?true:" * n + "true",
    "choices in tests": lambda n: "(" * (n // 2) + "true" + "?true:true)" * (n // 2),
    "a chain of sums": lambda n: "1.0+" * (6 * n) + "1.0 > 0.5",
    "a chain of divisions": lambda n: "1.0" + "/w.views" * (3 * n) + " > 0.5",
    "a chain of alternatives": lambda n: "||".join(["1>2"] * (3 * n)),
    "a chain of conditions": lambda n: "&&".join(["2>1"] * (3 * n)),
    "conditions and alternatives": lambda n: "||".join(["1>2&&2>1"] * (n + 20)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_text_for_cel_grows_no_faster_than_the_source(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """133 characters became 46 MB, when a divisor stood in the text twice. What is within the limits CEL reads, too."""
    built: list[str] = []
    monkeypatch.setattr(cel, "compile", built.append)
    for size in (4, 8, 16, DEEPEST):
        source = SHAPES[shape](size)
        if len(source) <= LONGEST:
            read_expression(source, unknown)
            assert len(built.pop()) <= 10 * len(source) + 100
    monkeypatch.undo()
    sizes = [size for size in range(4, DEEPEST + 1) if len(SHAPES[shape](size)) <= LONGEST]
    assert read_expression(SHAPES[shape](max(sizes)), unknown).program.execute({"w__views": 1.0}) in {True, False}


def mistakes_if_any(source: str) -> list[str]:
    try:
        read_expression(source, unknown)
    except ExpressionError as error:
        return error.mistakes
    return []


@given(st.text(alphabet="w.views()!-+*/%<>=&|?:0123456789eE \n'\"[]{}\0é", max_size=LONGEST + 1))
def test_any_text_is_read_or_its_mistakes_are_told(text: str) -> None:
    assert all(len(mistake) < 400 for mistake in mistakes_if_any(text))


TOKENS = (
    "w.views",
    "base.ctor",
    "has(w.ctor)",
    "1.5",
    "2",
    "true",
    *"()!-+*/%<>?:",
    "&&",
    "||",
    "==",
    "!=",
    "<=",
    ">=",
)


@given(st.lists(st.sampled_from(TOKENS), max_size=300).map(" ".join))
def test_cel_has_nothing_to_say_of_what_is_read(source: str) -> None:
    assert not [mistake for mistake in mistakes_if_any(source) if mistake.startswith("CEL")]


def numbers(depth: int) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(["w.views", "w.likes", "base.ctor", "2.5", "0.5", "-1.0"])
    if depth == 0:
        return leaf
    pair = st.tuples(numbers(depth - 1), st.sampled_from("+-*/"), numbers(depth - 1))
    return leaf | pair.map(" ".join) | pair.map(lambda parts: f"({' '.join(parts)})")


def truths(depth: int) -> st.SearchStrategy[str]:
    leaf = st.tuples(numbers(2), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), numbers(2)).map(" ".join)
    if depth == 0:
        return leaf
    pair = st.tuples(truths(depth - 1), st.sampled_from(["&&", "||"]), truths(depth - 1))
    joined = pair.map(" ".join) | pair.map(lambda parts: f"({' '.join(parts)})")
    return leaf | joined | truths(depth - 1).map(lambda part: f"!({part})")


@given(truths(2), *([st.integers(0, 3).map(float)] * 3))
def test_what_is_accepted_agrees_with_python_or_divides_by_zero(
    source: str, views: float, likes: float, ctor: float
) -> None:
    """Python raises wherever it divides by zero; CEL may do without the half that does."""
    text = source.replace("&&", " and ").replace("||", " or ").replace("!(", "not (")
    for path, figure in (("w.views", views), ("w.likes", likes), ("base.ctor", ctor)):
        text = text.replace(path, f"({figure})")
    try:
        expected = bool(eval(text))  # made of numbers and signs here
    except ZeroDivisionError:
        expected = None
    try:
        found = value(source, w__views=views, w__likes=likes, base__ctor=ctor)
    except ZeroDivisionError:
        found = None
    assert found is expected or expected is None


FUNCTIONS = "() is not known: rules know only has(), as in has(base.ctor)"
LISTS = "is not expected: rules compare numbers, and know no texts, lists or maps"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "w.vievs = 2.0 and (w.likes > 1.0",
            [unknown("w.vievs"), "write == for =", "write && for and", "')' is missing at the end"],
        ),
        (
            "w.vievs > 2.0 and not (w.views > 1.0) OR w.comment > TRUE",
            [
                *(unknown("w.vievs"), "write && for and", "write ! for not", "write || for OR", unknown("w.comment")),
                *("write true for TRUE", "true is compared with > and must be a number"),
            ],
        ),
        ("w.views => 2.0 && w.likes === 1.0", ["write >= for =>", "write == for ==="]),
        ("w.views > = 2.0 & & w.likes <> 1.0", ["write >= for > =", "write && for & &", "write != for <>"]),
        ("w.views > && w.vievs > 1.0", ["'&&' is not expected after '>'", unknown("w.vievs")]),
        ("w.views > 1.0 w.vievs > 2.0", ["an operator is missing between '1.0' and 'w.vievs'", unknown("w.vievs")]),
        ("w.views > > 1.0 || w.vievs > > 2.0", ["'>' is not expected after '>'", unknown("w.vievs")]),
        ("w.views > 1.0;", ["';' is not understood"]),
        (
            "w.views ≥ 1.0 && wé > 5x && w..likes < 1.0",
            [f"{text!r} is not understood" for text in ("≥", "wé", "5x", "w..likes")],
        ),
        (
            "w.views > 1.0 ; w.vievs > 2.0 && w.likes",
            ["';' is not understood", unknown("w.vievs"), not_a_truth("w.likes", "&&")],
        ),
        (
            "w.views == 'a && b' || w['x'] == {1: [2]} || w.vievs > 1.0",
            [f"'a && b' {LISTS}", f"['x'] {LISTS}", f"{{1: [2]}} {LISTS}", unknown("w.vievs")],
        ),
        (
            "w.views in [1, 2] && w.vievs > 1.0",
            [f"in {LISTS}", f"[1, 2] {LISTS}", unknown("w.vievs")],
        ),
        ("(w.views == 'a) && w.vievs > 1.0", ['"\'a" is not understood', unknown("w.vievs")]),
        ("(w['views > 1.0) && w.vievs > 1.0", [f"['views {LISTS}", unknown("w.vievs")]),
        ("(w.views > 1.0)) && w.vievs > 1.0", ["')' is not expected after ')'", unknown("w.vievs")]),
        ("((w.views + w.likes > 1.0 && w.vievs", [unknown("w.vievs"), "2 ')' are missing at the end"]),
        ("w.views * (w.likes > 1.0 && w.vievs > 2.0", [unknown("w.vievs"), "')' is missing at the end"]),
        (")", ["')' is not expected at the start"]),
        ("() && w.vievs > 1.0", ["')' is not expected after '('", unknown("w.vievs")]),
        ("w.views ! 1.0 && w.vievs > 1.0", ["'!' is not expected after 'w.views'", unknown("w.vievs")]),
        ("w.views > 1.0 ? w.likes > 1.0 && w.vievs > 1.0", [unknown("w.vievs"), "':' is missing at the end"]),
        ("true ? true ? true : false : w.vievs > 1.0", ["':' is missing before '?'", unknown("w.vievs")]),
        ("w.views > 1.0 : w.vievs > 1.0", ["':' is not expected after '1.0'", unknown("w.vievs")]),
        ("w.views > 1.0, w.vievs > 1.0", ["',' is not expected after '1.0'", unknown("w.vievs")]),
        (
            "max(w.views, w.vievs) > 1.0 and abs(2.0",
            [
                *(f"max{FUNCTIONS}", unknown("w.vievs"), "write && for and", f"abs{FUNCTIONS}"),
                "')' is missing at the end",
            ],
        ),
        (
            "has(w.views > 1.0) && has(base['ctor'])",
            ["has() takes one figure, as in has(base.ctor)", f"['ctor'] {LISTS}"],
        ),
        (
            "has(w.vievs, 1.0) && has(",
            ["has() takes one figure, as in has(base.ctor)", unknown("w.vievs"), "')' is missing at the end"],
        ),
        ("(w.ctor > 0.5 w.views)", ["an operator is missing between '0.5' and 'w.views'"]),
        ("(w.ctor) (w.views) > 1.0", ["an operator is missing between ')' and '('"]),
    ],
)
def test_a_mistake_hides_no_other_and_makes_none(source: str, expected: list[str]) -> None:
    assert mistakes(source) == expected


WRONG = (
    "w.vievs > 1.0",
    "w.views = 1.0",
    "w.views > ",
    "w.views ≥ 1.0",
    "w.views > 'many'",
    "w['views'] > 1.0",
    "max(w.views, w.likes) > 1.0",
    "has() || true",
    "w.views > 5x",
    "w.views 1.0",
    "w.views > > 1.0",
    "!w.views",
    "2 * w.views > 1.0",
    "w.views > 1.0 ? true",
    "w.views > 1.0, true",
    "w.views > 1.0;",
    "w.views > 1.0 and true",
    "w.views / 0.0 > 1.0",
    "w.views > 1e999",
    "true",
)


def joined(depth: int) -> st.SearchStrategy[tuple[str, list[str]]]:
    """An expression of parts in brackets, most of them wrong, and the parts."""
    leaf = st.sampled_from(WRONG).map(lambda part: (f"({part})", [part]))
    if depth == 0:
        return leaf
    pair = st.tuples(joined(depth - 1), st.sampled_from(["&&", "||"]), joined(depth - 1))
    both = pair.map(lambda at: (f"({at[0][0]} {at[1]} {at[2][0]})", [*at[0][1], *at[2][1]]))
    return leaf | both | joined(depth - 1).map(lambda at: (f"!{at[0]}", at[1]))


@given(joined(3))
def test_the_mistakes_of_an_expression_are_those_of_its_parts(whole: tuple[str, list[str]]) -> None:
    source, parts = whole
    assert set(mistakes_if_any(source)) == {mistake for part in parts for mistake in mistakes_if_any(f"({part})")}


@given(truths(2), st.data())
def test_one_slip_makes_few_mistakes(source: str, data: st.DataObject) -> None:
    """A token left out, or one too many: what follows from it is not told."""
    tokens = re.findall(r"[\w.]+|&&|\|\||[=!<>]=|\S", source)
    at = data.draw(st.integers(0, len(tokens) - 1))
    extra = data.draw(st.sampled_from(["", *"()<>?:;@,!", "&&", "==", "w.views", "'x'"]))
    slipped = tokens[:at] + ([extra, tokens[at]] if extra else []) + tokens[at + 1 :]
    assert len(mistakes_if_any(" ".join(slipped))) <= 3


def test_the_mistakes_of_an_expression_are_bounded() -> None:
    found = mistakes(" && ".join(f"{letter}{other} > 1.0" for letter in "abcdefg" for other in "abcdefg"))
    assert (len(found), found[-1]) == (21, "the first 20 mistakes: there may be more")


@pytest.mark.parametrize(
    ("most", "one_more"),
    [
        ("true" + " " * (LONGEST - 4), "true" + " " * (LONGEST - 3)),
        ("1+" * (MOST_TERMS - 2) + "1 > 0", "1+" * (MOST_TERMS - 1) + "1 > 0"),
        ("(" * DEEPEST + "true" + ")" * DEEPEST, "(" * (DEEPEST + 1) + "true" + ")" * (DEEPEST + 1)),
        ("9223372036854775807 > 1", "9223372036854775808 > 1"),
    ],
)
def test_what_is_just_within_a_limit_is_read(most: str, one_more: str) -> None:
    assert mistakes_if_any(most) == []
    assert len(mistakes(one_more)) == 1


def test_twenty_mistakes_are_all_told() -> None:
    found = mistakes(" && ".join(f"q{letter} > 1.0" for letter in "abcdefghijklmnopqrst"))
    assert len(found) == 20
    assert not found[-1].startswith("the first")


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("1.0 (2.0 > 1.0)", "an operator is missing between '1.0' and '('"),
        ("true + w.views > 1.0", "true stands beside + and must be a number"),
        ("w.views == [X] || w.views > 1.0", f"[X] {LISTS}"),
        ("w.views == {X: [Y]} || w.views > 1.0", f"{{X: [Y]}} {LISTS}"),
    ],
)
def test_one_mistake_is_one_and_no_other(source: str, mistake: str) -> None:
    assert mistakes(source) == [mistake]
