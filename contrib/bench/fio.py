"""fio on the kernel's io_uring, and under `uringfs run`: random reads and writes, cached, cold and O_DIRECT."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from daemons import Unavailable, client
from report import Result

START_SECONDS = 20.0
FASTEST = 150_000  # requests of 4 KiB in a second that a disk may do
CHUNK = 1 << 20


class Job(NamedTuple):
    """A row, but for its depth: what fio is asked for, and the aim as a part of the kernel's speed."""

    name: str
    options: tuple[str, ...]
    depths: tuple[int, ...]
    aims: tuple[str, ...]


READ, WRITE = ("--rw=randread", "--bs=4k", "--readonly"), ("--rw=randwrite", "--bs=4k")
CACHED, COLD, DIRECT = ("--invalidate=0", "--norandommap"), ("--invalidate=1",), ("--direct=1", "--norandommap")
SIX = ("--numjobs=6", "--group_reporting", "--iodepth_batch_submit=16", "--iodepth_batch_complete_min=16")
JOBS = (
    Job("randread 4K, cached", (*READ, *CACHED, "--size=1m"), (1, 32, 128), ("> 0.5", "> 0.7", "> 0.7")),
    Job("randread 4K, cold", (*READ, *COLD), (1, 32), ("> 0.5", "> 0.5")),
    Job("randread 4K, O_DIRECT", (*READ, *DIRECT), (1, 32), ("> 0.5", "> 0.5")),
    Job("randwrite 4K", (*WRITE, *CACHED), (1, 32), ("> 0.5", "> 0.5")),
    # as PostgreSQL's backends: each process its own ring, batches of 16
    Job("6 processes, randread 8K, O_DIRECT", ("--rw=randread", "--bs=8k", *DIRECT, *SIX), (16,), ("> 0.5",)),
)


def row(job: Job, depth: int) -> str:
    return f"{job.name}, iodepth {depth}"


AIMS = {row(job, depth): aim for job in JOBS for depth, aim in zip(job.depths, job.aims, strict=True)}


def write_data(path: Path, seconds: float) -> None:
    """A file that is not read to its end within that time, so that what is cold stays cold. On a disk: tmpfs knows
    neither cold nor, before Linux 6.6, O_DIRECT."""
    chunk = os.urandom(CHUNK)
    with open(path, "wb") as file:
        for _ in range(max(16, int(seconds * FASTEST * 4096 / CHUNK))):
            file.write(chunk)
        os.fsync(file.fileno())


def measure(column: str, pinning: str, run: Sequence[str], cpu: int, data: Path, seconds: float) -> list[Result]:
    """fio on that CPU, by the command `run` where there is one; a result for each job and depth."""
    if shutil.which("fio") is None:
        raise Unavailable("fio is not installed (Debian: apt-get install fio)")
    return [_measure(column, pinning, run, cpu, data, seconds, job, depth) for job in JOBS for depth in job.depths]


def _measure(
    column: str, pinning: str, run: Sequence[str], cpu: int, data: Path, seconds: float, job: Job, depth: int
) -> Result:
    options = [f"--name={job.name}", f"--filename={data}", *job.options, "--randseed=4711"]
    engine = ["--ioengine=io_uring", f"--iodepth={depth}"]
    time = ["--time_based", f"--runtime={round(seconds * 1000)}ms", "--output-format=json"]
    out, trouble = client([*run, "fio", *options, *engine, *time], [cpu], START_SECONDS + 2 * seconds)
    result: Result = {"row": row(job, depth), "column": column, "pinning": pinning, "iodepth": depth}
    kind = "write" if "--rw=randwrite" in job.options else "read"
    try:
        did = json.loads(out)["jobs"][0][kind]
    except (ValueError, LookupError):
        return result | {"ops_per_s": None, "us": None, "error": trouble or "fio printed no figures"}
    failed = trouble or (None if did["total_ios"] else f"fio did no {kind}")
    return result | {"ops_per_s": did["iops"], "us": did["clat_ns"]["mean"] / 1000, "error": failed}
