"""`uringfs top` in a real terminal, by tmux(1): what the screen shows, and what keys do."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from tests.support.mounting import URINGFS, Mount, until
from uringfs.client import Ring, prep


class Terminal:
    """A command in a tmux server of its own, which ends with it."""

    def __init__(self, directory: str, command: str) -> None:
        self._tmux = ["tmux", "-u", "-f", "/dev/null", "-S", f"{directory}/socket"]
        self.run("new-session", "-d", "-x", "250", "-y", "30", command)

    def run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True, timeout=60).stdout

    def screen(self) -> str:
        return self.run("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self.run("send-keys", *keys)

    def sees(self, *texts: str) -> None:
        until(lambda: all(text in self.screen() for text in texts), lambda: f"{texts} on\n{self.screen()}")

    def misses(self, text: str) -> None:
        until(lambda: text not in self.screen(), f"a screen without {text}")


@pytest.fixture
def terminal(mount: Mount) -> Iterator[Terminal]:
    # Sizes that pytest has been told are not those of the terminal.
    sizes = ["env", "-u", "COLUMNS", "-u", "LINES"]
    top = shlex.join([*sizes, *URINGFS, "top", "-d", "0.2", str(mount.path)])
    with tempfile.TemporaryDirectory(prefix="uringfs-tmux-") as directory:
        terminal = Terminal(directory, f"{top}; echo left with $?; exec cat")
        yield terminal
        terminal.run("kill-server")


def place(terminal: Terminal, text: str) -> int:
    """The number of the line with that text; -1: there is none."""
    return next((number for number, line in enumerate(terminal.screen().splitlines()) if text in line), -1)


def busy(ring: Ring) -> bool:
    """True, and a request is complete."""
    ring.queue(prep.nop())
    ring.submit(wait=1)
    return bool(ring.reap())


def test_the_screen_and_its_keys(mount: Mount, terminal: Terminal) -> None:
    read, write = os.pipe()
    with Ring(mount / "first", 4) as first, Ring(mount / "second", 4) as second:
        second.queue(prep.read(read, bytearray(1), user_data=0x2A))
        second.submit()
        terminal.sees("uringfs top", "2 of 2 rings, by ops/s", "/first", "/second")
        until(
            lambda: busy(first) and 0 <= place(terminal, "/first") < place(terminal, "/second"),
            "the busy one on top",
        )
        terminal.press("s")
        terminal.sees("by in flight")
        until(
            lambda: 0 <= place(terminal, "/second") < place(terminal, "/first"), "the ring with a request on top"
        )
        terminal.press("/")
        terminal.misses("q quit")  # keys are the filter's
        terminal.press("-l", "second")
        terminal.sees("1 of 2 rings")
        terminal.misses("/first")
        terminal.press("Enter")
        terminal.sees("show")  # Enter is the table's again
        terminal.press("Enter")
        terminal.sees("requests under way", "READ", "USER_DATA")
        terminal.press("/")  # there is nothing to filter
        terminal.press("s")
        terminal.press("q")
        terminal.sees("uringfs top", "1 of 2 rings, by in flight")
        terminal.press("q")
        terminal.sees("left with 0")
        os.close(write)
        os.close(read)
