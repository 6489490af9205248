"""Topics are known by Kafka's ids: one that was made anew under its name is another one."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from stream.config import Settings
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.kafka import client, topicids
from stream.kafka.partitions import OutgrownError, Partitions
from stream.kafka.requests import TopicMetadata
from stream.kafka.shard_context import ShardContext
from stream.kafka.state_refused import StateRefusedError
from stream.kafka.topicwatch import TopicWatch
from stream.model.names import DEAD_LETTERS, INPUTS, SESSIONS, STATE, Kind
from stream.sandbox.broker import EmbeddedKafka
from stream.sessions.role import WORKER
from tests.kafka.tools import Memory, make_anew, make_topics, settings

VIEWS = INPUTS[Kind.VIEWS]
SETTINGS = Settings(brokers="k:9092", topic_prefix="p.")
ID, OTHER = bytes(range(16)), bytes(range(16, 32))


def test_an_id_is_written_as_kafka_writes_it() -> None:
    assert topicids.as_text(ID) == "AAECAwQFBgcICQoLDA0ODw"
    for each in (ID, OTHER, bytes([255] * 16)):
        assert topicids.as_bytes(topicids.as_text(each)) == each


def test_only_a_known_topic_with_another_id_was_made_anew() -> None:
    known = {VIEWS: "a", SESSIONS: "b", DEAD_LETTERS: "c", STATE: "d"}
    assert topicids.made_anew(WORKER, known, known) == []
    assert topicids.made_anew(WORKER, {}, known) == []
    assert topicids.made_anew(WORKER, known, {}) == [], "missing is something else"
    assert topicids.made_anew(WORKER, known, {**known, VIEWS: "x", STATE: "y"}) == [VIEWS, STATE]


def test_dead_letters_are_taken_as_they_are() -> None:
    known, now = {VIEWS: "a", DEAD_LETTERS: "c"}, {VIEWS: "a", DEAD_LETTERS: "x", SESSIONS: "b"}
    assert topicids.made_anew(WORKER, known, now) == []
    assert topicids.letters_made_anew(WORKER, known, now)
    assert topicids.adopted(WORKER, known, now) == now
    assert topicids.adopted(WORKER, {VIEWS: "a"}, {VIEWS: "x"}) == {VIEWS: "a"}


def answer(**ids: bytes) -> dict[str, TopicMetadata]:
    return {f"p.live.{name}": TopicMetadata(topic_id, 4) for name, topic_id in ids.items()}


def test_brokers_that_say_different_things_say_nothing() -> None:
    assert topicids.agreed(WORKER, SETTINGS, [answer(views=ID), answer(views=OTHER)]) is None
    assert topicids.agreed(WORKER, SETTINGS, [answer(views=ID), answer()]) is None
    assert topicids.agreed(WORKER, SETTINGS, [answer(views=ID)] * 2) == {VIEWS: topicids.as_text(ID)}
    assert topicids.agreed(WORKER, SETTINGS, [answer(views=bytes(16))]) == {}, "a topic older than ids"


# -- the look while shards run


class Looking:
    """A watch whose brokers answer what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[dict[str, TopicMetadata]] = [answer(views=ID, state=ID)]
        self.health = Memory()
        self.shard = Shard(Policy())
        self.shard.topic_ids = {VIEWS: topicids.as_text(ID), STATE: topicids.as_text(ID)}
        self._watch = TopicWatch(WORKER, SETTINGS, self.health, Partitions(WORKER, SETTINGS, 4))

        async def fetch_all(*_: object) -> Any:
            return self.answers

        monkeypatch.setattr(topicids, "fetch_all", fetch_all)

    def look(self) -> Mapping[str, str]:
        context = ShardContext(SETTINGS, 0, 4, WORKER)
        asyncio.run(self._watch.look(None, [(context, self.shard)]))
        return self.health.reasons


def test_while_brokers_do_not_agree_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch)
    looking.answers = [answer(views=ID, state=ID), answer(views=OTHER, state=ID)]
    assert looking.look() == {}


def test_made_anew_with_more_partitions_it_was_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch)
    looking.answers = [{**answer(state=ID), "p.live.views": TopicMetadata(OTHER, 6)}]
    with pytest.raises(StateRefusedError, match=r"p\.live\.views was made anew"):
        looking.look()
    looking.answers = [answer(views=ID, state=ID), {**answer(state=ID), "p.live.views": TopicMetadata(ID, 6)}]
    with pytest.raises(OutgrownError, match=r"p\.live\.views has 6, and 4 are counted"):
        looking.look()


def test_a_topic_that_is_another_one_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch)
    looking.look()
    looking.answers = [answer(views=OTHER, state=ID)]
    with pytest.raises(StateRefusedError) as raised:
        looking.look()
    told = str(raised.value)
    assert told.startswith("p.live.views was made anew while a worker ran: it is not what the state of partition 0")
    assert "liveshop state adopt --brokers k:9092 --topic-prefix p. --positions beginning --execute`." in told


def test_the_way_out_of_outputs_and_of_the_state_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch)
    looking.answers = [answer(views=ID, state=OTHER)]
    with pytest.raises(
        StateRefusedError, match=r"Bring back what was in p\.live\.state\. Or start once with --rebuild"
    ) as raised:
        looking.look()
    assert "adopt" not in str(raised.value)
    looking.shard.topic_ids = {SESSIONS: topicids.as_text(ID)}
    looking.answers = [answer(sessions=OTHER)]
    with pytest.raises(StateRefusedError, match=r"without what was written before: .*--positions keep --execute"):
        looking.look()


def test_a_missing_topic_is_a_reason_not_to_be_ready_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch)
    looking.answers = [answer(state=ID)]
    assert "missing topics: p.live.views. They were deleted" in looking.look()["topics"]
    looking.answers = [answer(state=ID, views=ID)]
    assert looking.look() == {}


def test_dead_letters_made_anew_are_written_on(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(monkeypatch)
    looking.shard.topic_ids = {DEAD_LETTERS: topicids.as_text(ID)}
    looking.answers = [{"p.live.dead-letters": TopicMetadata(OTHER, 4)}]
    looking.look()
    assert looking.shard.topic_ids[DEAD_LETTERS] == topicids.as_text(OTHER)
    assert looking.shard.moved, "the next checkpoint keeps it"


# -- asked of a real broker


@pytest.mark.kafka
def test_each_topic_has_its_own_and_another_when_it_is_made_anew(kafka: EmbeddedKafka, prefix: str) -> None:
    async def main() -> None:
        config = settings(kafka, prefix)
        assert await topicids.current(WORKER, config) == {}, "asking makes none"
        await make_topics(config, 2)
        before = await topicids.current(WORKER, config)
        assert len(set(before.values())) == 8
        await make_anew(config, VIEWS, partitions=2)
        reader = client.make_reader(config)
        await client.start(reader, config)
        now = await topicids.fetch(WORKER, reader, config)
        (answered,) = await topicids.fetch_all(WORKER, reader, config)
        await client.end(reader)
        assert topicids.made_anew(WORKER, before, now) == [VIEWS]
        assert {topic.partitions for topic in answered.values()} == {2}

    asyncio.run(main())
