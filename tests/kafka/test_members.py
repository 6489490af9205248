"""Who keeps a worker out of its group, by what the group says of its members."""

import pytest

from stream.config import Settings
from stream.kafka import client, members
from stream.kafka.members import Member
from stream.sessions.role import WORKER

OURS = Settings(brokers="a:1", group="g", topic_prefix="a.")
TOPICS = frozenset({"a.live.views", "a.live.comments", "a.live.checkouts"})
MEMBER = client.member_id(OURS, WORKER.name)


@pytest.mark.parametrize(
    "member",
    [
        Member(MEMBER, "/h", TOPICS),
        Member(MEMBER, "/h"),  # in a rebalance
        Member("anything", "/h", TOPICS),
        Member("anything", "/h"),
    ],
)
def test_those_who_read_the_same_topics_do_not(member: Member) -> None:
    assert members.others(WORKER, OURS, [member]) is None
    assert members.earlier(OURS, [member]) is None


@pytest.mark.parametrize(
    "member",
    [
        Member("liveshop-g-worker-b.", "/h", frozenset(topic.replace("a.", "b.") for topic in TOPICS)),
        Member("liveshop-g-worker-b.", "/h"),  # in a rebalance its client id says it
        Member("liveshop-g-worker-", "/h"),  # no prefix
        Member("lag-exporter", "/h", frozenset({"a.live.views"})),
        Member("liveshop-g-member", "/h", frozenset({"b.live.views"})),  # of an earlier version
    ],
)
def test_those_who_read_others_do(member: Member) -> None:
    text = members.others(WORKER, OURS, [Member(MEMBER, "/h", TOPICS), member])
    assert text is not None
    assert f"its member {member.client} (/h) reads" in text
    assert "and this worker is to read a.live.checkouts, a.live.comments, a.live.views" in text


def test_those_of_an_earlier_version_do_until_they_are_stopped() -> None:
    found = [Member("liveshop-g-member", "/10.0.0.3", TOPICS), Member("liveshop-g-member", "/10.0.0.2")]
    text = members.earlier(OURS, found)
    assert text is not None
    assert "(at /10.0.0.2, /10.0.0.3). Stop all of them" in text


def test_what_is_no_metadata_of_a_consumer_says_nothing_of_topics() -> None:
    assert members._member("id", "c", "/h", b"\x00\x01\xff\xff\xff", b"") == Member("c", "/h")
    assert members._member("id", "c", "/h", b"", b"") == Member("c", "/h")
