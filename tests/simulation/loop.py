"""An event loop whose clock jumps: nothing is waited for, nothing depends on the machine, one seed is one schedule.

Tasks belong to a process (a context variable, inherited by what they start), so that a process can be killed or stopped
between any two steps of it: what it would have run next is dropped, or kept until it is woken up.

Sets of futures and tasks are walked through in `asyncio.wait` and elsewhere, so theirs hash by number, not by address.
"""

import asyncio
import gc
import heapq
import inspect
import itertools
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from enum import Enum
from typing import Any, Final, TypeVar

T = TypeVar("T")


class Life(Enum):
    ALIVE = 1
    FROZEN = 2
    DEAD = 3


class Process:
    """One process of the simulated world. ``trap`` springs before its step number ``fuse`` from now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.life = Life.ALIVE
        self.held: list[asyncio.Handle] = []
        """What would have run since it was frozen."""
        self.fuse = 0
        self.trap: Callable[[], None] = lambda: None

    def kill(self) -> None:
        self.life = Life.DEAD
        self.held.clear()

    def freeze(self) -> None:
        if self.life is Life.ALIVE:
            self.life = Life.FROZEN


PROCESS: Final[ContextVar[Process]] = ContextVar("PROCESS")


class _Future(asyncio.Future[T]):
    serial: int

    def __hash__(self) -> int:
        return self.serial


class _Task(asyncio.Task[T]):
    def __init__(self, coro: Coroutine[Any, Any, T], *, serial: int, **options: Any) -> None:
        self.serial = serial
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.serial


class Answer(asyncio.TimerHandle):
    """What comes from the network. A process that wakes up sees it before its own timers, as `select` has it."""

    __slots__ = ()


class StalledError(Exception):
    """Nothing is left that could ever happen."""


class Loop(asyncio.BaseEventLoop):
    """``now`` is in seconds since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tasks: list[asyncio.Task[Any]] = []
        """All that were ever made: nothing of a killed process may be collected, and clean up, while the world goes on."""
        self.complaints: list[str] = []
        self._soon: deque[asyncio.Handle] = deque()
        self._at: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = itertools.count()
        self.set_exception_handler(self._complain)

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    # -- what asyncio asks of a loop

    def time(self) -> float:
        return self.now

    # typeshed ties the arguments to the callback's parameters, which says nothing here
    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._at, (when, next(self._serial), handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def answer(self, delay: float, context: Context, callback: Callable[..., None], *args: Any) -> None:
        """As `call_later`, for what arrives from the network."""
        handle = Answer(self.now + delay, callback, args, self, context)
        heapq.heappush(self._at, (handle.when(), next(self._serial), handle))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time has come."""

    def create_future(self) -> asyncio.Future[Any]:
        future: _Future[Any] = _Future(loop=self)
        future.serial = next(self._serial)
        return future

    def create_task(  # type: ignore[override]  # typeshed has it generic
        self, coro: Coroutine[Any, Any, T], *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        task = _Task(coro, serial=next(self._serial), loop=self, name=name or "task", context=context)
        self.tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, _executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """There are no threads: at once, and it takes a moment."""
        future = self.create_future()
        try:
            self.call_later(0.005, _set, future, func(*args), None)
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            self.call_later(0.005, _set, future, None, error)
        return future

    def _run_once(self) -> None:
        soon = self._soon
        if not soon:
            self._jump()
        while soon:
            handle = soon.popleft()
            if not handle.cancelled():
                self._step(handle)
            if self._stopping:  # type: ignore[attr-defined]  # typeshed hides it
                return

    def _jump(self) -> None:
        """To the next timer that still counts."""
        while self._at:
            when, _, handle = heapq.heappop(self._at)
            if not handle.cancelled():
                self.now = max(self.now, when)
                self._soon.append(handle)
                return
        raise StalledError("nothing is left that could ever happen")

    # -- processes

    def _step(self, handle: asyncio.Handle) -> None:
        process: Process | None = handle._context.get(PROCESS)  # type: ignore[attr-defined]  # typeshed hides it
        if process is not None:
            if process.fuse:
                process.fuse -= 1
                if not process.fuse:
                    process.trap()
            if process.life is not Life.ALIVE:
                if process.life is Life.FROZEN:
                    process.held.append(handle)
                return
        handle._run()

    def wake(self, process: Process) -> None:
        """It goes on, first with what the network has for it."""
        if process.life is Life.FROZEN:
            process.life = Life.ALIVE
            held, process.held = process.held, []
            self._soon.extend(sorted(held, key=lambda handle: not isinstance(handle, Answer)))

    def start(self, process: Process, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task, and all that it starts, as part of a process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(coro, name=process.name, context=context)

    def in_process(self, process: Process, callback: Callable[[], object]) -> None:
        """As something that reaches the process from outside, a signal for one."""
        context = copy_context()
        context.run(PROCESS.set, process)
        self.call_soon(callback, context=context)

    def end(self) -> None:
        """Closes, and ends what the killed have left behind without letting it say a word."""
        self.set_exception_handler(lambda *_: None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of coroutines that cleaning up had just made
            left = [task for task in self.tasks if not task.done()]
            for task in left:
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # typeshed hides it
                for coro in reversed(list(_awaiting(task.get_coro()))):
                    _finish(coro)
            self.tasks.clear()
            if left:
                gc.collect()  # while nobody is told of what they held
            self._soon.clear()
            self._at.clear()
        self.close()


def _awaiting(waits: Any) -> Iterator[Any]:
    """A coroutine, the one that it waits for, and so on. An inner one that is not ended first may outlive the outer one."""
    while waits is not None:
        if inspect.iscoroutine(waits):
            yield waits
            waits = waits.cr_await
        elif inspect.isasyncgen(waits):
            waits = waits.ag_await
        else:  # a step of an asynchronous generator knows it, and nothing else does
            waits = next(filter(inspect.isasyncgen, gc.get_referents(waits)), None)


def _finish(coro: Any) -> None:
    """Its cleaning up may await; nothing answers any more."""
    for _ in range(50):
        try:
            coro.close()
        except (RuntimeError, StopIteration, asyncio.CancelledError):  # it awaits once more, or misses its loop
            continue
        except Exception:  # noqa: BLE001 - whatever cleaning up makes of that
            return
        return


def _set(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
