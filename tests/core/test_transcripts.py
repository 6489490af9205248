"""Windows as transcripts (transcripts/*.yaml): what comes in, and exactly what is written. Some must fail."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.core.policy import MINUTE, Policy, WindowSpec
from stream.core.shard import Shard
from stream.model.names import KINDS, Kind
from stream.model.results import Outputs
from tests.recount import LogRecord

FOLDER = Path(__file__).parent / "transcripts"
TRANSCRIPTS = [transcript for file in sorted(FOLDER.glob("*.yaml")) for transcript in yaml.safe_load(file.read_text())]
EVENT = re.compile(
    r"(?P<what>[a-z_-]+) (?P<session>\w+) (?P<time>[\d:.]+)"
    r"(?: (?P<checkout>k\d+))?(?: #(?P<id>\w+))?(?: seen (?P<seen>[\d:.]+))?(?: try (?P<attempt>\d+))?"
)


def ms(clock: str) -> int:
    """m:ss or h:mm:ss, with fractions; "-4:00" is four minutes before the epoch."""
    sign, digits = (-1, clock[1:]) if clock.startswith("-") else (1, clock)
    seconds = 0.0
    for part in digits.split(":"):
        seconds = seconds * 60 + float(part)
    return sign * round(seconds * 1000)


def clock(time: int) -> str:
    minutes = abs(time) // MINUTE
    hours = f"{minutes // 60}:{minutes % 60:02}" if minutes >= 60 else f"{minutes}"
    return f"{'-' if time < 0 else ''}{hours}:{abs(time) // 1000 % 60:02}"


class Player:
    """Plays one transcript on a shard."""

    def __init__(self, transcript: dict[str, Any]) -> None:
        size, _, slide = transcript["windows"].partition("/")
        minutes = int(size.removesuffix("m"))
        spec = WindowSpec(size, minutes * MINUTE, int((slide or size).removesuffix("m")) * MINUTE)
        retention = int(str(transcript.get("retention", "60m")).removesuffix("m"))
        bounds = {name: number for name, number in transcript.items() if name.startswith("max_")}
        self.shard = Shard(Policy(windows=(spec,), state_retention_ms=retention * MINUTE, **bounds))
        self.offsets = dict.fromkeys(KINDS, 0)
        self.written: list[str] = []
        self.dead: list[str] = []
        self.outcomes: dict[str, int] = {}

    def play(self, steps: list[Any]) -> None:
        for step in steps:
            name, argument = (step, []) if isinstance(step, str) else next(iter(step.items()))
            if name in set(KINDS):
                self.shard.read(Kind(name), list(self._records(Kind(name), argument)))
            else:
                getattr(self, f"do_{name}")(argument)

    def _records(self, kind: Kind, lines: list[str]) -> Iterator[LogRecord]:
        for line in lines:
            match = EVENT.fullmatch(line)
            assert match, line
            offset = self.offsets[kind]
            self.offsets[kind] += 1
            event = self._event(kind, match, offset)
            seen = ms(match["seen"] or match["time"])
            yield LogRecord(str(kind), 0, offset, seen, match["session"].encode(), json.dumps(event).encode())

    def _event(self, kind: Kind, match: re.Match[str], offset: int) -> dict[str, Any]:
        what, _, how = match["what"].partition("-")
        event = {
            "event_id": match["id"] or f"e{offset}",
            "event_time": ms(match["time"]),
            "session_id": match["session"],
            "seller_id": "seller",
            "viewer_id": f"v{offset}",
            "platform": "shopee",
        }
        if kind is Kind.VIEWS:
            return event | {"action": what} | ({"count": 5, "gift_value": 495} if how == "bundle" else {})
        if kind is Kind.COMMENTS:
            return event | {"text": "halo"}
        money = {"amount_minor": 100, "currency": "IDR", "items": []}
        checkout = {"checkout_id": match["checkout"] or f"k{offset}", "status": what, "is_cod": how == "cod"}
        discount = {"discount_minor": 25} if how == "discounted" else {}
        return event | money | checkout | discount | {"attempt": int(match["attempt"] or 0)}

    def do_idle(self, topics: list[str]) -> None:
        for topic in topics:
            self.shard.exclude(Kind(topic))

    def do_caught_up(self, topics: list[str]) -> None:
        self.shard.keep_up([Kind(topic) for topic in topics])

    def do_quiet(self, wall: str) -> None:
        self.shard.quiet(ms(wall))

    def do_finish(self, _: None) -> None:
        self.shard.finish()
        self.do_close(None)

    def do_close(self, _: None) -> None:
        while self.shard.work(100):
            pass
        outputs = self.shard.collect()
        if outputs is not None:
            self._take(outputs)
            self.shard.committed(outputs.checkpoint, outputs.checkpoint * 2)

    def _take(self, outputs: Outputs) -> None:
        self.dead += [str(letter.reason) for letter in outputs.dead_letters]
        for (_, outcome), number in outputs.tally.outcomes.items():
            self.outcomes[str(outcome)] = self.outcomes.get(str(outcome), 0) + number
        for _, raw in outputs.windows:
            value = json.loads(raw)
            counts = " ".join(f"{name}={number}" for name, number in value["counts"].items() if number)
            place = f"{value['session_id']}/{value['window']}/{clock(value['start'])}"
            self.written.append(f"{place} r{value['revision']} {value['reason']} {counts}".rstrip())

    def do_forget(self, _: None) -> None:
        self.written.clear()

    def do_expect(self, lines: list[str]) -> None:
        written = [line for line in self.written if "=" in line]  # windows of nothing but heartbeats show no counts
        for line in lines:
            assert line in written, f"missing {line}; written: {written}"
        for line in written:
            assert line in lines, f"unexpected {line}"
        assert len(written) == len(lines), written
        self.written.clear()

    def do_watermark(self, expected: str) -> None:
        assert self.shard.watermark == (None if expected == "none" else ms(expected)), (
            f"watermark {self.shard.watermark}"
        )

    def do_dead(self, reasons: list[str]) -> None:
        assert self.dead == reasons
        self.dead.clear()

    def do_outcomes(self, expected: dict[str, int]) -> None:
        assert {name: number for name, number in self.outcomes.items() if number} == expected


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[transcript["name"] for transcript in TRANSCRIPTS])
def test_transcript(transcript: dict[str, Any]) -> None:
    player = Player(transcript)
    if "must_fail" not in transcript:
        player.play(transcript["transcript"])
        return
    with pytest.raises(AssertionError, match=re.escape(transcript["must_fail"])):
        player.play(transcript["transcript"])
