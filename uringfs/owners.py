"""Threads and what pends in their name, over all rings of a mount."""

from collections.abc import Callable
from typing import Protocol

import trio

from uringfs.host.base import Host
from uringfs.ops.context import RegisteredRing, RingContext
from uringfs.ops.request import Request
from uringfs.ops.turns import Turns


class Pends(Protocol):
    """Where requests pend."""

    def orphan(self, request: Request) -> None:
        """The thread that submitted it is gone."""


class Owners:
    """Which requests pend for which thread: when it exits they are orphans (io_uring_files_cancel())."""

    def __init__(
        self,
        host: Host,
        nursery: trio.Nursery,
        find_ring: Callable[[int], RingContext | None] = lambda inode: None,
    ) -> None:
        self.host = host
        self.find_ring = find_ring
        """The ring behind an inode of the mount."""
        self.positions = Turns()
        self._nursery = nursery
        self._pending: dict[int, dict[Request, Pends]] = {}
        self._registered_rings: dict[int, dict[int, RegisteredRing]] = {}

    def add(self, tid: int, request: Request, ring: Pends) -> None:
        if tid not in self._pending:
            self._pending[tid] = {}
            self._nursery.start_soon(self._watch, tid)
        self._pending[tid][request] = ring

    def remove(self, tid: int, request: Request) -> None:
        self._pending.get(tid, {}).pop(request, None)

    def registered_rings(self, tid: int) -> dict[int, RegisteredRing]:
        """By index; they go with the thread."""
        if tid not in self._registered_rings:
            self._registered_rings[tid] = {}
            self._nursery.start_soon(self._forget, tid)
        return self._registered_rings[tid]

    def has_registered(self, tid: int, ring: RingContext) -> bool:
        return any(entry.ring is ring for entry in self._registered_rings.get(tid, {}).values())

    async def _forget(self, tid: int) -> None:
        await self.host.exited(tid)
        for entry in self._registered_rings.pop(tid).values():
            entry.close()

    async def _watch(self, tid: int) -> None:
        await self.host.exited(tid)
        orphans = self._pending.pop(tid, {})
        for request in orphans:
            request.orphaned = True
        for request, ring in orphans.items():
            ring.orphan(request)
