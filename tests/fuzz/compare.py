"""The fuzzer's programs on the kernel and on a mount: running, comparing, shrinking, counting."""

import difflib
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.support.mounting import URINGFS
from uringfs.ops.table import OPS

HERE = Path(__file__).parent
FUZZ = HERE / "out" / "fuzz"
STEPS = 16
ALL = (1 << STEPS + 1) - 2
"""Every step of a program."""
RUNS = 4
"""As often is a program run on the kernel before what it shows elsewhere counts as different."""
PROGRAM_SECONDS = 20
REQUEST = re.compile(r"^cqe \w+ res=(-?\d+) flags=0x(\w+) \(op (\d+) flags 0x(\w+)\)$", re.MULTILINE)
SQE_FLAGS = ("FIXED_FILE", "IO_DRAIN", "IO_LINK", "IO_HARDLINK", "ASYNC", "BUFFER_SELECT", "CQE_SKIP_SUCCESS")
CQE_FLAGS = {0x1: "BUFFER", 0x2: "MORE", 0x4: "SOCK_NONEMPTY", 0x8: "NOTIF", 0x10: "BUF_MORE"}


def build() -> None:
    subprocess.run(["make", "-s", "-C", str(HERE)], check=True)


class Statistics:
    """What has been compared."""

    def __init__(self) -> None:
        self.programs = 0
        self.opcodes: Counter[str] = Counter()
        self.succeeded: set[str] = set()
        self.errors: set[str] = set()
        self.sqe_flags: Counter[str] = Counter()
        self.cqe_flags: Counter[str] = Counter()

    def count(self, trace: str) -> None:
        self.programs += 1
        for res, flags, opcode, sqe_flags in REQUEST.findall(trace):
            name = OPS[int(opcode)].name
            self.opcodes[name] += 1
            if int(res) >= 0:
                self.succeeded.add(name)
            else:
                self.errors.add(f"{name}{res}")
            self.sqe_flags.update(name for bit, name in enumerate(SQE_FLAGS) if int(sqe_flags, 16) >> bit & 1)
            self.cqe_flags.update(name for bit, name in CQE_FLAGS.items() if int(flags, 16) & bit)

    def __str__(self) -> str:
        def most(counter: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in counter.most_common())

        return (
            f"{self.programs} programs, {self.opcodes.total()} completions of {len(self.opcodes)} opcodes "
            f"({len(self.succeeded)} with success), {len(self.errors)} ways to fail\n"
            f"opcodes: {most(self.opcodes)}\nSQE flags: {most(self.sqe_flags)}\nCQE flags: {most(self.cqe_flags)}"
        )


class Difference(NamedTuple):
    seed: int
    keep: int
    """The steps it takes."""
    way: str
    """The way, one of WAYS, by which it differs."""
    text: str

    def __str__(self) -> str:
        return (
            f"program {self.seed} differs by {self.way}; again: "
            f"python -m tests.fuzz.run --ways {self.way} --seed {self.seed} --keep {self.keep:x}\n{self.text}"
        )


WAYS = {
    "header": (FUZZ, None),
    "header-lane": (FUZZ.with_name("fuzz-lane"), None),
    "trap": (FUZZ, ("--mode", "trap")),
    "no-patch": (FUZZ, ("--mode", "trap", "--no-patch")),
    "no-lane": (FUZZ, ("--mode", "trap", "--no-lane")),
    "notify": (FUZZ, ("--mode", "notify")),
}
"""How a program reaches a mount: what is run, and the options of `uringfs run` if it does not know of uringfs."""
ENDED = " 0x0\n"
"""A trace of a program that came to its end: its exit status."""
MADVISE = "(op 25 "
"""By notify it fails where the daemon cannot do it (docs/differences.md), and what is linked behind."""
WAITID_FAILS = re.compile(r"res=-\d+ (?=flags=0x0 \(op 50 )")
"""By notify always with EOPNOTSUPP (docs/run.md); no program of the fuzzer has children that it would find."""


