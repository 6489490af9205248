"""Windows of a replay as OpenMetrics: Prometheus makes blocks of them, and they hold the sums of all sessions."""

from pathlib import Path
from typing import Any, Final

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from stream.core.counts import COUNTERS
from stream.replay.openmetrics import END, PREFIX, Export
from stream.replay.results import LastResults, Wanted
from tests.deploy import promtool
from tests.replay.test_results import window

START: Final = 1_760_000_040_000


def text(*windows: tuple[bytes, bytes], run: str = "friday") -> str:
    last = LastResults(Wanted(0, 2**62))
    for key, value in windows:
        last.add(key, value)
    export = Export()
    export.add(last.results.values(), run)
    return "".join(export.text())


def counted(session: str, start: int, views: int, **more: Any) -> tuple[bytes, bytes]:
    counts = dict.fromkeys(COUNTERS, 0) | {"views": views, "watch_ms": views * 1500}
    return window(session, start, counts=counts, **({"gmv_minor": {"IDR": views * 100}, "platform": "shopee"} | more))


EVERYTHING: Final = (
    counted("7", START + 60_000, 3),
    counted("7", START, 1),
    counted("8", START, 4),
    counted("9", START, 5, platform='a"b\\c\nd'),
)


def test_samples_are_sums_of_sessions_at_the_ends_of_windows_in_order() -> None:
    lines = [line for line in text(*EVERYTHING).splitlines() if line.startswith(f"{PREFIX}views{{")]
    assert lines == [
        'liveshop_window_views{run="friday",window="1m",platform="a\\"b\\\\c\\nd"} 5 1760000100.000',
        'liveshop_window_views{run="friday",window="1m",platform="shopee"} 5 1760000100.000',
        'liveshop_window_views{run="friday",window="1m",platform="shopee"} 3 1760000160.000',
    ]


def parsed(what: str) -> list[Any]:
    """As prometheus_client reads it."""
    return [*text_string_to_metric_families(what)]  # type: ignore[no-untyped-call]


def test_an_independent_parser_reads_it() -> None:
    families = {family.name: family for family in parsed(text(*EVERYTHING))}
    assert len(families) == len(COUNTERS) + 1
    assert {each.type for each in families.values()} == {"gauge"}
    assert all(each.documentation for each in families.values())
    money = families[f"{PREFIX}gmv_minor"].samples
    assert [(each.labels["currency"], each.value) for each in money] == [("IDR", 500), ("IDR", 500), ("IDR", 300)]
    assert [each.value for each in families[f"{PREFIX}watch_seconds"].samples] == [7.5, 7.5, 4.5]


def test_nothing_is_a_file_with_its_end() -> None:
    assert text().endswith(END)
    assert not any(family.samples for family in parsed(text()))


def test_prometheus_makes_blocks_of_it(tmp_path: Path) -> None:
    file = tmp_path / "friday.openmetrics"
    file.write_text(text(*EVERYTHING))
    code, said = promtool.run(
        "promtool", "tsdb", "create-blocks-from", "openmetrics", str(file), str(tmp_path / "data")
    )
    assert code == 0, said
    (tmp_path / "data" / "wal").mkdir()  # dump asks for one
    code, dumped = promtool.run("promtool", "tsdb", "dump", str(tmp_path / "data"))
    assert code == 0, dumped
    views = [line for line in dumped.splitlines() if "liveshop_window_views" in line and "shopee" in line]
    assert [line.split("}")[1].split() for line in views] == [["5", "1760000100000"], ["3", "1760000160000"]]
