"""Threads for calls that block, and what one user may keep busy of them."""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import outcome
import trio

from uringfs.errors import UringError

MAX_BLOCKING = 64
"""Threads that wait for one user where no poll can answer."""
T = TypeVar("T")


class OngoingCalls:
    """How many calls are being made for requests, by threads and helper processes: each will end by itself."""

    def __init__(self) -> None:
        self.going_on = 0

    def __enter__(self) -> None:
        self.going_on += 1

    def __exit__(self, *_: object) -> None:
        self.going_on -= 1


calls = OngoingCalls()
"""What this process makes, for all its hosts."""


def _errors_as_values(call: Callable[..., T], args: tuple[object, ...]) -> T | UringError | OSError:
    try:
        return call(*args)
    except (UringError, OSError) as error:
        return type(error)(*error.args)


async def in_thread(
    call: Callable[..., T],
    *args: object,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = False,
) -> T:
    """trio.to_thread.run_sync(), but an error raised there would refer to trio's frames and they to it: with
    that cycle all that the request holds, descriptors too, would wait for the collector. So it is raised here."""
    with calls:
        result = await trio.to_thread.run_sync(
            _errors_as_values, call, args, abandon_on_cancel=abandon_on_cancel, limiter=limiter
        )
    if not isinstance(result, UringError | OSError):
        return result
    try:
        raise result
    finally:
        del result


class Threads:
    """The threads of one user: who lets all of them hang holds up nobody else."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(MAX_BLOCKING)
        self.polls = trio.CapacityLimiter(MAX_BLOCKING)
        """Threads that wait in polls which may block, for one event."""
        self.watches = trio.CapacityLimiter(MAX_BLOCKING)
        """Threads that watch by such polls."""
        self.serial = Serial(self.limiter)


class _Work:
    """One call for a thread, and the task that waits for it."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._task = trio.lowlevel.current_task()
        self.token = trio.lowlevel.current_trio_token()
        self._lock = threading.Lock()
        self._begun = self._given_up = False

    def give_up(self) -> bool:
        """Give the call up; False if it has begun."""
        with self._lock:
            self._given_up = not self._begun
            return self._given_up

    def run(self) -> None:
        """Make the call. Runs in the thread."""
        with self._lock:
            if self._given_up:
                return
            self._begun = True
        result = outcome.capture(self._call)
        with suppress(trio.RunFinishedError):
            self.token.run_sync_soon(partial(trio.lowlevel.reschedule, self._task, result))


class Serial:
    """Work on one file in one thread, in its order: io-wq's hashed work (io_wq_hash_work()), which writes to
    a regular file are. What is asked for while a thread is at it costs no thread of its own."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._queues: dict[Hashable, deque[_Work]] = {}

    async def run(self, key: Hashable, call: Callable[[], T]) -> T:
        """Run the call after all that was asked for with this key. Cancellable until it begins."""
        await trio.lowlevel.checkpoint_if_cancelled()
        work = _Work(call)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
            work.token.run_sync_soon(self._begin, key, queue)  # behind the batch that is being submitted
        queue.append(work)

        def abort(raise_cancel: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.SUCCEEDED if work.give_up() else trio.lowlevel.Abort.FAILED

        with calls:
            result: Any = await trio.lowlevel.wait_task_rescheduled(abort)
        return result  # type: ignore[no-any-return]

    def _begin(self, key: Hashable, queue: deque[_Work]) -> None:
        try:
            self._limiter.acquire_on_behalf_of_nowait(key)
        except trio.WouldBlock:
            trio.lowlevel.spawn_system_task(self._start_later, key, queue)
        else:
            self._start(key, queue)

    async def _start_later(self, key: Hashable, queue: deque[_Work]) -> None:
        await self._limiter.acquire_on_behalf_of(key)
        self._start(key, queue)

    def _start(self, key: Hashable, queue: deque[_Work]) -> None:
        """The part of trio.to_thread.run_sync() that needs no task."""
        batch = tuple(queue)
        queue.clear()
        token = trio.lowlevel.current_trio_token()

        def ended(_: object) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._ended, key, queue)

        trio.lowlevel.start_thread_soon(partial(_run, batch), ended)

    def _ended(self, key: Hashable, queue: deque[_Work]) -> None:
        if queue:
            self._start(key, queue)
            return
        self._limiter.release_on_behalf_of(key)
        del self._queues[key]

    def __len__(self) -> int:
        """Keys with work."""
        return len(self._queues)


def _run(batch: tuple[_Work, ...]) -> None:
    for work in batch:
        work.run()
