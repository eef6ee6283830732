"""The `uringfs` command as administrators use it, and what listens to its daemons."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.mounting import DEADLINE, URINGFS
from uringfs.client import Ring, nop

MOUNT = (*URINGFS, "mount")


def said(*command: str, **options: object) -> tuple[int, str]:
    """(exit status, both outputs) of a command that must end by itself, without a traceback."""
    given: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, timeout=DEADLINE, **(given | options))  # type: ignore[call-overload]
    assert "Traceback" not in (done.stdout or ""), done.stdout
    return done.returncode, done.stdout or ""


def assert_serves(directory: Path) -> None:
    with Ring(directory / "new", 4) as ring:
        ring.queue(nop(7))
        assert ring.submit(wait=1) == 1
        assert [cqe.user_data for cqe in ring.reap()] == [7]


def unmount(directory: Path) -> None:
    subprocess.run(["umount", str(directory)], check=True, timeout=DEADLINE)


@contextmanager
def receiver(path: Path | str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(DEADLINE)
        yield sock
