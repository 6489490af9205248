"""``liveshop dlq``: what was refused, looked at, sent again and deleted."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, TypeAlias

import typer

from stream.cli.flags import takes_settings
from stream.cli.letter import as_dict, print_letter
from stream.cli.operating import NEEDED, ask, do, operator
from stream.cli.output import number_of, print_json, print_table, say, show_json
from stream.cli.progress import reading as progress
from stream.cli.redriven import as_dict as redriven_as_dict
from stream.cli.redriven import print_redriven
from stream.cli.timestamps import in_zone, parse_event_time
from stream.config import CONNECTION, Settings
from stream.dlq import purge as purging
from stream.dlq import reading
from stream.dlq import redrive as redriving
from stream.dlq.fixes import FIXES, Fix
from stream.dlq.grouping import Groups
from stream.dlq.letters import Selection
from stream.dlq.purge import Cut
from stream.dlq.redrive import Done, Redrive
from stream.dlq.verdict import verdict
from stream.errors import FailedError, UsageError
from stream.kafka.statereader import SkippedRecords
from stream.model.names import DEAD_LETTERS, INPUTS, Reason

_NEEDED: Final = (*CONNECTION, "group", "topic_prefix")
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]
Reasons: TypeAlias = Annotated[
    list[str] | None, typer.Option("--reason", metavar="REASON", help="only these (docs/dead-letters.md lists them)")
]
Topics: TypeAlias = Annotated[
    list[str] | None, typer.Option("--topic", metavar="NAME", help="only of these inputs, such as live.views")
]
From: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="event times from here on: 2026-03-01T19:30+07:00, or -2h"),
]
To: TypeAlias = Annotated[str | None, typer.Option("--to", metavar="TIME", help="event times before this one")]
Session: TypeAlias = Annotated[str | None, typer.Option("--session", metavar="ID", help="only of this session")]

app: Final = typer.Typer(
    help="Show dead letters: what was refused, and why; send them again, or delete them.", no_args_is_help=True
)


@app.command("list")
@takes_settings(_NEEDED, required=("brokers",))
def list_letters(
    settings: Settings,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    begin: From = None,
    end: To = None,
    session: Session = None,
    as_json: Json = False,
) -> None:
    """Count dead letters by reason, topic, detail and time, with the place of a sample of each. Reads only.

    Numbers in details are shown as N, so that what is alike is one line. No value is shown: that is `liveshop dlq show`.
    A letter's time is its event time, or the broker's timestamp where the event has none that can be read, or one ahead
    of the broker's clock.
    """
    selection = _selection(settings, reason, topic, (begin, end), session)
    with progress("offsets") as tell:
        groups, found = ask(reading.grouped(settings, selection, tell))
    _warn(found.passed())
    if as_json:
        show_json(_figures(groups, found), indent=True)
    elif not groups.letters:
        say(f"none of {found.read} dead letters is meant" if found.read else "there are no dead letters")
    else:
        _print_groups(groups, found.read)


def _print_groups(groups: Groups, read: int) -> None:
    headers = ("letters", "records", "reason", "topic", "first", "last", "sample", "detail")
    rows = [
        (
            *(each.letters, each.records, each.reason, each.topic),
            *(in_zone(each.first), in_zone(each.last), each.sample.place, each.detail),
        )
        for each in groups.groups()
    ]
    print_table(headers, rows)
    if groups.rest:
        say(f"and {groups.rest} of other reasons, topics or details")
    say()
    print_table(
        ("from", "to", "letters"), [(in_zone(each.start), in_zone(each.end), each.letters) for each in groups.spans()]
    )
    say()
    say(f"{groups.letters} of {read} dead letters; dlq show and the place of a sample shows one")


def _figures(groups: Groups, found: reading.Found) -> dict[str, Any]:
    return {
        "read": found.read,
        "others": sum(each.number for each in found.passed()),
        "letters": groups.letters,
        "groups": [asdict(each) for each in groups.groups()],
        "rest": groups.rest,
        "times": [asdict(each) for each in groups.spans()],
    }


@app.command()
@takes_settings((*_NEEDED, "max_value"), required=("brokers",))
def show(
    settings: Settings,
    place: Annotated[
        str | None, typer.Argument(metavar="[PLACE]", help="partition:offset in live.dead-letters, such as 3:1234")
    ] = None,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    begin: From = None,
    end: To = None,
    session: Session = None,
    as_json: Json = False,
) -> None:
    """Show one dead letter, or the newest of those that are meant: headers, verdict of today, key and value. Reads only.

    The value is shown as it was sent, with viewer ids and texts of comments: look where nobody looks over your shoulder,
    and do not paste it. JSON is indented, what is no text is shown in hexadecimal. With --json key, value and headers are
    there as base64, too, byte for byte.
    """
    asked = _selection(settings, reason, topic, (begin, end), session)
    if place is not None and asked != Selection():
        raise UsageError(
            "a place names one dead letter: give either PLACE or --reason, --topic, --from, --to, --session"
        )
    letter = ask(reading.newest(settings, asked) if place is None else reading.at(settings, *_place(place)))
    if letter is None:
        raise FailedError(f"{settings.topic(DEAD_LETTERS)} holds no dead letter that is meant")
    judged = verdict(settings.policy(), _kinds(settings).get(letter.origin.topic), letter)
    if as_json:
        print_json([as_dict(letter, judged)])
    else:
        print_letter(settings, letter, judged)


def _place(given: str) -> tuple[int, int]:
    partition, _, offset = given.partition(":")
    if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()) or len(given) > 30:  # noqa: PLR2004  # two numbers of Kafka's
        raise UsageError(f"{given!r} is no place: write partition:offset in live.dead-letters, such as 3:1234")
    return int(partition), int(offset)


@app.command()
def fixes(as_json: Json = False) -> None:
    """List the fixes that `redrive --fix` knows: small changes for the usual mistakes of producers."""
    if as_json:
        print_json([{"name": fix.name, "help": fix.help} for fix in FIXES.values()])
    else:
        print_table(("fix", "what it mends"), [(fix.name, fix.help) for fix in FIXES.values()])


@app.command()
@takes_settings((*NEEDED, "log_format"), required=("brokers",))
def redrive(
    settings: Settings,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    begin: From = None,
    end: To = None,
    session: Session = None,
    fix: Annotated[
        list[str] | None, typer.Option("--fix", metavar="NAME", help="applied in this order (see dlq fixes)")
    ] = None,
    rate: Annotated[int, typer.Option(min=1, metavar="N", help="records a second, at most")] = 1000,
    max_redrives: Annotated[
        int, typer.Option(min=1, metavar="N", help="what was sent again so often already is left where it is")
    ] = 3,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="who; without, user@host")] = None,
    execute: Annotated[
        bool, typer.Option("--execute", help="do it; without, only what would be sent is shown")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send dead letters again to the topics they came from, with key, headers and event time kept.

    Only what would be counted now is sent: what would come back as a dead letter is told by why, and left. No letter is
    ever sent twice: each transaction notes in live.redrives which letters it has sent, and the same command goes on after
    a crash or Ctrl-C. Workers may run. Nothing is sent without --execute.
    """
    if not reason:
        raise UsageError("--reason: say which, such as --reason bad_value; dlq list shows what there is")
    meant = _selection(settings, reason, topic, (begin, end), session)
    asked = Redrive(meant, _text("--by", by or operator()), tuple(map(_fix, fix or ())), rate, max_redrives)
    if not execute:
        with progress("offsets") as tell:
            done = ask(redriving.look(settings, asked, tell))
    else:
        done = Done()
        with progress("offsets") as tell:
            try:
                do(redriving.execute(settings, asked, tell, done))
            except KeyboardInterrupt:
                say(
                    f"interrupted after {number_of(done.committed, 'record')}; they are noted, the same command goes on",
                    err=True,
                )
                raise
    if as_json:
        show_json(redriven_as_dict(done, executed=execute), indent=True)
    else:
        print_redriven(done, executed=execute)


