"""What is counted without breakdowns is what is counted with them."""

from stream.core.counting import PLAIN_ONLY
from stream.core.counts import MONIES, PLAIN, Counts
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.model.names import KINDS
from stream.replay.file_source import batches
from stream.sandbox.traffic import Plan, Traffic
from tests.replay.tools import arriving

START = 1_760_000_000_000


def counted(limit: int) -> dict[tuple[int, bytes], Counts]:
    """All panes of ten seconds of busy traffic, by start and session."""
    shard = Shard(Policy(max_ids=limit))
    messages = Traffic(Plan(rate=600, sessions=5, bad=0.01), START).step(START + 10_000)
    for _, kind, records in batches(arriving(messages), 1):
        shard.read(kind, records)
    assert all(shard.clocks[kind] is not None for kind in KINDS)
    return {(start, key): pane for start, row in shard.rows.items() for key, pane in row.panes.items()}


def test_plain_figures_are_the_same_without_breakdowns_and_uniques() -> None:
    whole, plain = counted(1000), counted(PLAIN_ONLY)
    assert whole.keys() == plain.keys()
    for place, pane in whole.items():
        for name in (*PLAIN, *MONIES):
            assert getattr(pane, name) == getattr(plain[place], name), (place, name)
    assert any(pane.viewers and pane.sources and pane.product_clicks_by for pane in whole.values())
    assert not any(pane.viewers or pane.sources or pane.product_clicks_by for pane in plain.values())
    assert any(pane.gmv and pane.item_value for pane in plain.values())
