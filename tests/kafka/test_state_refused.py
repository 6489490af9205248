"""What is said of topics that are others than those a state knows."""

from stream.config import Settings
from stream.kafka import state_refused
from stream.kafka.shard_context import ShardContext
from stream.model.names import INPUTS, STATE, Kind
from stream.sessions.role import WORKER

PLACE = ShardContext(Settings(brokers="new:9092"), 0, 4, WORKER)


def test_a_state_that_was_copied_with_its_topics_goes_on_there() -> None:
    """It was read from a topic that it does not know: so it was copied, as to another cluster."""
    told = str(state_refused.recreated_topics(PLACE, [INPUTS[Kind.VIEWS], STATE]))
    assert "After a move to another cluster" in told
    assert "`liveshop state adopt --brokers new:9092 --positions keep --execute`" in told
    assert "beginning" not in told


def test_a_state_whose_topic_was_made_anew_under_a_worker_is_in_no_topic() -> None:
    told = str(state_refused.recreated_topics(PLACE, [STATE], running=True))
    assert "Bring back what was in live.state. Or start once with --rebuild" in told
    assert "adopt" not in told
