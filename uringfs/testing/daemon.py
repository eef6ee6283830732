"""A daemon for a session of tests. It goes with the process that has started it, however that ends."""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE = 30.0
"""Seconds until it serves, and until it has ended."""
PR_SET_PDEATHSIG = 1


class MountError(Exception):
    """The file system could not be mounted: what the daemon says."""


class Daemon:
    """Serving once made. path: where."""

    def __init__(self, *options: str) -> None:
        """options: of `uringfs mount`. MountError."""
        self._directory = Path(tempfile.mkdtemp(prefix="uringfs-pytest-"))
        self._directory.chmod(0o755)  # programs may run as other users
        self.path = self._directory / "mnt"
        self.path.mkdir()
        self._log = self._directory / "log"
        try:
            self._process = self._start(options)
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    def _start(self, options: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        allow = ("-o", "allow_other") if os.geteuid() == 0 else ()
        command = [sys.executable, "-m", "uringfs", "mount", str(self.path), *allow, *options]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, open(self._log, "wb") as log:
            sock.bind("")  # an abstract name: a path below TMPDIR may be too long for one
            ready = f"@{sock.getsockname()[1:].decode()}"
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={**os.environ, "NOTIFY_SOCKET": ready},
                preexec_fn=_end_with_the_thread_that_starts_it,
            )
            self._await(process, sock)
        return process

    def _await(self, process: "subprocess.Popen[bytes]", sock: socket.socket) -> None:
        ended = os.pidfd_open(process.pid)
        try:
            fds = [sock.fileno(), ended]
            if sock.fileno() in select.select(fds, [], [], PATIENCE)[0] and b"READY=1" in sock.recv(4096):
                return
        finally:
            os.close(ended)
        process.kill()
        process.wait()
        raise MountError(self.log().strip() or "the daemon ended without a word")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> str:
        """Unmounts. What its log complains of, "" for nothing."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        bad = [line for line in self.log().splitlines() if " ERROR " in line or "Traceback" in line]
        shutil.rmtree(self._directory, ignore_errors=True)
        return "\n".join(bad)


def _end_with_the_thread_that_starts_it() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
