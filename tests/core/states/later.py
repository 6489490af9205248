"""A later version in miniature: a table with one more figure of each sort, in Python alone, run as a program of its own.

``python -m tests.core.states.later continue NAME`` upgrades a kept state, goes on with it and prints what it told, as JSON;
``keep NAME`` goes on for a while in the format of the state, and prints what it told and the records of the state then;
``write`` prints what it holds at last, and the records of its state;
``slide`` prints how many figures a slide of an alert's history has, whether the largest is restored, and how it is stored.
"""

import base64
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import stream

TABLE: Final = Path(stream.__file__).parent / "core" / "figures.py"
END: Final = ')\n"""Every figure, in the order in which they are stored."""'
ROWS: Final = """
    Figure("waves", _SUM, EVERYWHERE, "one for each event", since=99),
    Figure("height", How.MAXIMUM, RESULTS, "the largest of something", since=99),
    Figure("tips", _MONEY, EVERYWHERE, "money", since=99, written="tips_minor"),
    Figure("guests", How.SKETCH, RESULTS, "unique values", since=99, written="unique_guests"),
    Figure("wavers", How.BREAKDOWN, RESULTS, "by id, from views", since=99, of="Clicks"),
"""


def become_later() -> None:
    """Before anything of the core is imported."""
    source = TABLE.read_text()
    assert source.count(END) == 1
    module = ModuleType("stream.core.figures")
    sys.modules["stream.core.native"] = None  # type: ignore[assignment]
    sys.modules["stream.core.figures"] = module
    exec(compile(source.replace(END, ROWS + END), str(TABLE), "exec"), module.__dict__)  # our own
    stream.__version__ = "99.0"


def count_more() -> None:
    """What the later version counts of each event."""
    from stream.core import judge

    counting = judge.COUNT

    def more(count: Any) -> Any:
        def counted(pane: Any, event: Any, limit: int) -> None:
            count(pane, event, limit)
            pane.waves += 1
            pane.height = max(pane.height, event.event_time % 1000)
            pane.tips["IDR"] = pane.tips.get("IDR", 0) + 5
            pane._note_unique("guests", event.viewer_id)
            pane._note_id("wavers", event.viewer_id, limit)

        return counted

    for kind, count in list(counting.items()):
        counting[kind] = more(count)


def main(command: str, *names: str) -> Any:
    become_later()
    from tests.core.states.make import gone_on, until_kept
    from tests.core.states.test_states import driver_of

    if command == "slide":
        return _largest_slide(int(names[0]))
    count_more()
    if command == "continue":
        driver = driver_of(names[0], upgrades=True)[0]
        return [*_as_json(*gone_on(driver)), _held(driver)]
    if command == "keep":
        driver = driver_of(names[0])[0]
        return [*_as_json(*gone_on(driver, 5, to_the_end=False)), _records(driver)]
    driver = until_kept()
    held = _held(driver)
    driver.crash()
    assert _held(driver) == held, "it restores what it writes"
    return [held, _records(driver)]


def _largest_slide(earlier: int) -> list[Any]:
    """``earlier``: figures that the version before knows."""
    from stream.core.alerts.figures import FIELDS
    from stream.core.alerts.history import History
    from stream.core.alerts.session_state import SessionState, pack_session_state, unpack_session_state
    from stream.core.formats import NEWEST
    from stream.model.money import MAX_SUM

    history, largest = History(0, 10), (MAX_SUM,) * len(FIELDS)
    history.note(30, largest)
    packed = pack_session_state(SessionState(b"s", history), NEWEST)
    is_restored = unpack_session_state(b"s", packed).history.columns(0) == [(), (), largest]
    return [len(FIELDS), is_restored, [type(history.stored(most)[4]).__name__ for most in (len(FIELDS), earlier)]]


def _held(driver: Any) -> dict[str, Any]:
    """The figures of the later version, by session, and what the alerts' history holds of them in all."""
    from stream.core.alerts.figures import PLACE, added
    from stream.core.counts import estimate

    shard = driver.shard
    held: dict[str, Any] = {}
    for session in shard.sessions.each():
        counts = shard.rows.of(session)
        wavers = counts.wavers and [sorted(counts.wavers.named), counts.wavers.beyond]
        held[session.session_id] = [counts.waves, counts.height, counts.tips, estimate(counts.guests), wavers]
    slides = [column for each in shard.alerting.session_states.values() for column in each.history.columns(0) if column]
    held["alerts"] = [added(slides)[PLACE[name]] for name in ("events", "waves", "tips_minor")] if slides else []
    return held


def _as_json(windows: dict[str, bytes], sessions: dict[str, bytes], alerts: list[bytes], dead: list[Any]) -> list[Any]:
    return [_texts(windows), _texts(sessions), [each.decode() for each in alerts], dead]


def _records(driver: Any) -> list[tuple[int, str]]:
    return [(offset, base64.b64encode(value).decode()) for offset, value in driver.state]


def _texts(values: dict[str, bytes]) -> dict[str, str]:
    return {key: value.decode() for key, value in values.items()}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))  # noqa: T201  # for whoever has started it
