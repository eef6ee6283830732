"""What a service manager hears of us, by sd_notify(3) and in the journal, and what it gives us: a socket."""

import logging
import os
import socket
import time
from contextlib import suppress

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))  # syslog(3)
LISTEN_FDS_START = 3  # SD_LISTEN_FDS_START


def notify(*state: str) -> None:
    """Send the assignments (READY=1 ...) to $NOTIFY_SOCKET. Without one, or one that is gone, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.sendto("\n".join(state).encode(), address)


def given_socket() -> socket.socket | None:
    """The listening socket that a socket unit has bound for this process (sd_listen_fds(3)), or None."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    os.set_inheritable(LISTEN_FDS_START, False)
    return socket.socket(fileno=LISTEN_FDS_START)


def reloading() -> None:
    """Before READY=1 again."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def to_journal() -> bool:
    """The standard error output is the journal's."""
    status = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalFormatter(logging.Formatter):
    """`<priority>` first (sd-daemon(3)); the time is the journal's."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return f"<{priority}>{super().format(record)}"
