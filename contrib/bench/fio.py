"""fio's random reads of 4 KiB from the page cache: on the kernel's io_uring, and under `uringfs run`."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from daemons import Unavailable, client
from report import Result

DEPTHS = (1, 32, 128)
START_SECONDS = 20.0


def row(depth: int) -> str:
    return f"randread 4K, iodepth {depth}"


def measure(column: str, pinning: str, run: Sequence[str], cpu: int, data: Path, seconds: float) -> list[Result]:
    """fio on that CPU, by the command `run` where there is one; a result for each depth."""
    if shutil.which("fio") is None:
        raise Unavailable("fio is not installed (Debian: apt-get install fio)")
    return [_measure(column, pinning, run, cpu, data, seconds, depth) for depth in DEPTHS]


def _measure(
    column: str, pinning: str, run: Sequence[str], cpu: int, data: Path, seconds: float, depth: int
) -> Result:
    job = ["--name=randread", f"--filename={data}", "--readonly", "--rw=randread", "--bs=4k", "--norandommap"]
    engine = ["--ioengine=io_uring", f"--iodepth={depth}", "--invalidate=0", "--randseed=4711"]
    time = ["--time_based", f"--runtime={round(seconds * 1000)}ms", "--output-format=json"]
    out, trouble = client([*run, "fio", *job, *engine, *time], [cpu], START_SECONDS + 2 * seconds)
    result: Result = {"row": row(depth), "column": column, "pinning": pinning, "iodepth": depth}
    try:
        read = json.loads(out)["jobs"][0]["read"]
    except (ValueError, LookupError):
        return result | {"ops_per_s": None, "us": None, "error": trouble or "fio printed no figures"}
    failed = trouble or (None if read["total_ios"] else "fio read nothing")
    return result | {"ops_per_s": read["iops"], "us": read["clat_ns"]["mean"] / 1000, "error": failed}
