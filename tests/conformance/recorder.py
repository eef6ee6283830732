"""Records what this machine's kernel does in the behaviours of the conformance suite.

    make record                             anew, all families; says which behaviours changed
    make record RECORD_ARGS=--check         only says so: 1 if any changed
    make record RECORD_ARGS="nop links"     these families only

Each behaviour runs several times, alone and among others, with /tmp as it is and on a tmpfs, and is recorded if
its trace is always the same. What this kernel has not got is recorded of uringfs, and marked as such."""

import argparse
import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import record
from tests.support.conformance import BEHAVIOURS, FAMILIES, PASSED, SKIPPED, SOURCES, Done, build, report, run
from tests.support.mounting import Mount, open_directory
from tests.support.oracle import kernel_has_io_uring
from tests.support.record import Family, Recorded, Surroundings

ROUNDS = (1, 4, 8, 1)
"""How many at a time."""
CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 1 << 18

Behaviour = tuple[str, str]


class NoTraceError(Exception):
    """A behaviour fails, or shows now this trace, now that: it must expect what is right, not note what varies."""


def on_tmpfs(directory: Path) -> None:
    """Mount a tmpfs on /tmp, for this process alone. In it is nothing but this directory, empty."""
    libc = ctypes.CDLL(None, use_errno=True)
    private = libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC_PRIVATE, None)
    if private or libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    directory.mkdir(exist_ok=True)
    directory.chmod(0o1777)


Run = Callable[[Behaviour], Done]


def observe(once: Run, wanted: list[Behaviour]) -> dict[Behaviour, list[Done]]:
    """Run behaviours repeatedly: the different ends of each."""
    seen: dict[Behaviour, dict[tuple[int, str], Done]] = {behaviour: {} for behaviour in wanted}

    def add(behaviour: Behaviour) -> None:
        done = once(behaviour)
        seen[behaviour][done.returncode, done.stdout] = done

    for at_a_time in ROUNDS:
        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(add, wanted))
    return {behaviour: list(ends.values()) for behaviour, ends in seen.items()}


def trace(behaviour: Behaviour, ends: list[Done], where: str) -> str:
    """The one trace that a behaviour has shown. NoTraceError if it failed, or has shown several."""
    if len(ends) > 1 or ends[0].returncode != PASSED:
        raise NoTraceError("\n".join([" ".join(behaviour), *(report(where, done) for done in ends)]))
    return ends[0].stdout


def is_absent(ends: list[Done]) -> bool:
    """The kernel has not got it, whatever the surroundings."""
    return all(done.returncode == SKIPPED and not record.skipped(done) for done in ends)


class Recorder:
    """Runs behaviours on the kernel, /tmp as it is and on a tmpfs. What the kernel has not got, on uringfs."""

    def __init__(self, out: Path, wanted: list[Behaviour]) -> None:
        def on_the_kernel(behaviour: Behaviour) -> Done:
            return run(out / behaviour[0], behaviour[1], None)

        def with_tmpfs(behaviour: Behaviour) -> Done:
            return run(out / behaviour[0], behaviour[1], None, preexec=on_tmpfs)

        self._here = observe(on_the_kernel, wanted)
        absent = [behaviour for behaviour, ends in self._here.items() if is_absent(ends)]
        self._tmpfs = observe(with_tmpfs, [behaviour for behaviour in wanted if behaviour not in absent])
        self._ours: dict[Behaviour, list[Done]] = {}
        if absent:
            with open_directory() as directory, Mount(directory / "mnt", "-o", "allow_other") as mount:
                self._ours = observe(lambda one: run(out / one[0], one[1], mount.path), absent)

    def recorded(self, behaviour: Behaviour) -> Recorded:
        """What the record is to say. NoTraceError."""
        here = self._here[behaviour]
        if behaviour in self._ours:
            absent = here[0].stderr.removeprefix("skipped: ").strip()
            return Recorded(trace(behaviour, self._ours[behaviour], "uringfs"), absent=absent)
        seen = trace(behaviour, here, "the kernel")
        there = trace(behaviour, self._tmpfs[behaviour], "the kernel, /tmp on tmpfs")
        return Recorded(seen, {"tmpfs": there} if there != seen else {})


def anew(out: Path, families: Iterable[str]) -> tuple[dict[str, Family], list[str]]:
    """The record of these families, and what could not be recorded."""
    wanted = [behaviour for behaviour in BEHAVIOURS if behaviour[0] in families]
    recorder = Recorder(out, wanted)
    made: dict[str, Family] = {family: {} for family in families}
    refused = []
    for behaviour in wanted:
        try:
            made[behaviour[0]][behaviour[1]] = recorder.recorded(behaviour)
        except NoTraceError as error:
            refused.append(str(error))
    return made, refused


def changes(old: dict[str, Family], new: dict[str, Family]) -> list[str]:
    """The behaviours whose record is another now, each with how; not those that could not be recorded."""
    found = []
    for family, behaviours in new.items():
        before = old[family]
        for name in dict.fromkeys([*before, *behaviours]):
            if name not in FAMILIES[family]:
                found.append(f"{family} {name}: no such behaviour any more")
            elif name not in before:
                found.append(f"{family} {name}: new")
            elif name in behaviours and before[name] != behaviours[name]:
                texts = ["\n".join(record.body(name, each[name])) for each in (before, behaviours)]
                found.append("\n".join([f"{family} {name}: changed", *record.diff(*texts)]))
    return found


def save(made: dict[str, Family], here: Surroundings) -> None:
    record.DIRECTORY.mkdir(exist_ok=True)
    for family, behaviours in made.items():
        record.path(family).write_text(record.write(family, behaviours))
    for stale in record.DIRECTORY.glob("*.txt"):
        if stale.stem not in FAMILIES:
            stale.unlink()
    record.MADE_OF.write_text(f"{here.kernel} {here.machine} {here.filesystem} tmpfs\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing: 1 if a behaviour changed")
    parser.add_argument("families", nargs="*", help="default: all", metavar="FAMILY")
    args = parser.parse_args()
    families, here = args.families or list(FAMILIES), Surroundings.here()
    if unknown := set(families) - set(FAMILIES):
        parser.error(f"no such family: {', '.join(sorted(unknown))}")
    if os.geteuid() or here.seed or here.filesystem == "tmpfs" or not kernel_has_io_uring():
        parser.error("takes root, a kernel with io_uring, /tmp on another filesystem than tmpfs, no SEED")
    if SOURCES.is_relative_to("/tmp"):
        parser.error("takes a checkout that is not below /tmp, which is to be another filesystem")
    return make(families, here, check=args.check)


def make(families: list[str], here: Surroundings, *, check: bool) -> int:
    old, of_this_kernel = record.read(), record.MADE_OF.exists() and record.made_of()[0] == here
    made, refused = anew(build(), families)
    if not (check or of_this_kernel or set(families) == set(FAMILIES)):
        refused.append("another kernel's record is made of all families at once")
    found = changes(old, made)
    print(*found, sep="\n")
    print(f"{here}: of {sum(map(len, made.values()))} behaviours {len(found)} changed")
    if refused:
        print("not recorded:", *refused, sep="\n", file=sys.stderr)
        return 2
    if not check:
        save(made, here)
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
