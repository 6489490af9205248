"""The page of ``liveshop replay diff --html``: one file that needs nothing else, neither a host nor a script."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from html import escape
from importlib.resources import files
from typing import Final

from stream.cli.replay_figures import VERDICTS, difference, figure, gain, label
from stream.cli.timestamps import in_zone
from stream.durations import parse_duration
from stream.plaintext import plain
from stream.replay.compare import SESSIONS, Change, Comparison, Difference, Verdict

STYLE: Final = files("stream.cli").joinpath("replay_page.css")
OPEN: Final = 3
"""Differences that are shown with their values; the others open when they are asked."""


def page(replay: str, found: Comparison, version: str) -> str:
    """The whole file. ``replay``: the id of it. ``version``: of liveshop."""
    title = f"Replay {_text(replay)} beside live"
    span = f"{in_zone(found.from_ms)} to {in_zone(found.to_ms)}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            f'<head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>\n{STYLE.read_text(encoding='utf-8')}</style></head>",
            f'<body><h1>{title}</h1><p class="quiet">{_text(span)}</p>',
            *_verdict(found),
            *_compared(found),
            *_sums(found),
            *_largest(found),
            f"<footer>Made by liveshop {_text(version)}. Values are those of the last revisions.</footer>",
            "</body></html>\n",
        ]
    )


def _text(value: object) -> str:
    """Text of data: shown, and never obeyed."""
    return escape(plain(str(value)))


def verdict(found: Comparison) -> str:
    """In one sentence."""
    if found.differing:
        return f"{found.differing:,} of {found.compared:,} results differ."
    if found.compared:
        return f"Equal: {found.compared:,} results are the same in the replay and live."
    expired = "retention has deleted all that was counted live" if not found.equal else "there is nothing in the range"
    return f"Nothing was compared: {expired}."


def _verdict(found: Comparison) -> list[str]:
    kind = "good" if found.equal else "bad"
    notes = [f"<p>{_text(note)}</p>" for note in notes_on(found)]
    return [f'<p class="verdict {kind}">{_text(verdict(found))}</p>', *notes]


def notes_on(found: Comparison) -> list[str]:
    """What was not compared, and what is not whole."""
    partial = found.tallies[SESSIONS][Verdict.PARTIAL]
    expired = sum(tally[Verdict.LIVE_EXPIRED] for tally in found.tallies.values())
    incomplete = found.incomplete.total()
    said = {
        f"Sessions that go beyond an end of the range: {partial:,}. Only their windows are compared.": partial,
        f"Results of the replay whose live ones have expired: {expired:,}. They are not compared.": expired,
        f"Results of the replay that lack input, which retention has deleted: {incomplete:,}.": incomplete,
        f"Records in the topics that are no results of liveshop, and were passed over: {found.strays:,}.": found.strays,
    }
    return [note for note, number in said.items() if number]


def names_of(found: Comparison) -> list[str]:
    """Totals first, then the windows by length."""
    return sorted((name for name, tally in found.tallies.items() if tally), key=_length)


def _length(name: str) -> tuple[timedelta, str]:
    try:
        return parse_duration(name), name
    except ValueError:  # totals
        return timedelta(0), name


def _compared(found: Comparison) -> list[str]:
    if not (names := names_of(found)):
        return []
    rows = [[_cell(_name(name)), *(_count(found.tallies[name][each]) for each in VERDICTS)] for name in names]
    return ["<h2>What was compared</h2>", *_table(["", *VERDICTS.values()], rows, numbers=1)]


def _name(name: str) -> str:
    return "totals of sessions" if name == SESSIONS else f"windows of {name}"


def _count(number: int) -> str:
    return f'<td class="n{"" if number else " zero"}">{number:,}</td>'


def sums_of(found: Comparison) -> list[tuple[str, str, int, int]]:
    """Where the sums over all that was compared differ: the name of the windows, path, live, replay."""
    return [
        (name, path, live, replay)
        for name in names_of(found)
        for path, (live, replay) in found.sums[name].items()
        if live != replay
    ]


def _sums(found: Comparison) -> list[str]:
    rows, shown = [], ""
    for name, path, live, replay in sums_of(found):
        more = replay - live
        figures = [_cell(figure(path, each), "n") for each in (live, replay)]
        named = "" if name == shown else _name(name)
        rows.append([_cell(named), _cell(label(path)), *figures, _cell(gain(path, more), f"n {_side(more)}")])
        shown = name
    if not rows:
        return []
    return [
        "<h2>All of it together</h2>",
        '<p class="quiet">Sums over everything that was compared, where they differ.</p>',
        *_table(["", "", "live", "replay", "difference"], rows, numbers=2),
    ]


def _largest(found: Comparison) -> list[str]:
    if not (largest := found.largest):
        return []
    more = found.differing - len(largest)
    rest = [f'<p class="quiet">And {more:,} more, which are smaller.</p>'] if more else []
    boxes = [line for number, each in enumerate(largest) for line in _box(each, is_open=number < OPEN)]
    return ["<h2>The largest differences</h2>", *boxes, *rest]


def _box(found: Difference, *, is_open: bool) -> list[str]:
    what = f"window of {found.window}" if found.window else "totals"
    head = [
        f"<b>{_text(found.session_id)}</b>",
        f"<span>{_text(what)}</span>",
        f'<span class="quiet">{_text(in_zone(found.start) if found.start >= 0 else "")}</span>',
        f"<span>{VERDICTS[found.verdict]}</span>",
        f'<span class="events">{found.events:,} events</span>',
    ]
    headers = ["", "live", "replay", "difference"]
    table = _table(headers, [_row(change) for change in found.changes], numbers=1)
    return [f"<details{' open' if is_open else ''}><summary>", *head, "</summary><div>", *table, "</div></details>"]


def _row(change: Change) -> list[str]:
    return [
        _cell(label(change.name)),
        _cell(figure(change.name, change.live), "n"),
        _cell(figure(change.name, change.replay), "n"),
        _cell(difference(change), f"n {_side(change.difference)}"),
    ]


def _side(more: float | None) -> str:
    return "" if not more else "more" if more > 0 else "less"


def _cell(value: object, kind: str = "") -> str:
    return f'<td class="{kind.strip()}">{_text(value)}</td>' if kind.strip() else f"<td>{_text(value)}</td>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int) -> list[str]:
    """``numbers``: the column from which on there are numbers."""
    head = [f'<th class="n">{each}</th>' if at >= numbers else f"<th>{each}</th>" for at, each in enumerate(headers)]
    lines = [f"<tr>{''.join(row)}</tr>" for row in (head, *rows)]
    return ['<div class="wide"><table>', *lines, "</table></div>"]
