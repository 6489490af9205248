import logging

from stream.observe.ratelimit import EVERY, MOST, RateLimit


class Hand:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def said(limit: RateLimit, text: str, *args: object, name: str = "aiokafka.conn", level: int = logging.WARNING) -> str:
    record = logging.LogRecord(name, level, "file", 1, text, args, None)
    return record.getMessage() if limit.filter(record) else ""


def test_a_kind_of_message_is_said_at_once_and_then_once_a_minute_with_the_number_left_out() -> None:
    clock = Hand()
    limit = RateLimit(("aiokafka",), clock)
    assert said(limit, "no broker %s", 1) == "no broker 1"
    assert [said(limit, "no broker %s", number) for number in range(5)] == [""] * 5
    clock.now = EVERY
    assert said(limit, "no broker %s", 9) == "no broker 9 (and 5 more like it)"
    clock.now *= 2
    assert said(limit, "no broker %s", 9) == "no broker 9"


def test_other_messages_levels_and_loggers_are_other_kinds() -> None:
    limit = RateLimit(("aiokafka", "asyncio"), Hand())
    kinds = [("a", "aiokafka.conn", 30), ("b", "aiokafka.conn", 30), ("a", "aiokafka.conn", 40), ("a", "asyncio", 30)]
    assert [said(limit, text, name=name, level=level) for text, name, level in kinds] == ["a", "b", "a", "a"]


def test_our_own_lines_are_all_said() -> None:
    limit = RateLimit(("aiokafka",), Hand())
    assert [said(limit, "assigned", name="stream.kafka.worker") for _ in range(3)] == ["assigned"] * 3


def test_messages_that_never_repeat_are_bounded_in_memory() -> None:
    limit = RateLimit(("aiokafka",), Hand())
    assert all(said(limit, f"text {number}") for number in range(MOST + 10))
    assert len(limit._said) == MOST
