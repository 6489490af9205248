"""A topic that cannot be read is not one that is not there."""

import pytest

from stream.errors import FailedError
from stream.kafka.presence import is_readable


def test_a_topic_that_cannot_be_read_is_not_an_empty_one() -> None:
    there = [{"leader": 1}]
    assert is_readable("t", there, "so", hidden=False)
    assert not is_readable("t", None, "so", hidden=False)
    for partitions in ([{"leader": -1}], []):
        with pytest.raises(FailedError, match="t has no leader now, so: start"):
            is_readable("t", partitions, "so", hidden=False)
    with pytest.raises(FailedError, match="may not see t, so: docs"):
        is_readable("t", None, "so", hidden=True)
