from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.ids import TimedHashes
from stream.core.state_keys import from_key
from stream.core.statelog import StateLog

ANY = 2**60
LOG = StateLog(10)


def hashes(hold_ms: int, most: int, slice_ms: int, bucket_ms: int = 10) -> TimedHashes:
    return TimedHashes(hold_ms, most, slice_ms, sort=b"k", bucket_ms=bucket_ms)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(("note", "sweep", "restore")), st.integers(0, 5), st.integers(0, 30))),
    st.integers(1, 20),
)
def test_a_hash_is_held_for_its_own_time_whatever_sweeps_come_by(steps: list[tuple[str, int, int]], hold: int) -> None:
    held: dict[int, int] = {}
    seen = hashes(hold, ANY, 7)
    chunks: list[bytes] = []
    now = 0
    for action, which, passed in steps:
        now += passed
        hashed = (which * 0x9E3779B97F4A7C15) % 2**64
        assert seen.holds(hashed, now) == (hashed in held and held[hashed] + hold > now)
        if action == "note" and not seen.holds(hashed, now):
            held[hashed] = now
            seen.note(hashed, now, now)
            chunks += [chunk for _, chunk in seen.additions(LOG)]
        elif action == "sweep":
            seen.sweep(now)
        elif action == "restore":
            seen = hashes(hold, ANY, 7)
            seen.restore(b"", chunks)
    for hashed, since in held.items():
        assert seen.holds(hashed, now) == (since + hold > now)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("note", "note", "note", "sweep", "restore")), st.integers(0, 30), st.integers(-15, 9)
        ),
        max_size=80,
    ),
    st.integers(1, 6),
)
def test_of_more_than_there_is_room_for_the_oldest_slices_are_forgotten(
    steps: list[tuple[str, int, int]], most: int
) -> None:
    hold, slice_ms, now = 1000, 10, 100
    seen = hashes(hold, most, slice_ms, bucket_ms=50)
    held: dict[int, int] = {}
    chunks: dict[bytes, list[bytes]] = {}
    for action, which, passed in steps:
        now += max(0, passed)
        time = now + min(0, passed)
        hashed = which * 0x9E3779B97F4A7C15 % 2**64
        assert seen.holds(hashed, now) == (hashed in held)
        if action == "note" and hashed not in held and time >= seen.floor:
            seen.note(hashed, time, now)
            held[hashed] = time
            while len(held) > most:
                oldest = min(held.values()) // slice_ms
                held = {each: at for each, at in held.items() if at // slice_ms > oldest}
        elif action == "sweep":
            seen.sweep(now)
        elif action == "restore":
            for bucket, chunk in seen.additions(LOG):
                chunks.setdefault(bucket, []).append(chunk)
            before, seen = seen, hashes(hold, most, slice_ms, bucket_ms=50)
            seen.floor = before.floor
            for bucket, parts in chunks.items():
                if not seen.is_over((from_key(bucket[1:]) + 1) * 50, now):
                    seen.restore(bucket, parts)
        assert seen.number_held(now) == len(held)


def test_a_flood_of_checkouts_is_held_in_so_many_bytes() -> None:
    seen = hashes(10**9, 100_000, 60_000, bucket_ms=10**6)
    for number in range(400_000):
        seen.note(number * 0x9E3779B97F4A7C15 % 2**64, number * 10, number * 10)
        if len(seen.recent) >= 65_536:
            seen.sweep(number * 10)
            list(seen.additions(LOG))
    assert seen.number_held(number * 10) <= 100_000
    assert len(seen) < 100_000 + 3 * 65_536
