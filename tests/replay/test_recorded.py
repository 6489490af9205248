"""The rules that come with liveshop, on traffic that real people have made. What they say is printed, and judged here.

- Chat 2 (154 minutes, 6,685 messages): one comment surge. Right: 243, 204 and 190 comments in three minutes running after
  80 a minute before; the only peak of that chat. Told with the second of them, since the rule waits a minute.
- Chat 3 (112 minutes, 7,459 messages): none. Right: it doubles within ten minutes and stays there; no minute has more than
  1.8 times the median of the 15 before.
- Shop day, a session for each of 3,900 categories: none. Right: no category has the 200 clicks in five minutes that it
  takes to tell trouble from luck.
- The same as ten hosts (some 400 clicks and 10 orders in five minutes each), and as one (3,700 and 85): none. Right:
  nothing broke on that day, what orders there were went up and down as luck does.
- The same with a till that takes no order for 15 minutes: one, and with ten hosts six, 6 or 7 minutes later. Right: the
  other four have so few clicks or orders that none in five minutes is luck.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson
import pytest

from stream import cli
from stream.core.decode import decode_batch
from stream.core.policy import Policy
from stream.model.messages import Message
from stream.model.names import Kind
from stream.replay import recording
from stream.replay.backtest import Backtest, Report
from stream.replay.file_source import batches
from stream.rules.reading import SHIPPED, load_rules
from tests.recorded import CHATS, SHOP, chat, shop
from tests.replay.tools import arriving

MINUTE = 60_000
Tell = Callable[[str, object], None]


def backtest(messages: Iterable[Message], partitions: int = 4) -> Report:
    policy = Policy()
    test = Backtest(policy, load_rules(SHIPPED, policy.pane_ms))
    for partition, kind, records in batches(arriving(messages), partitions):
        test.machine(partition).count(kind, records, decode_batch(kind, records, policy.max_value))
    return test.report((test.newest or 0) + 1)


def fired(report: Report) -> dict[str, int]:
    return dict(Counter(each.alert for each in report.alerts.incidents))


# -- chats


PEAK = 1_742_231_760_000
"""2025-03-17 17:16:00, when the busiest minute of chat 2 begins."""


@pytest.mark.parametrize(("name", "surges"), [("2", 1), ("3", 0)])
@pytest.mark.skipif(not all(file.exists() for file in CHATS.values()), reason="the recorded chats are not here")
def test_the_surge_of_a_recorded_chat_is_found_and_nothing_else(
    name: str, surges: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Tell
) -> None:
    file = tmp_path / "chat.ndjson.gz"
    with recording.create(file) as out:
        recording.write(chat(CHATS[name], f"chat-{name}"), out)
    with pytest.raises(SystemExit):
        cli.main(["backtest", "--json", f"--input={file}"])
    report = orjson.loads(capsys.readouterr().out)
    record_property("told", f"recorded chat {name}: {[each['summary'] for each in report['incidents']] or 'no alert'}")
    assert report["outcomes"] == {"counted": report["records"]}
    assert [each["alert"] for each in report["incidents"]] == ["comment_surge"] * surges
    assert all(PEAK < each["fired"] <= PEAK + 3 * MINUTE for each in report["incidents"])


# -- the shop


def as_one(_category: str) -> str:
    return "shop"


def as_ten(category: str) -> str:
    return f"host-{int(category) % 10}"


def as_it_is(category: str) -> str:
    return category


recorded_shop = pytest.mark.skipif(not SHOP.exists(), reason=f"the recorded shop traffic is not here: {SHOP}")


@pytest.mark.parametrize(("sessions", "most"), [(as_it_is, 0), (as_ten, 0), (as_one, 0)])
@recorded_shop
def test_a_real_day_of_a_shop_raises_next_to_nothing(
    sessions: Callable[[str], str], most: int, record_property: Tell
) -> None:
    """A handful would do: none is what there is. A threshold that calls for luck would be seen here first."""
    report = backtest(shop(sessions))
    record_property("told", f"recorded shop day, sessions {sessions.__name__}: alerts {fired(report) or 'none'}")
    assert report.records == 208_661
    assert sum(fired(report).values()) <= most
    assert all(each.evaluations > 0 for each in report.alerts.tallies)


def without_orders(messages: Iterable[Message], begin_ms: int, length_ms: int) -> Iterator[Message]:
    for message in messages:
        if message.kind is not Kind.CHECKOUTS or not 0 <= message.event_time - begin_ms < length_ms:
            yield message


@pytest.mark.parametrize(("sessions", "found"), [(as_one, 1), (as_ten, 6)])
@recorded_shop
def test_a_till_that_breaks_on_that_day_is_found(
    sessions: Callable[[str], str], found: int, record_property: Tell
) -> None:
    """So that it is not the rules that are deaf. Sessions with fewer orders than luck can lose are left in peace."""
    broke = 1_511_658_000_000 + 60 * MINUTE
    report = backtest(without_orders(shop(sessions), broke, 15 * MINUTE))
    record_property("told", f"no orders for 15 minutes, sessions {sessions.__name__}: alerts {fired(report) or 'none'}")
    assert fired(report) == {"conversion_drop": found}
    for incident in report.alerts.incidents:
        assert broke < incident.fired <= broke + 8 * MINUTE
        assert incident.resolved is not None
        assert incident.resolved <= broke + 22 * MINUTE
