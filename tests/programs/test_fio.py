"""Debian's fio, unmodified: the same jobs on the kernel and under `uringfs run`."""

import json
import re
from pathlib import Path

import pytest

from tests.support.mounting import Mount
from tests.support.programs import both

JOB = Path(__file__).with_name("fio.job")
JOBS = [name for name in re.findall(r"^\[(\w+)\]", JOB.read_text(), re.MULTILINE) if name != "global"]


def work(report: str) -> list[dict[str, int]]:
    """What each job of the section did."""
    return [
        {"error": each["error"], "reads": each["read"]["total_ios"], "writes": each["write"]["total_ios"]}
        for each in json.loads(report)["jobs"]
    ]


@pytest.mark.parametrize("iodepth", [1, 32, 128])
@pytest.mark.parametrize("job", JOBS)
def test_fio(job: str, iodepth: int, mount: Mount, tmp_path: Path) -> None:
    command = ("fio", "--output-format=json", f"--section={job}", JOB)
    done = both(mount, tmp_path, *command, env={b"IODEPTH": b"%d" % iodepth})
    ours = work(done.ours)
    assert done.calls.setup == len(ours)
    assert ours == work(done.kernel)
    assert all(each["error"] == 0 and each["reads"] + each["writes"] >= 256 for each in ours)
