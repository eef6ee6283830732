"""How a program can be run: what is to be executed decides, before anything starts."""

import os
import shutil
import stat
from typing import BinaryIO, NamedTuple

from uringfs.abi.machine import MACHINE
from uringfs.cli.elf import Elf

# As env(1): own failure, found but cannot be run, not found
FAILED, CANNOT_EXECUTE, NOT_FOUND = 125, 126, 127

VALGRIND = frozenset(("valgrind", "valgrind.bin"))
_MACHINES = {"x86_64": 62, "aarch64": 183}
_MAX_SCRIPTS = 4


class RunError(Exception):
    """A reason not to run: the exit status and one line that says what to do."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


class Reason(NamedTuple):
    """Why a program is not for trap."""

    line: str
    certain: bool = True
    """True if the program cannot be helped at all; False if it goes wrong now and then."""


def find(name: str) -> str:
    """The path of a program, which is looked for along PATH as execvp(3) does. RunError."""
    path = shutil.which(name)
    if path is not None:
        return path
    if "/" in name and os.path.exists(name):
        raise RunError(CANNOT_EXECUTE, f"{name}: Permission denied")
    raise RunError(NOT_FOUND, f"{name}: not found")


def mode(path: str, asked: str) -> str:
    """trap or notify; asked: auto for the former where it goes well. RunError if it cannot be run so. What
    cannot be read is left to execve(2)."""
    machine = MACHINE
    if machine not in _MACHINES:
        raise RunError(FAILED, f"this machine is {machine}: programs can be run on x86-64 and aarch64")
    if not _has_seccomp():
        raise RunError(FAILED, "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)")
    reason = _why_not_trap(path, _MACHINES[machine], _MAX_SCRIPTS)
    if reason is not None and reason.certain and asked == "trap":
        raise RunError(FAILED, f"{reason.line}: nothing can be preloaded into it: --mode notify")
    return ("notify" if reason else "trap") if asked == "auto" else asked


def _has_seccomp() -> bool:
    with open("/proc/self/status") as status:
        return any(line.startswith("Seccomp:") for line in status)


def _why_not_trap(path: str, machine: int, scripts: int) -> Reason | None:
    """What keeps the program, or its script's interpreter, from the trap; None if nothing does. RunError."""
    if os.path.basename(os.path.realpath(path)) in VALGRIND:
        return Reason(f"{path} has a processor of its own, to which no SIGSYS comes", certain=False)
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            if head[:2] == b"#!" and scripts:
                words = head[2:].split(b"\n", 1)[0].split()
                return _why_not_trap(os.fsdecode(words[0]), machine, scripts - 1) if words else None
            return _of_elf(path, file, machine)
    except (OSError, ValueError):
        return None


def _of_elf(path: str, file: BinaryIO, machine: int) -> Reason | None:
    elf = Elf(file)
    _check_class(path, elf, machine)
    changes = _changes_ids(path, os.fstat(file.fileno()))
    if elf.is_static():
        return Reason(f"{path} is statically linked")
    if changes:
        return Reason(f"{path} is setuid or setgid")
    if elf.is_go():
        return Reason(f"{path} is a Go program, whose runtime handles signals itself", certain=False)
    if b"\0libasan.so" in elf.strings():
        return Reason(f"{path} has an AddressSanitizer that must be the first library", certain=False)
    return None


def _changes_ids(path: str, rights: os.stat_result) -> bool:
    """An exec of it changes the user or group, and then takes no LD_PRELOAD (AT_SECURE). RunError: not for us,
    who need no_new_privs for a filter."""
    group = rights.st_mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP
    if not rights.st_mode & stat.S_ISUID and not group:
        return False
    if os.geteuid() != 0:
        raise RunError(FAILED, f"{path} is setuid or setgid: only root can run it so")
    return bool(rights.st_mode & stat.S_ISUID and rights.st_uid) or (group and rights.st_gid != os.getegid())


def _check_class(path: str, elf: Elf, machine: int) -> None:
    if not elf.is_64bit:
        raise RunError(FAILED, f"{path} is a 32-bit program: only 64-bit ones can be run")
    if elf.machine != machine:
        raise RunError(FAILED, f"{path} is for another machine: only {MACHINE} programs can be run")
