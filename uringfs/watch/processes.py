"""Processes by number: names and ancestors, as /proc says; nothing in it is secret, for ps(1) shows it to all."""

from contextlib import suppress


def comm(tid: int) -> bytes:
    """b'' of one that is gone."""
    with suppress(OSError), open(f"/proc/{tid}/comm", "rb", 0) as file:
        return file.read(16).rstrip(b"\n")
    return b""


def parent(pid: int) -> int:
    """0 of one that is gone."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/stat", "rb", 0) as file:
        return int(file.read(4096).rpartition(b")")[2].split()[1])
    return 0


def ancestors(pid: int) -> list[int]:
    """The nearest first."""
    found: list[int] = []
    while (pid := parent(pid)) > 0 and pid not in found:
        found.append(pid)
    return found