class Backend:
    """The fuzzer on the kernel, or by one of WAYS on a mount. lie: the opcode whose results are falsified, to try
    the comparison. prefix: what to run it by."""

    def __init__(
        self,
        mount: Path | None = None,
        way: str = "header",
        lie: int | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self._env = {key: value for key, value in os.environ.items() if key != "URINGFS_DIR"}
        self._fetches = way != "notify"
        program, options = WAYS[way]
        self._command: tuple[str | Path, ...] = (program,)
        if mount is not None and options is None:
            self._env["URINGFS_DIR"] = str(mount)
        elif mount is not None:
            self._command = (*URINGFS, "run", "--mount", mount, *(options or ()), "--", program)
        self._command = (*prefix, *self._command)
        if lie is not None:
            self._env["URINGFS_FUZZ_LIE"] = str(lie)

    def promises(self, trace: str) -> str:
        """What of a trace, the kernel's or this one's, is to be the same."""
        if self._fetches:
            return trace
        return "" if MADVISE in trace else WAITID_FAILS.sub("res=-? ", trace)

    def _run(self, args: list[str], timeout: float, verbose: bool = False) -> str:
        with tempfile.TemporaryDirectory(prefix="uringfs-fuzz-", ignore_cleanup_errors=True) as directory:
            os.chmod(directory, 0o777)
            try:
                return subprocess.run(
                    [*self._command, *args],
                    env=self._env | {"TMPDIR": directory},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT if verbose else subprocess.DEVNULL,
                    text=True,
                    timeout=timeout,
                ).stdout
            except subprocess.TimeoutExpired:
                return f"no end within {timeout} s"

    def one(self, seed: int, keep: int, verbose: bool = False) -> str:
        args = ["--keep", f"{keep:x}", str(seed)]
        return self._run(["--verbose", *args] if verbose else args, PROGRAM_SECONDS, verbose)

    def range(self, first: int, last: int) -> dict[int, str]:
        """seed -> trace"""
        text = "\n" + self._run(["--range", str(first), str(last)], PROGRAM_SECONDS * (last - first))
        parts = [part for part in text.split("\nprogram ") if part[:1].isdigit()]
        return {int(part.split(maxsplit=1)[0]): f"program {part.strip()}\n" for part in parts}


class Comparison:
    """A comparison of the kernel with a mount, by one way or several."""

    def __init__(
        self,
        mount: Path,
        ways: Sequence[str] = ("header",),
        lie: int | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.kernel = Backend(prefix=prefix)
        self.ours = {way: Backend(mount, way, lie, prefix) for way in ways}
        self.statistics = Statistics()
        self.unsettled: set[int] = set()
        """Seeds of programs that are not the same twice on the kernel, or do not end there."""
        self.once: set[int] = set()
        """Seeds whose difference did not come again: worth a look."""

    def programs(self, first: int, last: int) -> Iterator[Difference]:
        with ThreadPoolExecutor(2) as pool:
            kernel, *ours = pool.map(
                lambda backend: backend.range(first, last), (self.kernel, *self.ours.values())
            )
        for seed in range(first, last):
            theirs = kernel.get(seed, "")
            self.statistics.count(theirs)
            if not theirs.endswith(ENDED):
                self.unsettled.add(seed)
                continue
            for (way, backend), traces in zip(self.ours.items(), ours, strict=True):
                if backend.promises(theirs) != backend.promises(traces.get(seed, "")):
                    difference = self.look_at(seed, ALL, way)
                    if difference is not None:
                        yield difference

    def look_at(self, seed: int, keep: int, way: str) -> Difference | None:
        """A program, with its steps taken away as long as it differs."""
        verdict = self._differs(seed, keep, way)
        if verdict is None:
            self.unsettled.add(seed)
            return None
        if not verdict:
            self.once.add(seed)
            return None
        for step in range(STEPS, 0, -1):
            less = keep & ~(1 << step)
            if less != keep and self._differs(seed, less, way):
                keep = less
        kernel, ours = (backend.one(seed, keep).splitlines() for backend in (self.kernel, self.ours[way]))
        lines = difflib.unified_diff(kernel, ours, "kernel", f"uringfs, {way}", n=0)
        return Difference(seed, keep, way, "\n".join(line.rstrip("\n") for line in lines))

    def _differs(self, seed: int, keep: int, way: str) -> bool | None:
        """None: the kernel itself shows two things, or does not come to an end (a drain that never starts)."""
        backend = self.ours[way]
        theirs = {self.kernel.one(seed, keep) for _ in range(2)}
        if len(theirs) > 1 or not all(trace.endswith(ENDED) for trace in theirs):
            return None
        promised = {backend.promises(trace) for trace in theirs}
        if backend.promises(backend.one(seed, keep)) in promised:
            return False
        theirs |= {self.kernel.one(seed, keep) for _ in range(RUNS - 2)}
        if len(theirs) > 1:
            return None
        return backend.promises(backend.one(seed, keep)) not in promised
