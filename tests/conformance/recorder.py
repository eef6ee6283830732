"""Records what this machine's kernel does in the behaviours of the conformance suite.

    make record                             anew, all families; says which behaviours changed
    make record RECORD_ARGS=--check         only says so: 1 if any changed
    make record RECORD_ARGS="nop links"     these families only

Each behaviour runs several times, alone and among others, with /tmp as it is and on a tmpfs. One whose trace is
not always the same must stand in RACES, with the reason for which each of its traces is right. What this kernel
has not got is recorded of uringfs, and marked as such."""

import argparse
import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import record
from tests.support.conformance import BEHAVIOURS, FAMILIES, PASSED, SKIPPED, Done, build, report, run
from tests.support.mounting import Mount, open_directory
from tests.support.oracle import kernel_has_io_uring
from tests.support.record import Family, Recorded, Surroundings

RACES: dict[tuple[str, str], str] = {}
"""Why the kernel does now this, now that, and both are right."""
ROUNDS = (1, 4, 8, 1)
"""How many at a time."""
RACING_ROUNDS = 25
"""Times as many for a race."""
CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 1 << 18

Behaviour = tuple[str, str]


class UnsteadyError(Exception):
    """Traces that may not be recorded."""


def on_tmpfs() -> None:
    """/tmp is an empty tmpfs, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    private = libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC_PRIVATE, None)
    if private or libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


Run = Callable[[Behaviour], Done]


def observe(once: Run, wanted: list[Behaviour]) -> dict[Behaviour, list[Done]]:
    """The different ends of each behaviour, in an order that is always the same."""
    seen: dict[Behaviour, dict[tuple[int, str], Done]] = {behaviour: {} for behaviour in wanted}

    def add(behaviour: Behaviour) -> None:
        done = once(behaviour)
        seen[behaviour][done.returncode, done.stdout] = done

    for at_a_time in ROUNDS:
        repeated = [one for one in wanted for _ in range(RACING_ROUNDS if one in RACES else 1)]
        with ThreadPoolExecutor(at_a_time) as pool:
            list(pool.map(add, repeated))
    return {behaviour: [ends[key] for key in sorted(ends)] for behaviour, ends in seen.items()}


def traces(behaviour: Behaviour, ends: list[Done], where: str) -> list[str]:
    """UnsteadyError if they may not be recorded."""
    bad = [done for done in ends if done.returncode != PASSED]
    if bad or (len(ends) > 1 and behaviour not in RACES):
        raise UnsteadyError("\n".join([" ".join(behaviour), *(report(where, done) for done in bad or ends)]))
    return [done.stdout for done in ends]


def is_absent(ends: list[Done]) -> bool:
    """The kernel has not got it, whatever the surroundings."""
    return all(done.returncode == SKIPPED and not record.skipped(done) for done in ends)


class Recorder:
    """Of some behaviours."""

    def __init__(self, out: Path, wanted: list[Behaviour]) -> None:
        def on_the_kernel(behaviour: Behaviour) -> Done:
            return run(out / behaviour[0], behaviour[1], None)

        def with_tmpfs(behaviour: Behaviour) -> Done:
            return run(out / behaviour[0], behaviour[1], None, preexec=on_tmpfs)

        def on_uringfs(behaviour: Behaviour) -> Done:
            return run(out / behaviour[0], behaviour[1], mount.path)

        self._here = observe(on_the_kernel, wanted)
        absent = [behaviour for behaviour, ends in self._here.items() if is_absent(ends)]
        self._tmpfs = observe(with_tmpfs, [behaviour for behaviour in wanted if behaviour not in absent])
        with open_directory() as directory, Mount(directory / "mnt", "-o", "allow_other") as mount:
            self._ours = observe(on_uringfs, absent)

    def recorded(self, behaviour: Behaviour) -> Recorded:
        here = self._here[behaviour]
        if behaviour in self._ours:
            absent = here[0].stderr.removeprefix("skipped: ").strip()
            return Recorded(traces(behaviour, self._ours[behaviour], "uringfs"), absent=absent)
        seen = traces(behaviour, here, "the kernel")
        there = traces(behaviour, self._tmpfs[behaviour], "the kernel, /tmp on tmpfs")
        return Recorded(seen, {"tmpfs": there} if there != seen else {}, RACES.get(behaviour, ""))


def anew(out: Path, families: Iterable[str]) -> tuple[dict[str, Family], list[str]]:
    """The record of these families, and what could not be recorded."""
    wanted = [behaviour for behaviour in BEHAVIOURS if behaviour[0] in families]
    recorder = Recorder(out, wanted)
    made: dict[str, Family] = {family: {} for family in families}
    unsteady = []
    for behaviour in wanted:
        try:
            made[behaviour[0]][behaviour[1]] = recorder.recorded(behaviour)
        except UnsteadyError as error:
            unsteady.append(str(error))
    return made, unsteady


def keep_rare(old: dict[str, Family], new: dict[str, Family]) -> None:
    """Of a race, what the same kernel was seen to do before it may do again."""
    for family, name in RACES:
        before, now = old[family].get(name), new.get(family, {}).get(name)
        if before and now:
            now.traces = sorted({*before.traces, *now.traces})
            now.on = {kind: sorted({*before.on.get(kind, ()), *each}) for kind, each in now.on.items()}


def changes(old: dict[str, Family], new: dict[str, Family]) -> list[str]:
    """The behaviours whose record is another now, each with how."""
    found = []
    for family, behaviours in new.items():
        before = old[family]
        for name in dict.fromkeys([*before, *behaviours]):
            if name not in behaviours:
                found.append(f"{family} {name}: no such behaviour any more")
            elif name not in before:
                found.append(f"{family} {name}: new")
            elif before[name] != behaviours[name]:
                found.append(f"{family} {name}: changed\n{_difference(before[name], behaviours[name])}")
    return found


def _difference(old: Recorded, new: Recorded) -> str:
    texts = [record.write("", {"": one}) for one in (old, new)]
    return "\n".join(record.diff(*texts))


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
    return make(families, here, check=args.check)


def make(families: list[str], here: Surroundings, *, check: bool) -> int:
    old, same_kernel = record.read(), record.MADE_OF.exists() and record.made_of()[0] == here
    made, unsteady = anew(build(), families)
    if same_kernel:
        keep_rare(old, made)
    elif not check and set(families) != set(FAMILIES):
        unsteady.append("another kernel's record is made of all families at once")
    found = changes(old, made)
    print(*found, sep="\n")
    print(f"{here}: of {sum(map(len, made.values()))} behaviours {len(found)} changed")
    if unsteady:
        print("not recorded:", *unsteady, sep="\n", file=sys.stderr)
        return 2
    if not check:
        save(made, here)
    return int(check and bool(found))


if __name__ == "__main__":
    sys.exit(main())
