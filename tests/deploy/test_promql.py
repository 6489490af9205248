"""What is found in a query."""

import pytest

from tests.deploy.promql import Selector, grouped_by, missing, selectors

EXPORTED = {
    "a_total": [{"job": "x", "reason": "late"}, {"job": "x", "reason": "future"}],
    "job:a:rate5m": [{"job": "x"}],
    "b_bucket": [{"job": "x", "le": "1", "type": "views"}],
}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("a_total", ["a_total"]),
        ("sum by (job) (rate(a_total[5m])) > 3", ["a_total"]),
        (
            'max_over_time(a_total{x="y"}[1h] offset 1d) / on (job) group_left (z) job:a:rate5m',
            ["a_total", "job:a:rate5m"],
        ),
        ("histogram_quantile(0.99, sum by (le) (rate(b_bucket[5m]))) and 1e9 > bool inf", ["b_bucket"]),
        ("absent(up == 1) or vector(0) unless a:b", ["up", "a:b"]),
        ("a_total / ignoring (outcome) (a_total >= 1)", ["a_total", "a_total"]),
        ('label_replace(a_total{x="y"} > 1, "type", "$1", "topic", ".*live\\\\.(.+)")', ["a_total"]),
        ("-deriv(job:a:rate5m[10m]) offset 5m", ["job:a:rate5m"]),
    ],
)
def test_metrics_of_a_query(query: str, names: list[str]) -> None:
    assert [each.name for each in selectors(query)] == names


def test_matchers_and_groupings_of_a_query() -> None:
    query = 'sum by (job, topic) (a_total{reason="late", job=~"x|y", z!="{"}) unless on (z) b'
    assert grouped_by(query) == {"job", "topic", "z"}
    (first, *_) = selectors('a_total{reason="late", job=~"x|y"}')
    assert first == Selector("a_total", (("reason", "=", "late"), ("job", "=~", "x|y")))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('sum by (reason) (a_total{reason="late"})', []),
        ('a_total{reason!="never", job=~"$job"}', []),
        ('a_total{reason="$reason"}', []),
        ("a_totl", ["there is no metric a_totl"]),
        ('a_total{resaon="late"}', ["a_total has no label resaon"]),
        ('a_total{reason="lat"}', ['no a_total has reason="lat"']),
        ("sum by (topic) (a_total)", ["no metric of the query has the label topic"]),
    ],
)
def test_what_is_missing_is_named(query: str, said: list[str]) -> None:
    assert missing(query, EXPORTED) == said
