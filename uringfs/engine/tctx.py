"""Threads and what pends in their name, over all rings of a mount: both go when a thread exits or executes another
program (io_uring_files_cancel(), io_uring_task_cancel())."""

import errno
from collections.abc import Callable, Iterator
from typing import Protocol
from weakref import WeakSet

import trio

from uringfs.abi.kernels import CURRENT, Kernel
from uringfs.engine.hooks import Hooks
from uringfs.engine.locks import TicketLocks
from uringfs.engine.request import RegisteredRing, Request, RingContext
from uringfs.engine.waitqueue import LastFirst
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, Host, Program
from uringfs.ring.ring import Counters


class Pends(Protocol):
    """Where requests pend."""

    def orphan(self, request: Request) -> None:
        """The thread that submitted it is gone."""

    def cancel(self, request: Request) -> None:
        """The thread that submitted it executes another program."""


class TaskContexts:
    """Which requests pend for which thread, and which rings it has registered."""

    def __init__(
        self,
        host: Host,
        nursery: trio.Nursery,
        find_ring: Callable[[int], RingContext | None] = lambda inode: None,
    ) -> None:
        self.host = host
        self.find_ring = find_ring
        """The ring behind an inode of the mount."""
        self.kernel_of: Callable[[Caller], Kernel] = lambda caller: CURRENT
        """What a ring is made to be of that a caller sets up."""
        self.lanes = True
        """Clients may perform requests themselves."""
        self.locks = TicketLocks()
        self.late = LastFirst()
        self.hooks = Hooks()
        self.closed = Counters()
        """What all rings that are closed have counted."""
        self._nursery = nursery
        self._pending: dict[Program, dict[Request, Pends]] = {}
        self._registered_rings: dict[Program, dict[int, RegisteredRing]] = {}
        self._begun: WeakSet[Program] = WeakSet()

    def add(self, program: Program, request: Request, ring: Pends) -> None:
        if program not in self._pending:
            self._pending[program] = {}
            self._nursery.start_soon(self._watch, program)
        self._pending[program][request] = ring

    def remove(self, program: Program, request: Request) -> None:
        self._pending.get(program, {}).pop(request, None)

    def pending(self) -> Iterator[Request]:
        """All that pend in the name of a thread, on any ring."""
        for requests in self._pending.values():
            yield from requests

    def registered_rings(self, program: Program) -> dict[int, RegisteredRing]:
        """By index; they go with the thread, and with the program."""
        self.begin(program)
        if program not in self._registered_rings:
            self._registered_rings[program] = {}
            self._nursery.start_soon(self._forget, program)
        return self._registered_rings[program]

    def begin(self, program: Program) -> None:
        """io_uring_add_tctx_node(): the thread has set up a ring, or registered one."""
        self._begun.add(program)

    def clients(self) -> list[int]:
        """The threads that have set up a ring, or registered one, and live."""
        return [program.tid for program in self._begun if program.lives()]

    def begun(self, program: Program) -> bool:
        return program in self._begun

    def no_index(self, program: Program) -> UringError:
        """What an index that names no ring comes to: EBADF, EINVAL in a thread without an io_uring_task."""
        return UringError(
            errno.EBADF if self.begun(program) else errno.EINVAL, "this thread has not registered it"
        )

    def has_registered(self, program: Program, ring: RingContext) -> bool:
        return any(entry.ring is ring for entry in self._registered_rings.get(program, {}).values())

    async def _forget(self, program: Program) -> None:
        await program.ended()
        for entry in self._registered_rings.pop(program).values():
            entry.close()

    async def _watch(self, program: Program) -> None:
        await program.ended()
        orphans = self._pending.pop(program, {})
        if not program.exited():  # exec cancels all: nothing of it meets the next program
            for request, ring in orphans.items():
                ring.cancel(request)
            return
        for request in orphans:
            request.orphaned = True
        for request, ring in orphans.items():
            ring.orphan(request)
