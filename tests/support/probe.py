"""tests/mounted/run_probe*.c: programs that know nothing of uringfs, for `uringfs run`."""

import contextlib
import os
import re
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.mounting import ROOT, Mount, open_directory
from uringfs.client import Ring, prep

SOURCES = sorted((ROOT / "tests/mounted").glob("run_probe*.c"))
INTERACTIVE = "run_probe_ends.c"
BEHAVIOURS = [
    name
    for source in SOURCES
    if source.name != INTERACTIVE
    for name in re.findall(r"^TEST\((\w+)\)", source.read_text(), re.MULTILINE)
]


def build(program: Path, *link: str) -> Path:
    harness = ROOT / "tests/conformance"
    sources = [*SOURCES, harness / "harness.c", harness / "harness_ring.c"]
    flags = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-D_GNU_SOURCE", f"-I{ROOT / 'contrib'}", "-pthread"]
    done = subprocess.run(["cc", *flags, *link, "-o", program, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@contextlib.contextmanager
def with_and_without_header(source: Path) -> Iterator[Path]:
    """A directory with a program built twice: as `probe` it makes the kernel's calls, as `with_header` those of
    uringfs.h, with the lane."""
    with open_directory() as directory:
        for name, flags in (("probe", []), ("with_header", ["-DURINGFS_LANE"])):
            warnings = ["-Wall", "-Wextra", "-Werror"]
            subprocess.run(["gcc", "-O2", *warnings, *flags, "-o", str(directory / name), str(source)], check=True)
        yield directory


KEPT = re.compile(r"pidfd|^socket:|perf_event|^/proc/\d+/(?:mem|maps)$")


def held(mount: Mount) -> tuple[int, int]:
    """What a daemon holds for its clients: descriptors, but for what it keeps of the last callers' threads while
    they live (uringfs/host/process/program.py), and the sockets of helpers; ring memory that is mapped."""
    kinds = _descriptors(mount)
    kept = [kind for kind in kinds if KEPT.search(kind)]
    return len(kinds) - len(kept), Path(f"/proc/{mount.pid}/maps").read_text().count("memfd:")


def warm(mount: Mount) -> None:
    """Make the daemon have what comes with the first poll that waits: for before held() is taken."""
    readable, writable = os.pipe()
    with Ring(mount / "new") as ring:
        ring.queue(prep.poll_add(readable, select.POLLIN))
        ring.submit()
        os.write(writable, b"x")
        ring.wait()
    os.close(readable)
    os.close(writable)


def held_sockets(mount: Mount) -> int:
    return sum(kind.startswith("socket:") for kind in _descriptors(mount))


def _descriptors(mount: Mount) -> list[str]:
    kinds = []
    for fd in Path(f"/proc/{mount.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            kinds.append(os.readlink(fd))
    return kinds
