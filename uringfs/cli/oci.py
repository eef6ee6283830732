"""What an OCI runtime sends to a seccomp listenerPath: a ContainerProcessState with descriptors beside it
(opencontainers/runtime-spec, config-linux.md, "The Container Process State"). One per connection."""

import array
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import trio

MOST = 1 << 20  # bytes
MOST_FDS = 16
PATIENCE = 10.0  # seconds for the whole of it
_SECCOMP_FD = "seccompFd"


class StateError(Exception):
    """What was sent is no state with a listener."""


class Container(NamedTuple):
    """What it says, as far as it matters."""

    id: str
    pid: int
    """The id of the container's first process."""
    listener: int
    """A seccomp listener, ours until the end of received()."""


@asynccontextmanager
async def received(connection: trio.socket.SocketType) -> AsyncIterator[Container]:
    """StateError. Its descriptors are closed in the end, whatever they are."""
    fds: list[int] = []
    try:
        yield container(await _receive(connection, fds), fds)
    finally:
        for fd in fds:
            os.close(fd)


def container(state: Any, fds: list[int]) -> Container:
    """fds: those that came with it, in the order of its own list. StateError"""
    try:
        index = list(state["fds"]).index(_SECCOMP_FD)
        return Container(str(state["state"]["id"]), int(state["pid"]), fds[index])
    except (ValueError, TypeError, LookupError) as error:
        raise StateError(f"not a container process state with a {_SECCOMP_FD}: {error!r}") from error


async def _receive(connection: trio.socket.SocketType, fds: list[int]) -> Any:
    """One JSON value: the runtime may close its end late (runc: when the container ends). StateError if it is too
    much, or takes too long."""
    data = b""
    with trio.move_on_after(PATIENCE) as scope:
        while len(data) <= MOST:
            room = socket.CMSG_SPACE(4 * MOST_FDS)
            piece, ancillary, flags, _ = await connection.recvmsg(1 << 16, room, socket.MSG_CMSG_CLOEXEC)
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds += array.array("i", content[: len(content) // 4 * 4])
            if flags & socket.MSG_CTRUNC:
                raise StateError("too many descriptors")
            data += piece
            if piece.rstrip().endswith(b"}"):
                with suppress(ValueError, RecursionError):
                    return json.loads(data)
            if not piece:
                raise StateError("not JSON")
    raise StateError(f"not all of it within {PATIENCE:.0f} s" if scope.cancelled_caught else "too long")
