"""Small mistakes in the native judge and the native reader: ``python -m tests.mutants.native [NAME...]``.

mutmut knows no Cython. So these are written by hand, each a change of one place: the module is built anew in a copy, and its
tests must notice. They hold it to what Python does, so that a mistake in both at once is what `make mutants` is for.
"""

# ruff: noqa: T201 - it is a command

import argparse
import os
import resource
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutants.changed import ROOT

COPY: Final = ROOT / ".cache" / "native-mutants"
NATIVE: Final = Path("stream/core/native")
STUCK: Final = 600
"""Seconds after which tests that run on for ever count as failed."""
MEMORY: Final = 2 << 30
"""Bytes: a length that nobody checks may ask for any number."""
JUDGE, READER = "judging", "records"
TESTS: Final = {
    JUDGE: ("tests/core/native/test_judging.py",),
    READER: ("tests/core/native/test_records.py", "tests/core/native/test_runs.py"),
}
_BUILD: Final = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
path = sys.argv.pop()
flags = ["-O0", "-fno-strict-aliasing", "-w"]
module = Extension(path[:-4].replace("/", "."), [path], include_dirs=["stream/core/native"], extra_compile_args=flags)
setup(script_args=["-q", "build_ext", "--inplace"], ext_modules=cythonize([module], build_dir="build", quiet=True))
"""


class Slip(NamedTuple):
    """A change of one place in the text of a native module."""

    module: str
    was: str
    now: str


judge: Final = partial(Slip, JUDGE)
reader: Final = partial(Slip, READER)

SLIPS: Final[dict[str, Slip]] = {
    "a_clock_goes_back": judge("clock = max(clock, event.moment)", "clock = event.moment"),
    "what_is_below_the_floor_is_plain": judge("max(start, <int64_t>judge.floor(clock) + 1, max", "max(start, max"),
    "what_is_at_the_floor_is_plain": judge("judge.floor(clock) + 1,", "judge.floor(clock),"),
    "the_future_is_plain": judge("high = min(start + pane_ms, ceiling, max", "high = min(start + pane_ms, max"),
    "what_comes_late_is_plain": judge(", max(clock + 1, high) - on_time)", ")"),
    "a_pane_ends_later": judge("high = min(start + pane_ms, ceiling", "high = min(start + pane_ms + 1, ceiling"),
    "a_full_pane_takes_one_more": judge("low <= time < high and room > 0", "low <= time < high and room >= 0"),
    "room_is_never_used_up": judge("room -= 1", "pass"),
    "what_was_judged_apart_moved_no_clock": judge("            clock = judge.clock(kind)\n", ""),
    "a_row_is_believed_after_another_has_judged": judge("            high = low  #", "            pass  #"),
    "a_duplicate_is_counted": judge(
        "        if not ids.note(event.id):", "        if not ids.note(event.id) and False:"
    ),
    "duplicates_are_not_told": judge(
        "    if duplicates:\n        judge.uncount", "    if False:\n        judge.uncount"
    ),
    "a_session_that_is_not_known_is_let_in": judge("if why is not None:", "if False:"),
    "a_topic_knows_what_another_does": judge("if pane is None or not pane.topics & topic:", "if pane is None:"),
    "a_session_is_not_noted": judge("            known.note(event.seed, row.start, clock)\n", ""),
    "a_changed_pane_is_forgotten": judge("            changed.append(pane)\n", ""),
    "two_keys_of_a_hash_are_one": judge("== seed and _is(<object>self.slots[place].key, key):", "== seed:"),
    "of_two_labels_the_first_stays": judge("max(held_by(pane, table.SELLER)", "min(held_by(pane, table.SELLER)"),
    "any_platform_is_known": judge("return text if text in KNOWN_PLATFORMS else OTHER_PLATFORM", "return text"),
    "likes_come_one_by_one": judge("table.LIKES, 1 if event.count < 0 else event.count)", "table.LIKES, 1)"),
    "a_number_may_have_eleven_bytes": reader("while shift < 70 and", "while shift < 77 and"),
    "a_length_is_not_checked": reader("&size) or size > cursor.end - cursor.at:", "&size):"),
    "an_empty_text_is_none": reader("    if size < 0:\n        span.at", "    if size <= 0:\n        span.at"),
    "headers_may_be_of_any_number": reader("or number > (cursor.end - cursor.at) // 2:", "or False:"),
    "a_negative_number_of_headers_is_none": reader("    if number < 0:\n        return NEGATIVE\n", ""),
    "a_header_without_a_name_is_one": reader("        if name.at == NULL:\n            return NEGATIVE\n", ""),
    "a_record_has_any_length": reader("return NONE if cursor.at - begin == length else MISFIT", "return NONE"),
    "offsets_come_in_any_order": reader("if not before < record.offset <= last:", "if not record.offset <= last:"),
    "offsets_go_beyond_the_batch": reader("if not before < record.offset <= last:", "if not before < record.offset:"),
    "an_offset_comes_twice": reader(
        "if not before < record.offset <= last:", "if not before <= record.offset <= last:"
    ),
    "bytes_behind_the_last_record_are_nothing": reader("        if cursor.at != cursor.end:", "        if False:"),
    "a_batch_may_say_any_number": reader("or number > kept.data.len // RECORD:", "or False:"),
    "the_brokers_time_is_overlooked": reader(
        "            if self.attributes & APPEND_TIME:\n", "            if False:\n"
    ),
    "the_oldest_is_the_first": reader(
        "                oldest = min(oldest, kept.at[i].timestamp)", "                pass"
    ),
    "of_joined_runs_the_first_is_the_oldest": reader("        oldest = min(oldest, run.oldest_ms)", "        pass"),
    "a_part_begins_one_too_late": reader("  if self.at[i].offset >= offset:", "  if self.at[i].offset > offset:"),
    "a_part_has_no_bound": reader("if most < 0 and i > begin:", "if False:"),
    "a_part_may_be_empty": reader("if most < 0 and i > begin:", "if most < 0:"),
    "headers_have_no_bound_in_bytes": reader("        if room < 0:\n            break\n", ""),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.native", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SLIPS)} (default: all)")
    names = parser.parse_args().names or list(SLIPS)
    shutil.rmtree(COPY, ignore_errors=True)
    leave = shutil.ignore_patterns("__pycache__", ".cache")
    for folder in ("stream", "tests", "schemas"):
        shutil.copytree(ROOT / folder, COPY / folder, ignore=leave)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy2(ROOT / name, COPY / name)
    missed = {name for name in names if not _told(name)}
    for module in TESTS:
        own = [name for name in names if SLIPS[name].module == module]
        if own:
            print(
                f"{module}.pyx: {len([name for name in own if name not in missed])} of {len(own)} mistakes are noticed"
            )
    return 1 if missed else 0


def _told(name: str) -> bool:
    noticed = _is_noticed(SLIPS[name])
    print(f"{name}: {'noticed' if noticed else 'NOT NOTICED'}", flush=True)
    return noticed


def changed(slip: Slip, text: str) -> str:
    """The text of a module with the mistake. ValueError where it does not say what is changed, or says it twice."""
    if (found := text.count(slip.was)) != 1:
        raise ValueError(f"{slip.module}.pyx has this {found} times: {slip.was!r}")
    return text.replace(slip.was, slip.now)


def _is_noticed(slip: Slip) -> bool:
    source = NATIVE / f"{slip.module}.pyx"
    text = (ROOT / source).read_text()
    (COPY / source).write_text(changed(slip, text))
    try:
        _run("-c", _BUILD, str(source)).check_returncode()
        return _fails(TESTS[slip.module])
    finally:
        (COPY / source).write_text(text)
        for built in (ROOT / NATIVE).glob(f"{slip.module}.*.so"):
            shutil.copy2(built, COPY / NATIVE / built.name)


def _fails(tests: tuple[str, ...]) -> bool:
    try:
        done = _run("-P", "-m", "pytest", "-qx", "-p", "no:randomly", "-p", "no:cacheprovider", "--rootdir=.", *tests)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=COPY,
        env={**os.environ, "PYTHONPATH": str(COPY), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=STUCK,
        preexec_fn=_limited,
    )


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


if __name__ == "__main__":
    sys.exit(main())
