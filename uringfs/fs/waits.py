"""Enters that wait in a poll(2): no task of their own, one for all of a mount that ends them.

Whoever publishes the last completion only marks the wait as done: what the same turn of the loop posts besides is
there, too, when the client goes on.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import trio

from uringfs.abi import control as abi
from uringfs.abi.control import RESULT
from uringfs.engine.wait import CqWait
from uringfs.errors import UringError
from uringfs.fs.ringfile import RingFile
from uringfs.host.protocols import Caller, Program

log = logging.getLogger(__name__)


class EnterInProgress(NamedTuple):
    """An enter that answered EINPROGRESS: its wait is a poll(2) of its own."""

    message: abi.Enter
    submitted: int
    """SQEs."""
    wait: CqWait
    program: Program
    """That has entered: the results are stored in its memory."""


class Polled:
    """The poll(2) of one such enter, from arm() on to ended() or interrupted(). of_file: the enters of the same
    open file that wait, by thread."""

    def __init__(
        self, ring: RingFile, caller: Caller, waiting: EnterInProgress, of_file: dict[int, EnterInProgress]
    ) -> None:
        self._ring = ring
        self._caller = caller
        self._waiting = waiting
        self._of_file = of_file
        self._fetches = ring.interrupted_by_fetch(caller, waiting.wait)

    def arm(self, tell: Callable[[], None]) -> None:
        """tell() is called once, when it is over."""
        self._fetches.__enter__()
        self._waiting.wait.arm(tell)

    def ended(self) -> bool:
        """Store the result. True: it is not stored, and the wait goes on once its thread has fetched
        descriptors."""
        wait = self._waiting.wait
        self._stop()
        if wait.interrupted_to_fetch:
            wait.resume()
            self._of_file[self._caller.tid] = self._waiting
            return True
        self._store(wait.result())
        return False

    def interrupted(self) -> None:
        """By a signal."""
        self._stop()
        self._store(self._waiting.wait.interrupted())

    def _stop(self) -> None:
        self._waiting.wait.stop()
        self._fetches.__exit__(None, None, None)

    def _store(self, result: int) -> None:
        """The enter's return value."""
        result, caller = self._waiting.submitted or result, self._caller
        try:
            if result > 0:  # it has submitted
                result |= self._ring.fetch_bits_after_wait(caller)
            caller.memory.write(self._waiting.message.result, RESULT.pack(result))
        except UringError as error:
            log.debug("thread %d: the result of a wait could not be stored: %s", caller.tid, error)


class Waits:
    """The waits of a mount, by the numbers of their polls. answer: takes a poll's number, and its events or
    -errno."""

    def __init__(self, answer: Callable[[int, int], None]) -> None:
        self._answer = answer
        self._going: dict[int, Polled] = {}
        self._done: list[int] = []
        self._some = trio.Event()

    def begin(self, number: int, polled: Polled) -> None:
        """Begin a wait. It is answered later, also if it is over at once: what its thread's task work has let
        go on comes first."""
        self._going[number] = polled
        polled.arm(partial(self._mark, number))

    def interrupt(self, number: int) -> bool:
        """By a signal to its thread; False: there is no such wait."""
        polled = self._going.pop(number, None)
        if polled is None:
            return False
        polled.interrupted()
        self._answer(number, 0)
        return True

    def _mark(self, number: int) -> None:
        self._done.append(number)
        self._some.set()

    async def run(self) -> None:
        """End those that are done."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            done, self._done = self._done, []
            for number in done:
                if number in self._going:
                    self._answer(number, self._end(number))

    def _end(self, number: int) -> int:
        return abi.URINGFS_POLL_FETCH if self._going.pop(number).ended() else abi.URINGFS_POLL_WAIT
