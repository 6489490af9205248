"""liveshop beside its rivals: the same backlog, one after another, measured the same way, recounted."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.errors import FailedError, UsageError
from stream.sandbox.broker import EmbeddedKafka
from tests.bench import backlog, race
from tests.bench.contenders import CONTENDERS, Contender, Stage

EVENTS: Final = 3_000_000
FEW: Final = 200_000
"""For Faust, which would need ten minutes for all."""
HEADS: Final = ("", "us an event", "with start and end", "events/s", "RSS MB", "exact", "x liveshop", "what it does")
WIDTHS: Final = (13, 12, 19, 9, 7, 6, 11, 0)
EXPLAINED: Final = f"""\
us an event: CPU (user and system, without the broker's) from a third of the records on to the commit of the last: without
  start-up and JIT. With start and end: from the start of the process until its last result is written, of all records.
exact: every window as recounted; who does not look for repeats is compared with a recount that has them twice.
Heap of Java 1 GB; Faust reads the first {FEW:,} events only."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Table:
    """Printed row by row: aligned for a terminal, or Markdown."""

    say: Say
    markdown: bool = False

    def head(self) -> None:
        self.row(HEADS)
        if self.markdown:
            self.say("|---" * len(HEADS) + "|")

    def row(self, texts: Sequence[str]) -> None:
        if self.markdown:
            self.say("| " + " | ".join(texts) + " |")
            return
        first, *numbers, last = (each.rjust(width) for each, width in zip(texts, WIDTHS, strict=True))
        self.say(" ".join([first.strip().ljust(WIDTHS[0]), *numbers, "", last]))


def names() -> tuple[str, ...]:
    return tuple(contender.name for contender in CONTENDERS)


def chosen(rivals: Iterable[str]) -> list[Contender]:
    """liveshop and these; all when none is named. UsageError for a name that is none."""
    wanted = {*rivals}
    unknown = wanted.difference(names())
    if unknown:
        raise UsageError(f"there is no rival {', '.join(sorted(unknown))}; there are {', '.join(names()[1:])}")
    return [each for each in CONTENDERS if not wanted or each.name in wanted or each is CONTENDERS[0]]


def show(say: Say, taking_part: Iterable[Contender], events: int, sessions: int, *, markdown: bool = False) -> bool:
    """Print a row for each when it is done. False when one failed, or liveshop was not exact."""
    with EmbeddedKafka(say) as kafka:
        full, few = backlog.fill(kafka.bootstrap, events, sessions, min(FEW, events))
        say(
            f"{events:,} events of {sessions} sessions and {backlog.SPAN_MS // 1000} s of event time,"
            f" {backlog.PARTITIONS} partitions, one contender after another:\n"
        )
        return run_all(Table(say, markdown), taking_part, full, few)


def run_all(table: Table, taking_part: Iterable[Contender], full: backlog.Backlog, few: backlog.Backlog) -> bool:
    good, base, notes = True, None, []
    table.head()
    with tempfile.TemporaryDirectory(prefix="liveshop-bench-") as folder:
        for contender in taking_part:
            source = few if contender.few else full
            stage = Stage(source, f"{source.prefix}{contender.name}", Path(folder), table.say)
            try:
                outcome = race.run(contender, source, stage)
            except UsageError as error:
                notes.append(f"{contender.name} is left out: {error}")
            except FailedError as error:
                notes.append(f"{contender.name} FAILED: {error}")
                good = False
            else:
                base = outcome.us if contender is CONTENDERS[0] else base
                table.row(cells(contender, outcome, base))
                if outcome.fault:
                    notes.append(f"{contender.name} is not exact: {outcome.fault}")
                    good = good and contender is not CONTENDERS[0]
    table.say("\n" + "\n".join([*notes, EXPLAINED]))
    return good


def cells(contender: Contender, outcome: race.Outcome, base: float | None) -> list[str]:
    """``base``: what liveshop needs. A dash is what so few events cannot tell."""
    return [
        contender.name,
        f"{outcome.us:.2f}" if outcome.us else "-",
        f"{outcome.us_all:.2f}",
        f"{outcome.rate:,.0f}" if outcome.rate else "-",
        f"{outcome.rss_mb:,.0f}",
        "no" if outcome.fault else "yes",
        f"{outcome.us / base:.2f}" if outcome.us and base else "-",
        contender.does,
    ]
