"""Which memory backend a mount gets: what can be known before, and a first ring on each that is tried."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from uringfs.cli.mountpoint import MountFailure

if TYPE_CHECKING:
    from uringfs.fs.fuse.session import MountOptions

E = TypeVar("E", bound=BaseException)

FAILED, NO_PERMISSION, NO_LIBFUSE, KERNEL_TOO_OLD = 1, 11, 16, 17  # cli.mount.Exit
_STATUS = {errno.ENOSYS: KERNEL_TOO_OLD, errno.ELIBACC: NO_LIBFUSE}
"""Exit statuses of a session's errors; any other is FAILED."""
KERNEL = {"passthrough": (6, 9), "pagecache": (6, 6)}
CAP_SYS_ADMIN = 21
CHECK = 0x72696E67  # the first ring's user_data


class Choice(NamedTuple):
    backend: str
    why: str
    """Why it is this and not passthrough; "" where nobody has to be told."""


class Failure(NamedTuple):
    status: int
    message: str
    final: bool
    """True if no backend would do better."""


def kernel_version(release: str) -> tuple[int, ...]:
    """(6, 12) of 6.12.3-something."""
    return tuple(int(part) for part in release.split("-")[0].split(".")[:2])


def has_capability(bit: int) -> bool:
    """In force for this process."""
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    return bool(effective >> bit & 1)


def possible(asked: str) -> tuple[Choice, ...]:
    """To be tried one by one. MountError if the one asked for, or with auto the last, cannot be."""
    if asked == "pagecache":
        _check_kernel("pagecache")
        return (Choice("pagecache", ""),)
    try:
        _check_kernel("passthrough")
        if not has_capability(CAP_SYS_ADMIN):
            raise MountFailure(NO_PERMISSION, "the passthrough backend needs CAP_SYS_ADMIN: run as root")
    except MountFailure as error:
        if asked == "passthrough":
            raise
        _check_kernel("pagecache")
        return (Choice("pagecache", str(error)),)
    first = Choice("passthrough", "")
    return (first,) if asked == "passthrough" else (first, Choice("pagecache", ""))


def _check_kernel(backend: str) -> None:
    release = os.uname().release
    if kernel_version(release) < KERNEL[backend]:
        wanted = ".".join(map(str, KERNEL[backend]))
        raise MountFailure(KERNEL_TOO_OLD, f"the {backend} backend needs Linux {wanted}, this is {release}")


def serve(
    choices: tuple[Choice, ...], offer: "MountOptions", ready: Callable[[], None], hangup: Callable[[], None]
) -> None:
    """A mount's whole life, with the first backend that does. MountError."""
    failure = None
    for choice in choices:
        why = choice.why or (failure.message if failure else "")
        failure = _serve(replace(offer, backend=choice.backend, why=why), ready, hangup)
        if failure is None:
            return
        if failure.final:
            break
    assert failure is not None
    raise MountFailure(failure.status, failure.message)


def _serve(offer: "MountOptions", ready: Callable[[], None], hangup: Callable[[], None]) -> Failure | None:
    import trio

    from uringfs.errors import UringError
    from uringfs.fs.fuse import session

    failures: list[UringError] = []
    try:
        trio.run(session.serve, offer, ready, hangup)
    except* UringError as group:
        failures += _leaves(group)
    if not failures:
        return None
    unfit = [failure for failure in failures if isinstance(failure, session.BackendError)]
    first = (unfit or failures)[0]
    return Failure(_STATUS.get(first.errno, FAILED), first.message, not unfit)


def _leaves(group: BaseExceptionGroup[E]) -> Iterator[E]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def check_ring(path: str) -> None:
    """A NOP through a new ring of that name and back, all of it by shared memory. OSError."""
    from uringfs.client import Ring, nop

    with Ring(path, 4) as ring:
        os.unlink(path)
        ring.queue(nop(CHECK))
        if ring.submit(wait=1) != 1 or [cqe.user_data for cqe in ring.reap()] != [CHECK]:
            raise OSError(errno.EIO, "client and daemon do not see each other's stores")


def check_nothing(path: str) -> None:
    """For a mount on which no ring can be opened for writing."""
