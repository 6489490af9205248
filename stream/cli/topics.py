"""``liveshop topics``: makes the topics the worker needs, and shows what they are like."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Final, TypeAlias

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream.cli.flags import takes_settings
from stream.config import CONNECTION, Settings
from stream.errors import UsageError
from stream.kafka import topics
from stream.kafka.topics import Made, Topic

UNCUT: Final = 250
"""Columns of a table that goes to a file or a pipe."""
NEEDED: Final = (*CONNECTION, "topic_prefix")

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="print JSON")]

app: Final = typer.Typer(help="Make or show the topics.", no_args_is_help=True)


@app.command()
@takes_settings(NEEDED, required=("brokers",))
def create(
    settings: Settings,
    partitions: Annotated[int, typer.Option(min=1, help="shards: the most workers that can share the work")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="copies of each partition; 1 on a single broker")] = 3,
    as_json: Json = False,
) -> None:
    """Make the topics that are missing; those that exist are left as they are. May be run again."""
    found = asyncio.run(topics.create(settings, partitions, replication))
    _print(found, as_json=as_json)
    _refuse_unequal(found)


@app.command()
@takes_settings(NEEDED, required=("brokers",))
def show(settings: Settings, as_json: Json = False) -> None:
    """Show every topic as it is, and how it differs from what it should be."""
    _print(asyncio.run(topics.describe(settings)), as_json=as_json)


def _refuse_unequal(found: Sequence[Topic]) -> None:
    if len({topic.partitions for topic in found}) > 1:
        raise UsageError("the topics do not have the same number of partitions: the worker would refuse them")


def _print(found: Sequence[Topic], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps([asdict(topic) for topic in found], option=orjson.OPT_INDENT_2).decode())
        return
    table = Table("topic", "", "partitions", "copies", "settings", box=None)
    for topic in found:
        table.add_row(topic.name, topic.made, *_numbers(topic), _settings(topic))
    Console(width=None if sys.stdout.isatty() else UNCUT).print(table)


def _numbers(topic: Topic) -> tuple[str, str]:
    return ("", "") if topic.made is Made.MISSING else (str(topic.partitions), str(topic.replication))


def _settings(topic: Topic) -> str:
    return "\n".join(topic.differences) or ", ".join(f"{name}={value}" for name, value in topic.configs.items())
