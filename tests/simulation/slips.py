"""Small mistakes in the protocol, one at a time: each must be noticed, by a test of its own or by the simulation.

`make simulate-faults MUTANTS=1` prints the score. A line that nobody would miss is no line of the protocol.
"""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Slip:
    """A change of one place in a module's text."""

    module: str
    was: str
    now: str


def _in(module: str, was: str, now: str) -> Slip:
    return Slip(f"stream.kafka.{module}", was, now)


checkpoint: Final = partial(_in, "checkpoint")
recovery: Final = partial(_in, "recovery")
membership: Final = partial(_in, "membership")
statereader: Final = partial(_in, "statereader")
worker: Final = partial(_in, "worker")
task: Final = partial(_in, "task")
shard_loop: Final = partial(_in, "shard_loop")

_WORST: Final = """\
for worst in (ProducerFenced, _TooLargeError):
        for error in errors:
            if isinstance(error, worst):
                raise error
"""
_SURE: Final = """\
if not current():
                raise OutdatedError
        await _fence"""

SLIPS: Final[dict[str, Slip]] = {
    # -- a checkpoint
    "failed_sends_are_overlooked": checkpoint("_raise_worst(results)\n", "pass\n"),
    "the_first_error_is_the_worst": checkpoint(_WORST, "pass\n"),
    "a_fence_is_not_told_first": checkpoint("(ProducerFenced, _TooLargeError)", "(_TooLargeError, ProducerFenced)"),
    "a_fence_is_any_error": checkpoint("except ProducerFenced as error:", "except SystemError as error:"),
    "nobody_looks_who_else_writes": checkpoint("await self._check_single_writer(begin)", "pass"),
    "a_gap_in_the_state_is_none": checkpoint("begin == self._state_end +", "begin >= self._state_end +"),
    "a_state_that_lost_its_end_goes_on": checkpoint("if begin < self._state_end + self._marked:", "if False:"),
    "our_own_marker_is_not_expected": checkpoint("self._marked += MARKER if spans else 0", "pass"),
    "markers_are_expected_for_ever": checkpoint(
        "self._state_end, self._marked = begin + records, 0", "self._state_end = begin + records"
    ),
    "the_end_is_asked_for_without_bound": checkpoint(
        "await end_txn.commit(self._producer, self._seconds)", "await self._producer.commit_transaction()"
    ),
    "an_unknown_offset_is_taken": checkpoint("any(offset < 0 for offset in offsets)", "False"),
    "what_failed_is_not_aborted": checkpoint("await self._producer.abort_transaction()", "pass"),
    "positions_are_not_written": checkpoint("if not (offsets and self._context.role.has_group):", "if True:"),
    "the_offset_of_the_last_part_is_told": checkpoint("return spans[0][0] if", "return spans[-1][0] + spans[-1][1] if"),
    "what_was_committed_late_was_not": checkpoint("raise CommittedError(type", "raise CheckpointError(type"),
    "trouble_is_a_fault_of_ours": checkpoint("if not (is_trouble(error) or", "if not (False and"),
    "who_begins_a_batch_is_left_out": checkpoint(
        "create_batch()\n                _append(batch, row)", "create_batch()"
    ),
    "a_full_batch_is_not_sent": checkpoint(
        "sent.append(await self._hand_over(batch, topic, to))\n                if", "if"
    ),
    "all_goes_to_one_partition": checkpoint("return lambda _row: own", "return lambda _row: 0"),
    "a_state_has_no_checksum": checkpoint("return [(CHECKSUM, checksum(value))]", "return []"),
    "a_state_of_ours_follows_on_anything": checkpoint("await single_writer.check_only_markers", "len"),
    # -- recovery
    "a_stale_assignment_fences": recovery("if not current():\n            raise OutdatedError\n        if", "if"),
    "a_long_look_is_not_followed_by_another": recovery(_SURE, "pass\n        await _fence"),
    "the_first_round_repeats": recovery("hanging = True", "pass"),
    "what_its_coordinator_forgot_hangs_on": recovery(
        "ended = await _end_forgotten(context, producer)",
        "ended = True",
    ),
    "nobody_makes_sure_before_it_refuses": recovery("await _confirm_fence(context, producer)", "pass"),
    "the_end_of_the_state_is_one_less": recovery(", number, state.end", ", number, state.end - 1"),
    "a_new_state_ends_one_earlier": recovery("ids), 0, state.end\n    number", "ids), 0, state.end - 1\n    number"),
    "positions_are_not_settled": recovery("await resolve_positions(context, reader, machine)\n    log", "log"),
    "a_gap_is_not_told": recovery("machine.gap(name, lost)", "pass"),
    "a_position_beyond_the_end_is_taken": recovery("elif position > end:", "elif False:"),
    "a_state_does_not_say_who_wrote_it": recovery("machine.transactional_id = context.transactional_id", "pass"),
    "results_without_a_state_are_no_reason": recovery("if evidence:", "if False:"),
    "an_earlier_version_is_not_fenced": recovery("await _fence_earlier(context, newest, hanging=hanging)", "pass"),
    "anothers_state_is_found_too_late": recovery("raise state_refused.other_owner(context, newest.meta.owner)", "pass"),
    "anothers_state_is_taken": recovery("if machine.owner != context.owner:", "if False:"),
    "a_rebuild_is_the_same_generation": recovery("max(least, seen.highest) + 1, ids", "max(least, seen.highest), ids"),
    "a_rebuild_looks_at_no_results": recovery("max(least, seen.highest) + 1, ids", "least + 1, ids"),
    "a_rebuild_tells_nothing_of_what_is_gone": recovery(
        "        if begin:\n            _note", "        if False:\n            _note"
    ),
    "a_new_shard_begins_at_the_end": recovery("begin if earliest else end for", "end if earliest else begin for"),
    "an_input_that_is_new_is_begun_at_its_end": recovery(
        "positions[name] = begin\n        elif", "positions[name] = end\n        elif"
    ),
    "a_gap_is_not_jumped": recovery(
        "begin - position)\n            machine.positions[name] = begin", "begin - position)"
    ),
    "a_leader_just_elected_is_believed": recovery("range(BEYOND_CHECKS)", "range(0)"),
    "another_number_of_partitions_is_none": recovery("or counted not in {None, context.partitions}", ""),
    "the_state_is_not_written_to_end_it": recovery("(context.state, *context.outputs", "(*context.outputs"),
    "what_ends_it_is_not_in_all_partitions_at_once": recovery("end_txn.enlist(producer, partitions)", "pass"),
    "what_could_not_be_ended_is_ended": recovery("return False\n    return True", "return True\n    return True"),
    "offsets_of_the_group_are_no_evidence": recovery("if any(offset >= 0 for", "if any(offset > 10**9 for"),
    "an_answer_without_offsets_is_one": recovery("if len(offsets) != len(partitions):", "if False:"),
    "topics_made_anew_are_the_same": recovery("if others and context.adopts is None:", "if False:"),
    "a_producer_is_left_open_when_its_state_is_refused": recovery(
        "finally:\n            await client.end(producer)\n        raise", "finally:\n            pass\n        raise"
    ),
    # -- reading the state
    "the_newest_record_is_any": statereader("begin, end, _is_state)", "begin, end)"),
    "who_looks_from_the_end_looks_once": statereader("newest is not None or start == begin", "True"),
    "what_came_meanwhile_is_read_too": statereader("if record.offset < end:\n", "if True:\n"),
    "one_that_is_damaged_is_read": statereader("check(record.value, record.offset, stored)", "pass"),
    "nobody_waits_for_what_is_open": statereader("await await_stable(reader, partition, end, patience)", "pass"),
    "an_old_answer_is_believed": statereader("answers < ANSWERS or not _is_stable", "not _is_stable"),
    "a_state_begins_anywhere": statereader("or state.records[0][0] != start", ""),
    # -- membership
    "an_old_epoch_is_current": membership("epoch == self.epoch and ", ""),
    "who_slept_is_current": membership(" and awake and", " and"),
    "nothing_need_be_assigned": membership("return self._assigned and ", "return "),
    "who_leaves_is_current": membership(" and self._rejoin is None\n\n", "\n\n"),
    "a_revocation_is_the_same_epoch": membership("self.epoch += 1", "pass"),
    "a_revocation_takes_nothing_away": membership("self._assigned = False\n        if", "if"),
    "who_leaves_gives_nothing_back": membership("await self._revoke()\n        if self._checking", "if self._checking"),
    "a_member_fetches": membership("self._consumer.pause(*assigned)", "pass"),
    "a_stall_is_not_noticed": membership("self._notice_a_stall()\n\n", "self._polled = time.monotonic()\n\n"),
    "an_owners_failure_is_swallowed": membership("self._failure = error", "pass"),
    "nobody_keeps_us_out": membership("if text is None:\n                return", "return"),
    "others_topics_are_waited_for_at_a_start": membership("if others and not self._has_joined:", "if False:"),
    "uneven_inputs_are_kept": membership("if numbers is None:  #", "if False:  #"),
    "of_uneven_inputs_some_are_ours": membership("if len(set(by_topic.values())) == 1 else None", ""),
    "who_leaves_tells_nobody": membership("await client.end(self._consumer, LEAVE_SECONDS)", "pass"),
    "who_has_joined_anew_is_still_leaving": membership("self._rejoin = None\n            await", "await"),
    "who_has_nothing_leaves_too": membership("if self._rejoin is None and self._assigned:", "if self._rejoin is None:"),
    "a_member_that_failed_stays": membership('self._rejoin = f"the group', 'why = f"the group'),
    # -- a shard and its worker
    "a_fenced_worker_stays": worker(
        "FencedError):\n            # never begin", "FencedError):\n            return\n            # never begin"
    ),
    "who_is_given_back_is_still_the_producer": task("await self._check_ownership(shard_loop)", "pass"),
    "nothing_is_written_before_it_is_taken_away": task("await shard_loop.last_checkpoint()\n", "pass\n"),
    "the_task_before_is_not_awaited": task("await after.ended()", "pass"),
    "what_was_counted_meanwhile_is_forgotten": shard_loop("if commit is not None:\n            await commit", "pass"),
}


