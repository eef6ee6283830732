"""Every subcommand with any of the descriptors 0, 1 and 2 closed, or with nobody who reads what it prints.

mount, run and listen, which go on, are in test_start.py."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import assert_serves
from tests.support.mounting import DEADLINE, URINGFS, Mount, open_directory
from uringfs import cli
from uringfs.client import Ring

CLOSED = [closed for size in range(1, 4) for closed in itertools.combinations((0, 1, 2), size)]
LISTING = {  # what prints something, and ends by itself
    "status": ("status", "{mount}"),
    "status --json": ("status", "--json", "{mount}"),
    "doctor": ("doctor",),
    "doctor --json": ("doctor", "--json"),
    "ls": ("ls", "{mount}"),
    "ls --json": ("ls", "--json", "{mount}"),
    "show": ("show", "--mount", "{mount}", "{ring}"),
    "top": ("top", "--json", "--delay", "0.1", "{mount}"),
    "inject --list": ("inject", "--mount", "{mount}", "--list"),
    "config": ("config",),
    "explore": ("explore", "--runs", "2", "--jobs", "1", "--", "true"),
    "opcodes": ("opcodes",),
}
OTHERS = {  # what prints nothing, and succeeds
    "inject": ("inject", "--mount", "{mount}", "--remove", "all"),
    "umount": ("umount", "{tmp}/mounted"),
    "record": ("record", "-o", "{tmp}/made", "--", "true"),
    "replay": ("replay", "{tmp}/recording"),
}
FAILING = {  # what says on the standard error output what is wrong: its exit status
    "trace": (1, ("trace", "--mount", "{tmp}", "--all")),
    "nri": (125, ("nri", "--nri-socket", "{tmp}/none")),
    "mount": (2, ("mount",)),
}


class Place:
    """A mount with one ring, and a directory."""

    def __init__(self, mount: Mount, tmp: Path, ring: Ring) -> None:
        self._words = {"mount": mount.path, "tmp": tmp, "ring": f"/proc/{os.getpid()}/fd/{ring.fd}"}
        self.tmp = tmp

    def run(
        self, words: tuple[str, ...], closed: tuple[int, ...], **streams: object
    ) -> "subprocess.CompletedProcess[str]":
        script = 'exec "$@" ' + " ".join(f"{fd}>&-" for fd in closed)
        command = [*URINGFS, *(word.format(**self._words) for word in words)]
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            ["sh", "-c", script, "sh", *command], text=True, timeout=DEADLINE, cwd=self.tmp, **given
        )


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with open_directory() as home:
        (home / "tmp").mkdir()
        (home / "mnt").mkdir()
        with Mount(home / "mnt") as mount, Ring(mount / "new", 4) as ring:
            made = Place(mount, home / "tmp", ring)
            assert made.run(("record", "-o", "{tmp}/recording", "--", "true"), ()).returncode == 0
            yield made
            assert_serves(mount.path)


@pytest.mark.parametrize("closed", CLOSED, ids=str)
@pytest.mark.parametrize("name", LISTING)
def test_what_lists(place: Place, name: str, closed: tuple[int, ...]) -> None:
    """1 where what it prints cannot be written, which it says where it can."""
    done = place.run(LISTING[name], closed)
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if 1 in closed else 0), done.stderr
    assert bool(done.stdout) is (1 not in closed)
    if 2 not in closed:
        assert ("standard output: " in done.stderr) is (1 in closed), done.stderr


@pytest.mark.parametrize("name", LISTING)
def test_nobody_reads_what_it_lists(place: Place, name: str) -> None:
    """As of `| head -0`: 141, and not a word about it."""
    receive, send = os.pipe()
    os.close(receive)
    try:
        done = place.run(LISTING[name], (), stdout=send)
    finally:
        os.close(send)
    assert done.returncode == 141, done.stderr
    assert "Traceback" not in done.stderr
    assert "standard output" not in done.stderr


@pytest.mark.parametrize("closed", CLOSED, ids=str)
@pytest.mark.parametrize("name", OTHERS)
def test_what_prints_nothing(place: Place, name: str, closed: tuple[int, ...]) -> None:
    if name == "umount":
        (place.tmp / "mounted").mkdir(exist_ok=True)
        assert place.run(("mount", "{tmp}/mounted", "--daemon", "--log-file", "{tmp}/log"), ()).returncode == 0
    done = place.run(OTHERS[name], closed)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("closed", CLOSED, ids=str)
@pytest.mark.parametrize("name", FAILING)
def test_what_fails(place: Place, name: str, closed: tuple[int, ...]) -> None:
    status, words = FAILING[name]
    done = place.run(words, closed)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) is (2 not in closed)


def test_none_is_left_out() -> None:
    tried = {
        words[0] for words in (*LISTING.values(), *OTHERS.values(), *(words for _, words in FAILING.values()))
    }
    assert tried | {"mount", "run", "listen"} == {name for name, *_ in cli.COMMANDS}
