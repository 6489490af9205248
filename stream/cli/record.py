"""``liveshop record``: a range of the topics as a file."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from stream.cli.flags import takes_settings
from stream.cli.operating import ask
from stream.cli.output import say, show_json
from stream.cli.progress import reading
from stream.cli.timestamps import in_zone, parse_event_time
from stream.config import CONNECTION, Settings
from stream.errors import FailedError, UsageError
from stream.model.messages import Message
from stream.model.names import INPUTS
from stream.replay import recorder, recording
from stream.replay.anonymize import Anonymizer
from stream.replay.recorder import Recorded

KEY_BYTES: Final = 32


@takes_settings((*CONNECTION, "topic_prefix", "max_value"), required=("brokers",))
def command(
    settings: Settings,
    *,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="what arrived from here on: 2026-03-01T19:30+07:00, or -2h")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="the recording (.ndjson or .ndjson.gz)")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="what arrived before this time")] = "now",
    session: Annotated[list[str] | None, typer.Option("--session", metavar="ID", help="only of these sessions")] = None,
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="hash all ids with a key that is not kept, and drop texts and names")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing file")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Write what arrived in live.views, live.comments and live.checkouts to a file, to be counted or played again.

    Times are those of arrival, by the broker's clock. Begin before the first window that matters, so that repeats and clocks
    are known. `liveshop replay run --input FILE` counts the file, `liveshop simulate --from FILE` plays it.

    With --anonymize counts stay the same, and no id, name or text of the topics is in the file. Without, it holds personal
    data. It joins no group and writes nothing to Kafka.
    """
    now = int(time.time() * 1000)
    span = parse_event_time(begin, now, "--from"), parse_event_time(end, now, "--to")
    if span[0] >= span[1]:
        raise UsageError("--to must lie behind --from")
    if out.exists() and not force and (not out.is_file() or out.stat().st_size):
        raise UsageError(f"-o: {out} holds something already, and would lose it: --force writes over it")
    recorded = _record(settings, span, session or [], out, anonymize=anonymize)
    if as_json:
        show_json(_plain(recorded, span), indent=True)
    else:
        _show(recorded, span, out, anonymize=anonymize)


def _record(settings: Settings, span: tuple[int, int], sessions: list[str], out: Path, *, anonymize: bool) -> Recorded:
    partitions = ask(recorder.count_partitions(settings))
    change = Anonymizer(secrets.token_bytes(KEY_BYTES), partitions, settings.max_value) if anonymize else _same
    try:
        with _whole(out) as target, recording.create(target) as file, reading("offsets") as tell:

            def write(message: Message) -> None:
                file.write(recording.line(change(message)))

            return ask(recorder.record(settings, partitions, span, sessions, write=write, tell=tell))
    except OSError as error:
        raise FailedError(f"{out}: {error.strerror}") from error


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Where to write, so that a recording that is there is whole: it takes its name at the end, or is deleted."""
    if out.exists() and not out.is_file():
        yield out  # a pipe
        return
    part = out.with_name(f".part-{out.name}")
    try:
        yield part
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _same(message: Message) -> Message:
    return message


def _plain(recorded: Recorded, span: tuple[int, int]) -> dict[str, object]:
    return {
        "from": span[0],
        "to": span[1],
        "partitions": recorded.partitions,
        "messages": {name: recorded.messages[name] for name in INPUTS.values()},
        "unreadable": recorded.unreadable,
        "with_headers": recorded.with_headers,
        "misplaced": recorded.misplaced,
    }


def _show(recorded: Recorded, span: tuple[int, int], out: Path, *, anonymize: bool) -> None:
    listed = ", ".join(f"{recorded.messages[name]:,} {name}" for name in INPUTS.values())
    say(f"{out}: {recorded.messages.total():,} messages, {in_zone(span[0])} to {in_zone(span[1])}: {listed}")
    if recorded.unreadable:
        say(f"{recorded.unreadable:,} records that nobody can read are not in it")
    if recorded.with_headers:
        say(f"{recorded.with_headers:,} records had headers: those are not in it")
    if recorded.misplaced:
        say(
            f"{recorded.misplaced:,} records are not where Java clients place their keys: counted from the file they are"
        )
    if not anonymize:
        say("it holds personal data: --anonymize makes one to send around")
    say(f"replay run --input counts it; the topics have --partitions {recorded.partitions}")
