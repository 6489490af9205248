"""Writes the pages that are made from code: settings, metrics, topics and records. ``python -m tests.docs.generate``.

Each is a function of the one table that declares its rows, so a new setting, metric or field is in the documentation when
it is in the code. tests/test_docs.py fails when a page is stale.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from stream.config import CONNECTION, DECIDING, SETTINGS, Setting
from stream.observe.catalog import CATALOG, SUPERVISOR, Metric
from tests.docs import records
from tests.docs.tables import row, table
from tests.live import PROJECT

DOCS: Final = PROJECT / "docs"

SETTINGS_HEAD: Final = """# Settings

Every setting is a flag, an environment variable, or a line of a TOML file (`--config FILE`). A flag wins over the
environment, the environment over the file, the file over the default. Made by `make docs` from `stream/config.py`;
`make check` fails when this page is stale.

Durations have a unit: `500ms`, `10s`, `5m`, `1h`, `1d`. An empty environment variable is the same as none. All mistakes
are reported together.

```toml
# liveshop.toml
brokers = "kafka-1:9092,kafka-2:9092"
windows = "1m,5m/1m"
delay = "10s"
```

A worker logs its settings when it starts. Secrets are shown as `***`.

"""
METRICS_HEAD: Final = """# Metrics

All metrics of `/metrics`. Made by `make docs` from `stream/observe/catalog.py`; `make check` fails when this page is stale.
Names and labels change only by adding. [Series and recording rules](operate/metrics.md) says how many series a worker has.
[Dashboards](operate/dashboards.md) show them, and [alerts](operate/alerts/README.md) watch them.

The column *processes* says what `liveshop worker --processes N` shows for its N processes: the sum, the greatest or the
least of their values.

"""


def pages() -> dict[Path, str]:
    """What is to be in each of them."""
    made: dict[str, Callable[[], str]] = {"settings": settings, "metrics": metrics, "topics": records.page}
    return {DOCS / f"{name}.md": page() for name, page in made.items()}


def stale() -> list[Path]:
    """Pages that are missing or say something else."""
    return [file for file, text in pages().items() if not file.exists() or file.read_text() != text]


def settings() -> str:
    return SETTINGS_HEAD + "\n".join(
        f"## {title}\n\n{about}{table(('setting', 'flag', 'environment', 'default', 'what'), map(_setting, rows))}"
        for title, about, rows in _groups()
    )


def _groups() -> Iterator[tuple[str, str, list[Setting]]]:
    """Each setting is in one of them."""
    deciding = (
        "A state is bound to these. [Architecture](architecture.md#how-law-1-is-kept) says which changes are applied at "
        "once, and which are refused until `--rebuild`.\n\n"
    )
    yield "Settings that decide results", deciding, [each for each in SETTINGS if each.name in DECIDING]
    connection = "Commands that connect to Kafka take these. Examples: [secured Kafka](own-kafka.md#secured-kafka).\n\n"
    yield "Connection", connection, [each for each in SETTINGS if each.name in CONNECTION]
    yield "Other settings", "", [each for each in SETTINGS if each.name not in {*DECIDING, *CONNECTION}]


def _setting(setting: Setting) -> str:
    flag = "none: a secret" if setting.secret else f"`{setting.flag}`"
    default = f"`{setting.default}`" if setting.default else ""
    return row(f"`{setting.name}`", flag, f"`{setting.env}`", default, setting.help)


def metrics() -> str:
    own = table(("metric", "type", "labels", "processes", "what"), map(_metric, CATALOG))
    parent = table(("metric", "type", "labels", "what"), map(_parents, SUPERVISOR))
    return f"{METRICS_HEAD}{own}\n## Of `worker --processes`\n\nThe parent's page has these too.\n\n{parent}"


def _metric(metric: Metric) -> str:
    merged = {"sum": "sum", "max": "greatest", "min": "least"}[metric.merge]
    return row(f"`{metric.name}`", metric.kind, _labels(metric.labels), merged, metric.help)


def _parents(metric: Metric) -> str:
    return row(f"`{metric.name}`", metric.kind, _labels(metric.labels), metric.help)


def _labels(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main() -> None:
    made = pages()
    for file in stale():
        file.write_text(made[file])


if __name__ == "__main__":
    main()
