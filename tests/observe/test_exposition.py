"""Which form of the metrics a client is given."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.observe.exposition import Form, choose, read

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.TEXT),
        (PROMETHEUS_2, Form.OPENMETRICS),
        (PROMETHEUS_3, Form.OPENMETRICS),
        ("application/openmetrics-text", Form.OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", Form.OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", Form.TEXT),
        ("application/openmetrics-text; version=99", Form.TEXT),
        ("application/openmetrics-text; version=x", Form.TEXT),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.2", Form.TEXT),
        ("application/openmetrics-text;q=0", Form.TEXT),
        ("application/openmetrics-text;q=nan", Form.TEXT),
        ("text/plain; version=x", Form.TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Form.TEXT),
        ("image/png", Form.TEXT),
        (",;=,", Form.TEXT),
    ],
)
def test_the_form_that_is_wished_for(accept: str, form: Form) -> None:
    assert choose(accept) is form


@given(st.text(), st.sampled_from(["", "text/plain;", "application/openmetrics-text;version=", "*/*;q="]))
def test_any_wish_is_answered(noise: str, begin: str) -> None:
    assert choose(begin + noise) in Form


TEXT_FORM = b'# HELP a b\n# TYPE a counter\na_total{x="y\\\\z",z=""} 1e3\nb{le="+Inf"} NaN 123\n'


@given(st.binary(max_size=60), st.integers(0, len(TEXT_FORM)), st.integers(0, len(TEXT_FORM)))
def test_what_is_no_page_of_metrics_is_a_value_error_and_nothing_else(noise: bytes, begin: int, end: int) -> None:
    for text in (noise, TEXT_FORM[:begin] + noise + TEXT_FORM[end:]):
        with suppress(ValueError):
            read(text.decode("latin-1"))
