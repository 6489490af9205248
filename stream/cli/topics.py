"""``liveshop topics``: makes the topics the worker needs, and shows what they are like."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import typer

from stream.cli.flags import takes_settings
from stream.cli.output import lines, print_json, print_table
from stream.config import CONNECTION, Settings
from stream.errors import UsageError
from stream.kafka import topics
from stream.kafka.topics import Made, Topic

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
        print_json(found)
        return
    rows = [(topic.name, topic.made, *_numbers(topic), lines(_settings(topic))) for topic in found]
    print_table(("topic", "", "partitions", "copies", "settings"), rows)


def _numbers(topic: Topic) -> tuple[str, str]:
    return ("", "") if topic.made is Made.MISSING else (str(topic.partitions), str(topic.replication))


def _settings(topic: Topic) -> str:
    return "\n".join(topic.differences) or ", ".join(f"{name}={value}" for name, value in topic.configs.items())
