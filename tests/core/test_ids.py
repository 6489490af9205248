from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.ids import TimedHashes


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(("note", "sweep", "restore")), st.integers(0, 5), st.integers(0, 30))),
    st.integers(1, 20),
)
def test_a_hash_is_held_for_its_own_time_whatever_sweeps_come_by(steps: list[tuple[str, int, int]], hold: int) -> None:
    held: dict[int, int] = {}
    seen = TimedHashes(hold)
    chunks: list[bytes] = []
    now = 0
    for action, which, passed in steps:
        now += passed
        hashed = (which * 0x9E3779B97F4A7C15) % 2**64
        assert seen.holds(hashed, now) == (hashed in held and held[hashed] + hold > now)
        if action == "note" and not seen.holds(hashed, now):
            held[hashed] = now
            seen.note(hashed, now)
            chunks += [chunk for _, chunk in seen.take_fresh(10)]
        elif action == "sweep":
            seen.sweep(now)
        elif action == "restore":
            seen = TimedHashes(hold)
            seen.restore(chunks)
    for hashed, since in held.items():
        assert seen.holds(hashed, now) == (since + hold > now)
