"""How a program can be run: what is to be executed decides, before anything starts."""

import os
import shutil
import stat
from struct import Struct

from uringfs.abi.machine import MACHINE

# As env(1): own failure, found but cannot be run, not found
FAILED, CANNOT_EXECUTE, NOT_FOUND = 125, 126, 127

_EHDR = Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr
_EHDR_MACHINE, _EHDR_PHOFF, _EHDR_PHENTSIZE, _EHDR_PHNUM = 2, 5, 9, 10
_PT_INTERP = 3
_ELFCLASS64 = 2
_MACHINES = {"x86_64": 62, "aarch64": 183}
_MAX_SCRIPTS = 4


class RunError(Exception):
    """A reason not to run: the exit status and one line that says what to do."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def find(name: str) -> str:
    """By PATH, as execvp(3)."""
    path = shutil.which(name)
    if path is not None:
        return path
    if "/" in name and os.path.exists(name):
        raise RunError(CANNOT_EXECUTE, f"{name}: Permission denied")
    raise RunError(NOT_FOUND, f"{name}: not found")


def mode(path: str, asked: str) -> str:
    """trap or notify; asked: auto for the former where it can be. RunError if it cannot be run so. What
    cannot be read is left to execve(2)."""
    machine = MACHINE
    if machine not in _MACHINES:
        raise RunError(FAILED, f"this machine is {machine}: programs can be run on x86-64 and aarch64")
    if not _has_seccomp():
        raise RunError(FAILED, "this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)")
    static = _is_static(path, _MACHINES[machine], _MAX_SCRIPTS)
    if static and asked == "trap":
        raise RunError(FAILED, f"{static} is statically linked: nothing can be preloaded into it: --mode notify")
    return ("notify" if static else "trap") if asked == "auto" else asked


def _has_seccomp() -> bool:
    with open("/proc/self/status") as status:
        return any(line.startswith("Seccomp:") for line in status)


def _is_static(path: str, machine: int, scripts: int) -> str:
    """The path of the program, or of the script's interpreter, if it is statically linked. RunError."""
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
            rights = os.fstat(file.fileno())
            if head[:2] == b"#!" and scripts:
                words = head[2:].split(b"\n", 1)[0].split()
                return _is_static(os.fsdecode(words[0]), machine, scripts - 1) if words else ""
            if head[:4] != b"\x7fELF" or len(head) < _EHDR.size:
                return ""
            _check_class(path, head, machine)
            header = _EHDR.unpack_from(head)
            file.seek(header[_EHDR_PHOFF])
            segments = file.read(header[_EHDR_PHENTSIZE] * header[_EHDR_PHNUM])
    except OSError:
        return ""
    types = [
        int.from_bytes(segments[i : i + 4], "little") for i in range(0, len(segments), header[_EHDR_PHENTSIZE])
    ]
    if rights.st_mode & (stat.S_ISUID | stat.S_ISGID) and os.geteuid() != 0:
        raise RunError(FAILED, f"{path} is setuid or setgid: only root can run it so")
    return "" if _PT_INTERP in types else path


def _check_class(path: str, head: bytes, machine: int) -> None:
    if head[4] != _ELFCLASS64:
        raise RunError(FAILED, f"{path} is a 32-bit program: only 64-bit ones can be run")
    if _EHDR.unpack_from(head)[_EHDR_MACHINE] != machine:
        raise RunError(FAILED, f"{path} is for another machine: only {MACHINE} programs can be run")
