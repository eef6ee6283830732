"""`uringfs run --mode notify`: a seccomp filter whose listener the daemon has."""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from uringfs.abi import seccomp as abi
from uringfs.abi.libc import libc
from uringfs.abi.machine import MACHINE, NR
from uringfs.cli.program import FAILED, RunError

PR_SET_NO_NEW_PRIVS = 38
_FLAGS = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV


def program(machine: str) -> list[bytes]:
    """The filter. io_uring of a 32-bit program is not there."""

    def step(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
        return abi.SOCK_FILTER.pack(code, yes, no, k)

    return [
        step(abi.BPF_LD_W_ABS, abi.DATA_NR),
        step(abi.BPF_JMP_JGE_K, abi.NR_IO_URING_SETUP, no=1),
        step(abi.BPF_JMP_JGT_K, abi.NR_IO_URING_REGISTER, no=1),
        step(abi.BPF_RET_K, abi.SECCOMP_RET_ALLOW),
        step(abi.BPF_LD_W_ABS, abi.DATA_ARCH),
        step(abi.BPF_JMP_JEQ_K, abi.AUDIT_ARCH[machine], no=1),
        step(abi.BPF_RET_K, abi.SECCOMP_RET_USER_NOTIF),
        step(abi.BPF_RET_K, abi.SECCOMP_RET_ERRNO | errno.ENOSYS),
    ]


def install(flags: int = _FLAGS) -> int:
    """The filter, for this process and all that come of it; its listener. RunError."""

    def seccomp(steps: Sequence[bytes]) -> int:
        code = ctypes.create_string_buffer(b"".join(steps))
        fprog = struct.pack("@HP", len(steps), ctypes.addressof(code))  # struct sock_fprog
        operation = abi.SECCOMP_SET_MODE_FILTER
        return int(libc.syscall(NR["seccomp"], operation, flags, fprog))

    steps = program(MACHINE)
    listener = seccomp(steps)
    if listener < 0 and ctypes.get_errno() == errno.EACCES:  # not privileged: then only with no_new_privs
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        listener = seccomp(steps)
    if listener >= 0:
        return listener
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        raise RunError(FAILED, "this process has a seccomp listener already: one supervisor is all there can be")
    hint = ": --mode trap may do" if code == errno.EINVAL else ""
    raise RunError(FAILED, f"this machine refuses a seccomp filter with a listener: {os.strerror(code)}{hint}")


def supervise(mount: str, *, trace: bool = False) -> None:
    """Have the daemon of that mount answer io_uring's system calls of this process from now on. RunError."""
    from uringfs import client  # the extension module: not needed to say that something else is missing

    listener = install()
    try:
        client.hand_over(mount, listener, 2 if trace else -1)
    except OSError as error:
        raise RunError(FAILED, f"{mount}: the daemon does not take a listener: {error.strerror}") from error
    finally:
        os.close(listener)
    _check()


def _check() -> None:
    """A stricter filter, as containers have one, answers before ours."""
    answer = libc.syscall(abi.NR_IO_URING_ENTER, -1, 0, 0, 0, None, ctypes.c_size_t(abi.PROBE_ARG))
    if answer != abi.PROBE_ANSWER:
        name = os.strerror(ctypes.get_errno())
        raise RunError(FAILED, f"another seccomp filter here refuses io_uring first ({name}): use --mode trap")
