"""Whom a call is made for, and where its paths lead."""

import errno
import os
from collections.abc import Callable
from typing import Any

from uringfs.host.helper.kernel import (
    AT_FDCWD,
    RESOLVE_NO_SYMLINKS,
    failure,
    on_procfs,
    openat2,
    syscall,
)
from uringfs.host.helper.stranger import Act, by_stranger
from uringfs.host.helper.walk import DIRECTORY, NO_LINK, Numbers, Place, Walk, is_link

NOWHERE = Place(-1, b"x")
"""No directory: a system call with it fails with EBADF, or before it has come to look."""


class HelperCaller:
    """For one call. What it has opened is open until close()."""

    def __init__(self, numbers: Numbers, cwd: int) -> None:
        """cwd: a descriptor of its working directory."""
        self.cwd = cwd
        self._numbers = numbers
        self._held: list[int] = []
        self._walks: list[Walk] = []

    def close(self) -> None:
        for walk in self._walks:
            walk.close()
        for fd in self._held:
            os.close(fd)
        self._walks, self._held = [], []

    def hold(self, fd: int) -> int:
        self._held.append(fd)
        return fd

    def directory(self, at: int) -> int:
        """A descriptor in place of AT_FDCWD."""
        return self.cwd if at == AT_FDCWD else at

    def own_descriptors(self) -> int | None:
        """A descriptor of /proc/self/fd; None: there is no procfs in its place."""
        try:
            fd = self.hold(openat2(AT_FDCWD, b"/proc/self/fd", os.O_PATH))
        except OSError:
            return None
        return fd if on_procfs(fd) else None

    def walk(self, at: int, resolve: int = 0) -> Walk:
        walk = Walk(self._numbers, at, resolve)
        self._walks.append(walk)
        return walk

    def parent(self, at: int, path: bytes) -> Place:
        """The directory of a name to be made, changed or removed, which itself is not looked at."""
        at = self.directory(at)
        return self._parent(at, path) or self.walk(at).to(path, parent=True)

    def locate(self, at: int, path: bytes, follow: bool) -> Place:
        """The place of an object. follow: a link at the end."""
        at = self.directory(at)
        place = None if path.endswith(b"/") else self._parent(at, path)
        if place is None or (follow and self._links_at(place)):
            return self.walk(at).to(path, follow)
        return place

    def _parent(self, at: int, path: bytes) -> Place | None:
        """Without links and off procfs, else None."""
        name = path.rstrip(b"/")
        head = name.rfind(b"/") + 1
        if not head:
            if at < 0:
                raise failure(errno.EBADF)
            return None if on_procfs(at) else Place(at, path or b".")
        try:
            above = self.hold(openat2(at, path[:head], DIRECTORY, resolve=RESOLVE_NO_SYMLINKS))
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return None
        return None if on_procfs(above) else Place(above, path[head:])

    def _links_at(self, place: Place) -> bool:
        try:
            fd = openat2(place.at, place.name, NO_LINK)
        except OSError:
            return False  # as the call will find
        try:
            return is_link(fd) or on_procfs(fd)
        finally:
            os.close(fd)


def act(places: tuple[Place, ...], call: Act) -> tuple[int, bytes]:
    """call(), by a stranger if it is about a procfs, or about what the kernel has yet to follow."""
    if any(place.magic or on_procfs(place.at) for place in places):
        return by_stranger(call)
    return call()


def on_places(
    find: Callable[[], tuple[Place, ...]], name: str, args: Callable[..., tuple[Any, ...]]
) -> tuple[tuple[Place, ...], tuple[Any, ...]]:
    """find() and the arguments of a system call for what it finds. An error of its arguments comes before one
    of its paths, as in the kernel."""
    try:
        places = find()
    except OSError as error:
        raise _earlier(name, args) or error from None
    return places, args(*places)


def _earlier(name: str, args: Callable[..., tuple[Any, ...]]) -> OSError | None:
    try:
        syscall(name, *args(NOWHERE, NOWHERE))
    except OSError as error:
        return None if error.errno == errno.EBADF else error
    return None
