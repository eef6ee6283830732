"""Calls in which a client's socket must not have the main thread wait, and the signal that sees to it."""

import socket
import struct
import subprocess
import sys
from pathlib import Path

HOUR = 3600
LINGERS = struct.pack("ii", 1, HOUR)
MANY = """
import os, signal
from uringfs import native
watch, pair = native.ExecWatch(os.getpid()), os.pipe()
for _ in range(2000):
    native.close_soon(os.dup(pair[0]))
    os.kill(os.getpid(), signal.SIGRTMAX - 1)
    assert not watch.ended()
"""


def test_a_close_that_would_wait_for_an_hour() -> None:
    """The deadline is the test's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with theirs:
        ours.setblocking(False)
        try:
            for _ in range(1000):
                ours.send(bytes(1 << 16))
        except BlockingIOError:
            pass
        ours.setblocking(True)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGERS)
        words = f"from uringfs import native; native.close_soon({ours.fileno()})"
        command = [sys.executable, "-c", words]
        process = subprocess.Popen(command, pass_fds=[ours.fileno()], cwd=Path(__file__).parents[3])
        ours.close()
        try:
            assert process.wait(30) == 0
        finally:
            theirs.close()
            process.kill()
            process.wait()


def test_its_signal_is_no_answer() -> None:
    """Neither to who sends it to us, nor to a look at what is ready."""
    done = subprocess.run([sys.executable, "-c", MANY], cwd=Path(__file__).parents[3], timeout=60)
    assert done.returncode == 0
