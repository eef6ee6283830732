"""The suite three times: io_uring refused, the kernel's, uringfs."""

import os
from collections.abc import Container, Sequence
from pathlib import Path

from tests.programs.liburing import source
from tests.programs.liburing.expected import EXPECTED, LEFT_OUT, UNSTEADY, of_version
from tests.programs.liburing.suite import TIMEOUT, Outcome, run, run_all
from tests.programs.liburing.verdicts import Line, lines
from tests.support.mounting import Mount
from uringfs.cli.run import Switch, environment, library

SOON = 10.0  # seconds beyond twice the kernel's, for what may fail, perhaps by hanging


def programs(names: Container[str] = ()) -> list[Path]:
    """The programs that are named, or without names those that are not left out."""
    found = source.programs()
    return [each for each in found if (each.stem in names if names else each.stem not in LEFT_OUT)]


def trial(
    some: list[Path], mount: Mount, *options: str, trace: bool = False, prefix: Sequence[str] = ()
) -> dict[str, Line]:
    """options: of confine; prefix: what to run that by; both on the kernel, too. An unsteady program that fails
    has a second try, alone. AssertionError if the daemon ends, or a program cannot be killed."""

    def serving(name: str) -> None:
        assert mount.process.poll() is None, f"the daemon ended while {name} ran: {mount.log()}"

    fails, races = (of_version(names, source.version()) for names in (EXPECTED, UNSTEADY))

    def timeout(name: str) -> float:
        return SOON + 2 * kernel[name].seconds if name in fails or name in races else TIMEOUT

    env = dict(os.environb)
    refused = run_all(some, env, *options, "--refuse", prefix=prefix)
    kernel = run_all(some, env, *options, prefix=prefix)
    env = environment(str(mount.path), library(), {Switch.TRACE} if trace else set())
    ours = run_all(some, env, *options, timeout=timeout, after=serving, prefix=prefix)
    for program in some:
        if program.stem in races and ours[program.stem].outcome is not Outcome.PASS:
            ours[program.stem] = run(program, env, *options, timeout=timeout(program.stem), prefix=prefix)
            serving(program.stem)
    return lines(refused, kernel, ours)
