"""Programs, each in a process group, directory and network of its own, with a timeout; two at a time."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import NamedTuple

WORKERS = 2
TIMEOUT = 90.0  # on an idle machine none takes 20 s
KILL_TIMEOUT = 15.0  # who is not gone this long after SIGKILL waits for something that does not come
SKIPPED = 77  # T_EXIT_SKIP, liburing's test/helpers.h
CONFINE = (sys.executable, "-S", str(Path(__file__).with_name("confine.py")))


class Outcome(Enum):
    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    TIMEOUT = "timeout"


class Run(NamedTuple):
    """How one program went."""

    outcome: Outcome
    seconds: float
    status: int
    """As waitstatus_to_exitcode."""
    output: str
    """The end of what it wrote to both outputs."""


def run(
    program: Path, env: dict[bytes, bytes], *options: str, timeout: float = TIMEOUT, prefix: Sequence[str] = ()
) -> Run:
    """options: of confine. prefix: what to run that by. AssertionError if it cannot be killed."""
    with (
        tempfile.TemporaryDirectory(prefix="uringfs-liburing-", ignore_cleanup_errors=True) as directory,
        tempfile.TemporaryFile() as output,
    ):
        os.chmod(directory, 0o777)
        start = time.monotonic()
        process = subprocess.Popen(
            [*prefix, "env", f"--chdir={directory}", *CONFINE, *options, program],
            cwd=directory,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(timeout)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        with contextlib.suppress(ProcessLookupError):  # also what it left behind
            os.killpg(process.pid, signal.SIGKILL)
        try:
            status = process.wait(KILL_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{program.name} survives SIGKILL") from None
        seconds = time.monotonic() - start
        output.seek(max(0, output.seek(0, os.SEEK_END) - 2000))
        text = output.read().decode(errors="replace")
    outcome = {0: Outcome.PASS, SKIPPED: Outcome.SKIP}.get(status, Outcome.FAIL)
    return Run(Outcome.TIMEOUT if late else outcome, seconds, status, text)


def run_all(
    programs: Iterable[Path],
    env: dict[bytes, bytes],
    *options: str,
    timeout: Callable[[str], float] = lambda name: TIMEOUT,
    after: Callable[[str], None] = lambda name: None,
    prefix: Sequence[str] = (),
) -> dict[str, Run]:
    """name -> its run. timeout(name): seconds. after(name) is called behind each; what it raises ends them all."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    def one(program: Path) -> tuple[str, Run]:
        done = run(program, env, *options, timeout=timeout(program.stem), prefix=prefix)
        after(program.stem)
        return program.stem, done

    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            return dict(pool.map(one, programs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
