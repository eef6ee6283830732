"""Programs that know nothing of uringfs: on the kernel, and the same under `uringfs run`, call by call."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.support.mounting import Mount
from uringfs.cli.run import Switch, environment, library

TIMEOUT = 60.0  # seconds
SIDES = ("kernel", "ours")
CALL = re.compile(r"^\[\d+\] io_uring_(setup|enter|register)\(.*\) = (-?\d+)$", re.MULTILINE)

Environment = dict[bytes, bytes]


class Calls(NamedTuple):
    """How many calls of each of these system calls succeeded."""

    setup: int
    enter: int
    register: int

    @classmethod
    def traced(cls, text: str) -> "Calls":
        done = [name for name, result in CALL.findall(text) if int(result) >= 0]
        return cls(*map(done.count, cls._fields))


def on_the_kernel() -> Environment:
    return dict(os.environb)


def on(mount: Mount) -> Environment:
    """As `uringfs run --mount DIR --trace` starts a program."""
    return environment(str(mount.path), library(), {Switch.TRACE})


def output(command: tuple[object, ...], directory: Path, env: Environment) -> tuple[str, Calls]:
    """What a program prints that succeeds in that directory, which is made; and its calls, if they are traced."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return done.stdout, Calls.traced(done.stderr)


class Both(NamedTuple):
    """What a program said on either."""

    kernel: str
    ours: str
    calls: Calls
    """The calls of the program's run on uringfs."""


def both(mount: Mount, tmp_path: Path, *command: object, env: Mapping[bytes, bytes] | None = None) -> Both:
    """In tmp_path/kernel, then in tmp_path/ours; env comes on top."""
    kernel, none = output(command, tmp_path / "kernel", {**on_the_kernel(), **(env or {})})
    ours, calls = output(command, tmp_path / "ours", {**on(mount), **(env or {})})
    assert none == Calls(0, 0, 0), "else the kernel is compared with nothing"
    assert calls.setup > 0, "else the kernel is compared with itself"
    mount.assert_clean_log()
    return Both(kernel, ours, calls)
