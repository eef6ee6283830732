"""Daemons with one fault each: the conformance suite has to find every one by its record, without the kernel.

    make mutants                                        all, in the families that can see them
    make mutants MUTANTS_ARGS="drain_ignored"           this one
    make mutants MUTANTS_ARGS="--all minus_one"         in all families: how many behaviours see it

A daemon without a fault passes the same first, at least alone. A behaviour counts that fails twice. 0: every fault
was found."""

import argparse
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.mutants.faults import FAULTS
from tests.support import record
from tests.support.conformance import BEHAVIOURS, FAMILIES, build, run
from tests.support.mounting import Mount, open_directory

DAEMON = Path(__file__).parent / "daemon.py"
AT_A_TIME = 6
PATIENCE = 240.0
"""Seconds. After them a daemon that hangs is killed, which lets its clients go."""

Behaviour = tuple[str, str]


class Found(NamedTuple):
    """How a fault fared in the families that were asked."""

    by: list[Behaviour]
    of: int
    daemon_ended: bool


@contextlib.contextmanager
def serving(fault: str) -> Iterator[Mount]:
    """A daemon with that fault, "" for none. It is always ended, by SIGKILL if it has to be."""
    with open_directory() as directory:
        command = ("env", f"URINGFS_FAULT={fault}")
        mount = Mount(directory / "mnt", "-o", "allow_other", command=command, script=DAEMON)
        patience = threading.Timer(PATIENCE, mount.process.kill)
        patience.start()
        try:
            assert not fault or f"fault: {fault}" in mount.log(), mount.log()
            yield mount
        finally:
            patience.cancel()
            with contextlib.suppress(subprocess.TimeoutExpired):
                mount.stop()


class Suite:
    """Runs behaviours on a mount and compares them with the record."""

    def __init__(self) -> None:
        self._out = build()
        self._record = record.read()
        self._filesystem = record.Surroundings.here().filesystem

    def fault(self, mount: Mount, behaviour: Behaviour) -> str:
        """What a behaviour does wrong on a mount; empty if nothing."""
        family, name = behaviour
        try:
            done = run(self._out / family, name, mount.path)
        except subprocess.TimeoutExpired as error:
            return str(error)
        if record.skipped(done):
            return ""
        return record.fault(self._record[family][name], "the mutant", done, self._filesystem)

    def among_others(self, mount: Mount, behaviours: list[Behaviour]) -> list[Behaviour]:
        """The behaviours that fail while others run beside them."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            faults = pool.map(lambda one: self.fault(mount, one), behaviours)
            return [behaviour for behaviour, fault in zip(behaviours, faults, strict=True) if fault]

    def alone(self, mount: Mount, behaviours: list[Behaviour]) -> dict[Behaviour, str]:
        """The behaviours that fail with nothing beside them, with how: no load of this machine explains it."""
        faults = {behaviour: self.fault(mount, behaviour) for behaviour in behaviours}
        return {behaviour: fault for behaviour, fault in faults.items() if fault}

    def look_for(self, fault: str, families: tuple[str, ...]) -> Found:
        behaviours = [behaviour for behaviour in BEHAVIOURS if behaviour[0] in families]
        with serving(fault) as mount:
            failed = self.among_others(mount, self.among_others(mount, behaviours))
            return Found(failed, len(behaviours), mount.process.poll() is not None)

    def without_a_fault(self, families: tuple[str, ...]) -> dict[Behaviour, str]:
        """What fails alone, with how. What fails among others only is named, and is no mutant's doing."""
        with serving("") as mount:
            failed = self.among_others(mount, [one for one in BEHAVIOURS if one[0] in families])
            wrong = self.alone(mount, failed)
        for behaviour in failed:
            if behaviour not in wrong:
                print(f"no fault: {' '.join(behaviour)} failed among others, and passes alone", flush=True)
        return wrong


def verdict(name: str, found: Found) -> str:
    if found.daemon_ended:
        return f"{name}: the daemon ended: that is no fault found"
    if not found.by:
        return f"{name}: SURVIVED all {found.of} behaviours: {FAULTS[name].what}"
    example = " ".join(found.by[0])
    return f"{name}: found by {len(found.by)} of {found.of} behaviours, such as {example}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="ask all families")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}")
    args = parser.parse_args()
    if unknown := set(args.faults) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    wanted = {name: tuple(FAMILIES) if args.all else FAULTS[name].families for name in args.faults or FAULTS}
    suite = Suite()
    asked = tuple(dict.fromkeys(family for families in wanted.values() for family in families))
    if broken := suite.without_a_fault(asked):
        print("a daemon without a fault fails:")
        print(*(f"{' '.join(behaviour)}: {fault}" for behaviour, fault in broken.items()), sep="\n")
        return 2
    print(f"no fault: {len(asked)} families pass", flush=True)
    survived = 0
    for name, families in wanted.items():
        found = suite.look_for(name, families)
        survived += found.daemon_ended or not found.by
        print(verdict(name, found), flush=True)
    print(f"{len(wanted) - survived} of {len(wanted)} faults found")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
