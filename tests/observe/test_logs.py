"""One line a fact; JSON when nobody looks; never a local variable in a traceback."""

import ast
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

import stream
from stream.observe import logs
from stream.plaintext import plain
from tests.hostile_texts import HOSTILE_TEXTS
from tests.observe.views import logging_restored


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def fail() -> None:
    comment = "a secret comment"
    raise ValueError(len(comment))


def test_json_when_not_on_a_terminal() -> None:
    out = io.StringIO()
    logs.configure(stream=out)
    structlog.get_logger("liveshop").info("checkpoint", partition=3, took=timedelta(seconds=1))
    (line,) = lines(out)
    assert list(line)[:3] == ["time", "level", "event"]
    assert (line["level"], line["event"], line["partition"], line["logger"]) == ("info", "checkpoint", 3, "liveshop")
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)


def test_one_of_several_processes_says_which_in_every_line() -> None:
    out = io.StringIO()
    logs.configure(stream=out, process=3)
    structlog.get_logger("liveshop").info("assigned")
    logging.getLogger("aiokafka").warning("a retry")
    assert [(list(line)[3], line["process"]) for line in lines(out)] == [("process", 3)] * 2


def test_columns_on_a_terminal_unless_json_is_wanted() -> None:
    out = Terminal()
    logs.configure(stream=out)
    structlog.get_logger().warning("lost offsets", partition=3)
    assert "lost offsets" in out.getvalue()
    with pytest.raises(ValueError, match="Expecting value"):
        lines(out)
    out = Terminal()
    logs.configure(log_format="json", stream=out)
    structlog.get_logger().warning("lost offsets", partition=3)
    assert lines(out)[0]["partition"] == 3


def test_standard_logging_and_warnings_go_the_same_way() -> None:
    out = io.StringIO()
    logs.configure(stream=out)
    logging.getLogger("aiokafka.consumer").warning("node %s is gone", 7)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert [(line["level"], line["logger"]) for line in lines(out)] == [
        ("warning", "aiokafka.consumer"),
        ("warning", "py.warnings"),
    ]
    assert lines(out)[0]["event"] == "node 7 is gone"


def test_the_level_holds_and_libraries_speak_one_lower() -> None:
    out = io.StringIO()
    logs.configure("info", stream=out)
    structlog.get_logger().debug("detail")
    logging.getLogger("aiokafka.client").info("joined")
    assert lines(out) == []
    logs.configure("debug", stream=out)
    structlog.get_logger().debug("detail")
    logging.getLogger("aiokafka.client").info("joined")
    logging.getLogger("aiokafka.client").debug("fetched")
    assert [line["event"] for line in lines(out)] == ["detail", "joined"]


def test_what_a_library_warns_of_in_each_rolling_restart_is_no_warning() -> None:
    group, sender = (
        logging.getLogger("aiokafka." + name) for name in ("consumer.group_coordinator", "producer.sender")
    )
    for level, shown in (("info", ["info", "info", "warning"]), ("warning", ["warning"])):
        out = io.StringIO()
        logs.configure(level, stream=out)  # type: ignore[arg-type]
        group.warning("Heartbeat failed for group %s because it is rebalancing", "g")
        sender.warning(
            "Got error produce response on topic-partition %s, retrying. Error: %s", "t", "NotEnoughReplicas"
        )
        group.warning("Heartbeat failed for group %s: generation id is not  current.", "g")
        assert [line["level"] for line in lines(out)] == shown


def test_a_library_repeats_itself_at_debug_only() -> None:
    sender = logging.getLogger("aiokafka.producer.sender")
    for level, shown in (("info", ["a, retrying", "strange"]), ("debug", ["a, retrying", "b, retrying", "strange"])):
        out = io.StringIO()
        logs.configure(level, stream=out)  # type: ignore[arg-type]
        sender.warning("%s, retrying", "a")
        sender.warning("%s, retrying", "b")
        sender.warning("strange")
        assert [line["event"] for line in lines(out)] == shown


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variable(log_format: logs.Format) -> None:
    out = Terminal()
    logs.configure(log_format=log_format, stream=out)
    for logger in (structlog.get_logger(), logging.getLogger("asyncio")):
        try:
            fail()
        except ValueError:
            logger.exception("the task failed")
    text = out.getvalue()
    assert text.count("ValueError: 16") == 2
    assert "secret" not in text.replace('comment = "a secret comment"', "")


def test_one_fact_is_one_line_also_with_a_traceback() -> None:
    out = io.StringIO()
    logs.configure(stream=out)
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("the task failed\nbadly")
    assert len(lines(out)) == 1


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda text: ascii(text[:12]))
def test_text_of_data_is_plain_text_in_columns_and_in_json(text: str) -> None:
    """It can neither colour a line, nor hide it, nor look like another one; JSON loses nothing of it."""
    columns, as_json = Terminal(), io.StringIO()
    for out in (columns, as_json):
        logs.configure(stream=out)
        structlog.get_logger().error(text, session=text, several=[text], exc_info=ValueError(text))
        logging.getLogger("aiokafka").error("of a library: %s", text)
    shown = re.sub(r"\x1b\[\d*m", "", columns.getvalue())  # the renderer's own colours
    assert all(line.isprintable() for line in shown.split("\n"))
    assert plain(text) in shown
    first, second = as_json.getvalue().splitlines()
    assert first.isprintable()
    assert (json.loads(first)["session"], json.loads(first)["event"]) == (text, text)
    assert json.loads(second)["event"] == f"of a library: {text}"


def test_no_number_is_too_large_for_a_line() -> None:
    out = io.StringIO()
    logs.configure(stream=out)
    structlog.get_logger().info("counted", gmv=2**70)
    assert lines(out)[0]["gmv"] == 2**70


def test_good_news_is_said_as_such() -> None:
    """``info`` says what is, as "ready" does, and not what is no longer otherwise."""
    said = {
        (path.name, node.args[0].value)
        for path in Path(stream.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "log.info"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
    assert len(said) > 10
    assert [each for each in said if re.search(r"\b(no longer|any ?more)\b", each[1])] == []
