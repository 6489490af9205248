"""What a redrive would do, or has done, as it is printed."""

from typing import Any, Final

from stream.cli.output import number_of, print_table, say
from stream.dlq.drafts import Left
from stream.dlq.redrive import Done
from stream.model.names import Outcome

WHY: Final = {
    Left.REDRIVEN: "sent again before",
    Left.LOOP: "came back too often (--max-redrives)",
    Left.CUT: "only its beginning was kept, so the original is gone",
    Left.BATCH: "a whole batch, which has no records that can be read",
    Left.TOMBSTONE: "no value, so nothing to count",
    Left.NO_INPUT: "from a topic that is no input of this installation",
    Left.UNFIXABLE: "cannot be mended by these fixes",
    Left.REFUSED: "would be refused again as it is: is there a fix?",
    Left.FUTURE: "its time has not come yet: send it later",
    Left.LATE: "would only come back as late: a replay of the recorded topics can count it",
    Left.PANE_GONE: "would only come back as pane_gone: a replay of the recorded topics can count it",
}
OUTLOOK: Final = {
    Outcome.COUNTED: "counted in windows and totals",
    Outcome.TOTAL_ONLY: "late orders: counted in the totals of their session, in no window",
}


def print_redriven(done: Done, *, executed: bool) -> None:
    """``executed``: it was done, not only looked at."""
    tally = done.tally
    if not tally.meant:
        say(f"none of {done.read} dead letters is meant" if done.read else "there are no dead letters")
        return
    rows: list[tuple[object, ...]] = [
        (number, "sent" if executed else "to send", topic, OUTLOOK[Outcome(outlook)])
        for (topic, outlook), number in sorted(tally.sent.items())
    ]
    rows += [(number, "left", why, WHY[Left(why)]) for why, number in sorted(tally.left.items())]
    print_table(("letters", "", "", ""), rows)
    if tally.details:
        say()
        details = sorted(tally.details.items(), key=lambda each: (-each[1], each[0]))
        print_table(("letters", "", "detail"), [(number, why, detail) for (why, detail), number in details])
    say()
    say(_sum(done, executed=executed))


def _sum(done: Done, *, executed: bool) -> str:
    if executed:
        return f"sent {number_of(done.committed, 'record')} in {number_of(done.transactions, 'transaction')}"
    return f"would send {number_of(done.tally.sent.total(), 'record')}; nothing is sent without --execute"


def as_dict(done: Done, *, executed: bool) -> dict[str, Any]:
    """``sent`` holds what would be sent where nothing was."""
    tally = done.tally
    return {
        "executed": executed,
        "read": done.read,
        "meant": tally.meant,
        "sent": [
            {"topic": topic, "outlook": outlook, "letters": number}
            for (topic, outlook), number in sorted(tally.sent.items())
        ],
        "left": dict(sorted(tally.left.items())),
        "details": [
            {"left": why, "detail": detail, "letters": number}
            for (why, detail), number in sorted(tally.details.items())
        ],
        "committed": done.committed,
        "transactions": done.transactions,
    }
