"""Alerts of workers that are killed, stopped and replaced: just those that a second opinion works out from the logs."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka.partitioner import murmur2

from stream.model.names import KINDS, Kind
from stream.sandbox import sender
from stream.sandbox.broker import EmbeddedKafka
from stream.sandbox.traffic import Plan, Traffic
from tests.chaos.faults import Slot
from tests.chaos.profile import PARTITIONS, Profile
from tests.live import Outgoing, create_topics, delete_topics, send
from tests.outputs import Follower, read_inputs
from tests.realert import PlainRule, Told, realert, told_of
from tests.support import PATIENCE

SECOND: Final = 1000
RULES: Final = """
rules:
  - alert: failures
    window: 30s
    when: w.failure_rate > 0.5
    min: {attempts: 2}
    for: 10s
    keep_firing_for: 20s
    severity: page
    summary: "{checkouts_failed:.0f} of {attempts:.0f}"
    runbook: none
  - alert: surge
    window: 10s
    baseline: 60s
    when: w.comments > 1.5 * median.comments
    min: {comments: 4}
    severity: info
    summary: "{comments:.0f}"
    runbook: none
  - alert: quiet
    window: 10s
    baseline: 30s
    when: w.events < 0.1 * base.events
    min: {base.events: 20, base.minutes: 0.5}
    for: 10s
    severity: ticket
    summary: "{events:.0f}"
    runbook: none
  - alert: stalled
    window: 10s
    baseline: 60s
    when: w.seconds_since_last_event >= 20.0
    for: 10s
    severity: page
    summary: "{seconds_since_last_event:.0f}"
    runbook: none