@contextmanager
def slipped(name: str) -> Iterator[None]:
    """The functions of the module do what the changed text says; it stays the module that others have imported."""
    slip = SLIPS[name]
    module = importlib.import_module(slip.module)
    changed = dict(_codes(_compiled(module, slip)))
    kept = [(function, function.__code__) for function in _functions(module)]
    try:
        for function, code in kept:
            function.__code__ = changed.get(code.co_qualname, code)
        yield
    finally:
        for function, code in kept:
            function.__code__ = code


def _compiled(module: ModuleType, slip: Slip) -> CodeType:
    path = Path(inspect.getfile(module))
    text = path.read_text()
    if (found := text.count(slip.was)) != 1:
        raise ValueError(f"{path.name} has this {found} times: {slip.was!r}")
    return compile(text.replace(slip.was, slip.now), str(path), "exec")


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """By the names of their functions."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each.co_qualname, each
            yield from _codes(each)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Those that the module itself makes."""
    for each in vars(module).values():
        if getattr(each, "__module__", None) == module.__name__:
            for found in [each, *vars(each).values()] if isinstance(each, type) else [each]:
                plain: Any = inspect.unwrap(getattr(found, "__func__", getattr(found, "fget", found)))
                if isinstance(plain, FunctionType) and plain.__module__ == module.__name__:
                    yield plain
