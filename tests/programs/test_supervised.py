"""fio and Node.js again, supervised: `uringfs run --mode notify`."""

from pathlib import Path

import pytest
from test_fio import JOB, work
from test_node import CALLS, NODE, PROGRAM

from tests.support.mounting import URINGFS, Mount
from tests.support.programs import on_the_kernel, output


def supervised(mount: Mount, *command: object) -> tuple[object, ...]:
    return (*URINGFS, "run", "--mount", mount.path, "--mode", "notify", "--trace-calls", "--", *command)


@pytest.mark.parametrize("job", ["randread", "verify", "fixedbufs", "registerfiles", "sqthread_poll"])
def test_fio(job: str, mount: Mount, tmp_path: Path) -> None:
    command = ("fio", "--output-format=json", f"--section={job}", JOB)
    env = on_the_kernel() | {b"IODEPTH": b"32"}
    kernel, _ = output(command, tmp_path / "kernel", env)
    ours, calls = output(supervised(mount, *command), tmp_path / "ours", env)
    assert work(ours) == work(kernel)
    assert calls.setup == len(work(ours))
    mount.assert_clean_log()


def test_node(mount: Mount, tmp_path: Path) -> None:
    """Its SQPOLL ring opens and closes files: their descriptors come while it enters the other."""
    env = on_the_kernel() | {b"UV_USE_IO_URING": b"1"}
    kernel, _ = output((NODE, PROGRAM), tmp_path / "kernel", env)
    env[b"URINGFS_TRAP_MOUNT"] = bytes(mount.path)  # where the program looks for its rings
    ours, calls = output(supervised(mount, NODE, PROGRAM), tmp_path / "ours", env)
    assert ours.splitlines()[0] == kernel.splitlines()[0]
    assert int(ours.splitlines()[1]) > CALLS
    assert calls.setup >= 4
    mount.assert_clean_log()