"""


def median(numbers: list[int]) -> float:
    half = len(numbers) // 2
    return numbers[half] if len(numbers) % 2 else (numbers[half - 1] + numbers[half]) / 2


def attempts(counts: dict[str, int]) -> int:
    return counts["checkouts_failed"] + counts["orders_paid"] - counts["cod_orders"]


PLAIN_RULES: Final = [
    PlainRule(
        "failures",
        lambda seen: attempts(seen.w) >= 2 and seen.w["checkouts_failed"] > 0.5 * attempts(seen.w),
        window_ms=30 * SECOND,
        for_ms=10 * SECOND,
        keep_ms=20 * SECOND,
    ),
    PlainRule(
        "surge",
        lambda seen: (
            seen.w["comments"] >= 4
            and seen.medians("comments") != []
            and seen.w["comments"] > 1.5 * median(seen.medians("comments"))
        ),
        window_ms=10 * SECOND,
        baseline_ms=60 * SECOND,
    ),
    PlainRule(
        "quiet",
        lambda seen: (
            seen.base["events"] >= 20
            and seen.end - 10 * SECOND - seen.begun >= 30 * SECOND
            and seen.w["events"] < 0.1 * seen.base["events"]
        ),
        window_ms=10 * SECOND,
        baseline_ms=30 * SECOND,
        for_ms=10 * SECOND,
    ),
    PlainRule("stalled", lambda seen: seen.silent_ms >= 20 * SECOND, window_ms=10 * SECOND, for_ms=10 * SECOND),
]
LENGTH: Final = 300 * SECOND
"""Event time of the traffic."""
BEYOND: Final = 150 * SECOND
"""From its end until the events that end it all: by then every session has gone off air."""
PIECES: Final = 20
PAUSE: Final = 0.3
FAULTS: Final = {3: (0, "kill"), 6: (1, "kill"), 10: (0, "term"), 13: (1, "kill"), 17: (0, "kill")}


def profile(rules: Path) -> Profile:
    """No topic is ever left out, for silence or as far behind: what is decided then is no function of the logs."""
    patient = {"idle_after": "10m", "lateness": "10m"}  # longer than all the traffic
    settings = Profile.short(5).settings | patient | {"rules": str(rules), "checkpoint_every": "200ms"}
    return Profile(5, workers=2, settings=settings)


def traffic(start_ms: int) -> Iterator[list[Outgoing]]:
    outages = ((60 * SECOND, 110 * SECOND), (200 * SECOND, 230 * SECOND))
    made = Traffic(Plan(seed=5, rate=40, sessions=8, bad=0.0, duplicates=0.02, outages=outages), start_ms)
    for piece in range(1, PIECES + 1):
        messages = made.step(start_ms + LENGTH * piece // PIECES)
        yield [Outgoing(message.kind, message.key, message.value) for message in messages]
    yield list(_last(start_ms + LENGTH + BEYOND))


def _last(time_ms: int) -> Iterator[Outgoing]:
    """An event on every partition of every topic, of sessions that are not compared."""
    keys = [next(f"end{n}" for n in range(99) if murmur2(b"end%d" % n) % PARTITIONS == p) for p in range(PARTITIONS)]
    common = {"event_time": time_ms, "seller_id": "s", "viewer_id": "v", "platform": "shopee"}
    own: dict[Kind, dict[str, Any]] = {
        Kind.VIEWS: {"action": "enter"},
        Kind.COMMENTS: {"text": "halo"},
        Kind.CHECKOUTS: {
            "checkout_id": "k", "status": "initiated", "amount_minor": 1, "currency": "IDR", "items": [],
        },
    }  # fmt: skip
    for kind in KINDS:
        for key in keys:
            value = {"event_id": f"last-{kind}", "session_id": key, **common, **own[kind]}
            yield Outgoing(kind, key.encode(), json.dumps(value).encode())


async def disturbed(brokers: str, prefix: str, slots: list[Slot], start_ms: int) -> None:
    producer = sender.producer(brokers)
    await producer.start()
    try:
        for number, piece in enumerate(traffic(start_ms)):
            await send(producer, prefix, PARTITIONS, piece)
            await asyncio.sleep(PAUSE)
            if number in FAULTS:
                slot, fault = FAULTS[number]
                await slots[slot].hit(fault)
    finally:
        await producer.stop()


async def alerts(follower: Follower, found: list[dict[str, Any]]) -> list[Told]:
    """All that is told by now, in the order of the second opinion."""
    found += [json.loads(record.value) for record in await follower.more()]
    return sorted(told_of(value) for value in found if not value["session_id"].startswith("end"))


def expected_of(records: Iterable[Any], given: Profile) -> list[Told]:
    end_after = int(given.loaded().session_end_after.total_seconds() * 1000)
    told = realert(records, given.rules, end_after, PLAIN_RULES)
    return [each for each in told if not each.session_id.startswith("end")]


@pytest.mark.kafka
def test_alerts_are_those_of_an_undisturbed_run_each_told_once(
    kafka: EmbeddedKafka, prefix: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    given = profile(rules)
    start_ms = (int(time.time() * 1000) - LENGTH - BEYOND - 60 * SECOND) // (30 * SECOND) * 30 * SECOND
    create_topics(kafka.bootstrap, prefix, PARTITIONS)
    slots = [Slot(number, kafka.bootstrap, prefix, given, tmp_path) for number in range(given.workers)]

    async def main() -> None:
        await disturbed(kafka.bootstrap, prefix, slots, start_ms)
        expected = await asyncio.to_thread(expected_of, await read_inputs(kafka.bootstrap, prefix, PARTITIONS), given)
        assert {told.alert for told in expected} == {rule.alert for rule in PLAIN_RULES}, "the traffic shows too little"
        found: list[dict[str, Any]] = []
        async with Follower(kafka.bootstrap, [f"{prefix}live.alerts"], PARTITIONS) as follower:
            deadline = time.monotonic() + PATIENCE
            while (told := await alerts(follower, found)) != expected and time.monotonic() < deadline:
                await asyncio.sleep(0.3)
                for slot in slots:
                    await slot.ensure()
            assert told == expected
            for slot in slots:
                await slot.end()
            assert await alerts(follower, found) == expected
        assert not any(value.get("idle") for value in found)
        assert [slot.exits for slot in slots] == [[], []]

    try:
        asyncio.run(main())
    finally:
        for slot in slots:
            slot.kill()
    delete_topics(kafka.bootstrap, prefix)
