"""Files of alert rules: read, or refused with all mistakes; what is read can be asked with any figures."""

from random import Random
from typing import Final

from stream.rules.reading import RulesError, read_rules, shipped_text
from tests.fuzz.damage import damaged, repeated
from tests.fuzz.target import Bound

PANE_MS: Final = 60_000
WORDS: Final = rb"""
w. base. median. ( ) [ ] { } : - * & ! | > < == && || ?: has( / % 0 1e308 -1 " ' # rules: alert: when: min: for: 1m w.views
w.failure_rate_low base.conversion (w.views) 999999999999999999999d !!python/object:os.system"""
TOKENS: Final = (
    *WORDS.split(),
    *(b"&a ", b"*a", b"<<: *a", b"\t", b"\n", b"\n  ", b"\n- ", b"w.views / w.views", b"\x00", b"\xc2\x85"),
)
RULE: Final = """\
rules:
  - alert: one
    window: 5m
    baseline: 30m
    min: {attempts: 20}
    when: w.failure_rate_low > 0.24 && base.views > 3 || has(w.conversion) ? w.views / w.comments > 1 : median.views > 2
    for: 1m
    keep_firing_for: 2m
    severity: page
    summary: "{checkouts_failed:,.0f} of {attempts:,.0f}"
    runbook: x
    sellers: [s9, s10]
"""


def make(random: Random) -> bytes:
    text = (RULE if random.random() < 0.8 else shipped_text()).encode()
    if random.random() < 0.1:
        return repeated(random, text, TOKENS, 300_000)
    return damaged(random, text, TOKENS, most=3)


def run(data: bytes) -> None:
    try:
        assert read_rules(data.decode(errors="replace"), "fuzz", PANE_MS)
    except RulesError as error:
        said = str(error)
    else:
        return
    assert len(said) < 100_000


BOUND: Final = Bound(seconds=1.0, seconds_a_byte=60e-6, memory_a_byte=2000.0)
"""PyYAML takes 20 us a byte."""
