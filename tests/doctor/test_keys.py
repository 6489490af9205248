"""The sample: keys on the wrong partition are an error; rejected records by their share."""

from collections import Counter

import pytest

from stream.doctor.finding import Severity
from stream.doctor.keys import Sample, judge_keys
from stream.model.names import Reason
from tests.doctor.tools import one


def test_keys_in_their_places_are_one_line() -> None:
    assert "110 sampled records" in one(judge_keys([Sample("v/0", 100), Sample("v/1", 10)], 0.5), Severity.OK).what
    assert "no record" in one(judge_keys([Sample("v/0")], 0.5), Severity.INFO).what


def test_a_misplaced_key_is_an_error() -> None:
    found = one(judge_keys([Sample("v/0", 100, misplaced=3, first_misplaced=17)], 0.5), Severity.ERROR)
    assert "3 of 100 sampled records" in found.what
    assert "offset 17" in found.what
    assert "murmur2" in found.todo


def test_a_record_without_a_key_is_a_warning() -> None:
    assert "no key" in one(judge_keys([Sample("v/0", 100, keyless=1)], 0.5), Severity.WARNING).what


@pytest.mark.parametrize(("number", "severity"), [(1, Severity.INFO), (10, Severity.WARNING), (500, Severity.ERROR)])
def test_rejected_records_count_by_their_share(number: int, severity: Severity) -> None:
    rejected = Counter({Reason.INVALID_JSON: number - 1, Reason.KEY_MISMATCH: 1})
    found = one([each for each in judge_keys([Sample("v/0", 1000, rejected=rejected)], 0.5) if each.todo], severity)
    assert "1 key_mismatch" in found.what


def test_what_is_wrong_is_said_as_dead_letters_say_it() -> None:
    details = Counter({"event_time: seconds": 389, "key: quoted": 2})
    sample = Sample("v/0", 500, rejected=Counter({Reason.BAD_VALUE: 389, Reason.KEY_MISMATCH: 2}), details=details)
    found = one(judge_keys([sample], 0.5), Severity.ERROR)
    assert found.what.endswith("389 bad_value, 2 key_mismatch (389 times: event_time: seconds)")
