"""What lies around the rings: the trace of a supervised program, and the instance of `uringfs run`."""

import ctypes
import errno
import os
import socket
import struct
import subprocess
from pathlib import Path

from attack import USER, Arena, become

from tests.support.calls import answer
from tests.support.children import Child, in_child
from tests.support.mounting import URINGFS
from uringfs import client
from uringfs.cli import notify

SYS_IO_URING_SETUP = 425
UCRED = struct.Struct("=iII")


def test_a_trace_is_written_as_the_caller(arena: Arena) -> None:
    """A socket hears who writes to it: lines of a user's must not come from root."""

    def caller(_: Child) -> None:
        become()
        ours, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        client.hand_over(str(arena.mount.path), notify.install(), ours.fileno())
        params = ctypes.create_string_buffer(120)
        assert ctypes.CDLL(None).syscall(SYS_IO_URING_SETUP, 1, params) >= 0
        line, ancillary, _, _ = theirs.recvmsg(256, socket.CMSG_SPACE(UCRED.size))
        assert b"io_uring_setup" in line
        [(_, kind, data)] = ancillary
        assert kind == socket.SCM_CREDENTIALS
        assert UCRED.unpack(data)[1:] == (USER, USER)

    with in_child(caller):
        pass


def test_what_a_private_instance_leaves_open() -> None:
    """Whoever root's program becomes may use it. Nobody else can change what it stands on, or read its log."""
    script = 'echo "$URINGFS_TRAP_MOUNT"; read -r _'
    command = [*URINGFS, "run", "--", "sh", "-c", script]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        mount = Path(process.stdout.readline().strip())
        assert mount.is_mount()

        def other(_: Child) -> None:
            become()
            assert answer(lambda: os.open(mount.parent / "log", os.O_RDONLY)) == errno.EACCES
            for path in (mount.parent / "made", mount.parent / "log", *mount.parent.glob("*.so")):
                assert answer(lambda path=path: os.open(path, os.O_RDWR | os.O_CREAT)) == errno.EACCES
            assert answer(lambda: os.rename(mount.parent, f"{mount.parent}.mine")) in (errno.EACCES, errno.EPERM)

        with in_child(other):
            pass
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