def _fix(name: str) -> Fix:
    if name not in FIXES:
        raise UsageError(f"--fix: there is no {name!r}; there are {', '.join(FIXES)}")
    return FIXES[name]


@app.command()
@takes_settings(_NEEDED, required=("brokers",))
def purge(
    settings: Settings,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    end: To = None,
    session: Session = None,
    confirm: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="COUNT", help="do it: the number of letters, as shown; without, nothing is deleted"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Delete the oldest dead letters of each partition, for good, up to the first that is not meant.

    Kafka deletes what lies before an offset, and can pick nothing out. So letters that are meant but stand behind others
    stay, and are counted. With --confirm and the number that was shown they are deleted, if there are still as many.
    """
    meant = _selection(settings, reason, topic, (None, end), session)
    if meant == Selection():
        raise UsageError("--to: say up to when, such as --to -7d; or which, by --reason, --topic or --session")
    found = reading.Found()
    with progress("offsets") as tell:
        if confirm is None:
            cuts = ask(purging.plan(settings, meant, found, tell))
        else:
            cuts = do(purging.execute(settings, meant, confirm, found, tell))
    _warn(found.passed(), "are deleted where they lie before the offset")
    if as_json:
        print_json([_cut(each, confirmed=confirm is not None) for each in cuts])
    else:
        _print_cuts(cuts, confirmed=confirm is not None)


def _cut(cut: Cut, *, confirmed: bool) -> dict[str, Any]:
    names = ("topic", "partition", "before", "letters", "newest", "kept")
    return {name: getattr(cut, name) for name in names} | {"deleted": confirmed and cut.letters > 0}


def _print_cuts(cuts: Sequence[Cut], *, confirmed: bool) -> None:
    headers = ("topic", "partition", "letters", "before offset", "the newest of them", "meant, but behind others")
    rows = [
        (
            *(each.topic, each.partition, each.letters, each.before if each.letters else None),
            *(in_zone(each.newest), each.kept),
        )
        for each in cuts
    ]
    print_table(headers, rows)
    number = sum(each.letters for each in cuts)
    if confirmed:
        say(f"deleted {number_of(number, 'dead letter')}")
    elif number:
        say(f"would delete {number_of(number, 'dead letter')} for good; nothing is deleted without --confirm {number}")
    else:
        say("nothing to delete: the oldest letter of each partition is not meant")


# -- what is meant


def _selection(
    settings: Settings,
    reasons: Sequence[str] | None,
    named: Sequence[str] | None,
    span: tuple[str | None, str | None],
    session: str | None,
) -> Selection:
    """Raises UsageError for what cannot be meant."""
    begin, end = span
    now = int(time.time() * 1000)
    from_ms = None if begin is None else parse_event_time(begin, now, "--from")
    to_ms = None if end is None else parse_event_time(end, now, "--to")
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UsageError(f"--to {end} must lie behind --from {begin}")
    for each in reasons or ():
        if each not in tuple(Reason):
            raise UsageError(f"--reason: there is no {each!r}; there are {', '.join(Reason)}")
    topics = frozenset(_topic(settings, each) for each in named or ())
    return Selection(
        frozenset(reasons or ()), topics, from_ms, to_ms, None if session is None else _text("--session", session)
    )


def _text(flag: str, given: str) -> str:
    """Raises UsageError for bytes of the command line that are no UTF-8."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{flag}: {given!r} is no UTF-8") from None
    return given


def _topic(settings: Settings, given: str) -> str:
    for each in INPUTS.values():
        if given in {each, settings.topic(each)}:
            return settings.topic(each)
    raise UsageError(f"--topic: {given} is no input; they are {', '.join(map(settings.topic, INPUTS.values()))}")


def _kinds(settings: Settings) -> dict[str, Any]:
    return {settings.topic(topic): kind for kind, topic in INPUTS.items()}


def _warn(others: Sequence[SkippedRecords], fate: str = "were left out") -> None:
    for each in others:
        where = f"{each.partition.topic}, partition {each.partition.partition}"
        what = f"records that are no dead letters {fate}: {each.number}, the first at offset {each.first}"
        say(f"{where}: {what}; somebody else writes there", err=True)
