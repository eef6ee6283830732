"""Processes by number: names, as /proc says; they are no secret, for ps(1) shows them to all."""

from contextlib import suppress


def comm(tid: int) -> bytes:
    """b"" of one that is gone."""
    with suppress(OSError), open(f"/proc/{tid}/comm", "rb", 0) as file:
        return file.read(16).rstrip(b"\n")
    return b""
