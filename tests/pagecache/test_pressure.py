"""Pages that come and go: nothing that client or daemon has stored is lost, and nobody waits for himself."""

import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.children import Child, in_child
from tests.support.mounting import ROOT, Mount, is_mounted, until
from uringfs.abi.constants import IORING_OFF_SQ_RING
from uringfs.client import Ring, nop
from uringfs.client.mapping import map_ring
from uringfs.native import Words

CGROUP = Path("/sys/fs/cgroup/memory")
LIMIT = 96 << 20  # bytes: daemon, client and hog, and little of the file that the hog writes
ROUNDS = 300
FREE_WORD = 4088  # of the first page: behind what a ring of 8 entries uses
_libc = ctypes.CDLL(None, use_errno=True)


def rounds(ring: Ring, count: int, between: object = None) -> None:
    """Each request comes back once, in order, and what the client keeps in the ring's page stays there."""
    with (
        mmap.mmap(ring.fd, 4096, mmap.MAP_SHARED, offset=IORING_OFF_SQ_RING) as page,
        Words(page) as words,
    ):
        for number in range(count):
            words.store(FREE_WORD, number)
            for part in range(8):
                ring.queue(nop(number * 8 + part))
            assert ring.submit(wait=8) == 8
            assert [cqe.user_data for cqe in ring.reap()] == [number * 8 + part for part in range(8)]
            if callable(between):
                between(page)
            assert words.load(FREE_WORD) == number


def dont_need(page: mmap.mmap) -> None:
    page.madvise(mmap.MADV_DONTNEED)


@pytest.fixture
def mount(roots: Mount) -> Iterator[Mount]:
    yield roots
    assert roots.process.poll() is None, roots.log()
    roots.assert_clean_log()


def test_pages_dropped_from_the_mapping(mount: Mount) -> None:
    with Ring(mount / "new", 8) as ring:
        rounds(ring, ROUNDS, dont_need)


def test_the_file_is_mapped_anew_each_time(mount: Mount) -> None:
    with Ring(mount / "new", 8) as ring:

        def again(page: mmap.mmap) -> None:
            mmap.mmap(ring.fd, 4096, mmap.MAP_SHARED, offset=IORING_OFF_SQ_RING).close()

        rounds(ring, ROUNDS, again)


@contextlib.contextmanager
def meanwhile(action: object) -> Iterator[None]:
    """Again and again, in a thread."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.is_set():
            assert callable(action)
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def drop_caches() -> None:
    Path("/proc/sys/vm/drop_caches").write_text("3")


@pytest.mark.parametrize("what", ["sync", "drop_caches"])
def test_written_back_all_the_time(mount: Mount, what: str) -> None:
    with Ring(mount / "new", 8) as ring:

        def syncfs() -> None:
            assert _libc.syncfs(ring.fd) == 0

        with meanwhile(syncfs if what == "sync" else drop_caches):
            rounds(ring, ROUNDS)


def test_locked_pages(mount: Mount) -> None:
    with (
        Ring(mount / "new", 8) as ring,
        mmap.mmap(ring.fd, 4096, mmap.MAP_SHARED, offset=IORING_OFF_SQ_RING) as page,
    ):
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        assert _libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(4096)) == 0
        rounds(ring, ROUNDS)


def test_a_forked_child_and_its_parent(mount: Mount) -> None:
    with Ring(mount / "new", 8) as ring:

        def submit(child: Child) -> None:
            rounds(ring, 20)

        for _ in range(5):
            with in_child(submit):
                pass
            rounds(ring, 20)


def test_each_adds_in_the_same_page(mount: Mount, tmp_path: Path) -> None:
    """fetch_add of two processes under constant writeback: the sum is exact."""
    source = tmp_path / "add.c"
    source.write_text(
        "#include <fcntl.h>\n#include <stdlib.h>\n#include <sys/mman.h>\n"
        "int main(int argc, char **argv) { int fd = open(argv[1], O_RDWR), n = atoi(argv[2]);\n"
        "unsigned *at = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);\n"
        f"while (argc && n--) __atomic_fetch_add(at + {FREE_WORD // 4}, 1, __ATOMIC_SEQ_CST); return 0; }}\n"
    )
    subprocess.run(["cc", "-O2", "-o", tmp_path / "add", source], check=True)
    name = mount / "sum"
    with Ring(name, 8) as ring:
        with meanwhile(lambda: _libc.syncfs(ring.fd)):
            adders = [subprocess.Popen([tmp_path / "add", name, "1000000"]) for _ in range(2)]
            assert [adder.wait() for adder in adders] == [0, 0]
        with map_ring(ring.fd, 4096, 0) as page, Words(page) as words:
            assert words.load(FREE_WORD) == 2000000
    os.unlink(name)


def test_a_ring_that_rests_keeps_what_is_queued(mount: Mount) -> None:
    """Closed by all, its pages are in the shadow alone; the next opener finds them as they were."""
    ring = Ring(mount / "resting", 8)
    ring.queue(nop(1))
    ring.submit()
    params = ring.raw_params
    ring.close()
    drop_caches()
    with Ring(mount / "resting", None, params=params) as again:
        assert [cqe.user_data for cqe in again.reap()] == [1]
        again.queue(nop(2))
        assert again.submit(wait=1) == 1
        assert [cqe.user_data for cqe in again.reap()] == [2]
    os.unlink(mount / "resting")


@pytest.fixture
def cgroup() -> Iterator[Path]:
    path = CGROUP / f"uringfs-test-{os.getpid()}"
    try:
        path.mkdir()
        (path / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError as error:
        pytest.skip(f"no memory cgroup of our own is to be had: {error}")
    yield path
    until(lambda: not (path / "cgroup.procs").read_text(), "the cgroup to be empty")
    path.rmdir()


def test_a_cgroup_with_little_memory(cgroup: Path, tmp_path: Path) -> None:
    """Daemon and client in one, beside a hog that has the kernel reclaim all the time."""
    enter = ("sh", "-c", f'echo $$ > {cgroup}/cgroup.procs; exec "$@"', "sh")
    hog = (
        "import sys\nwhile True:\n"
        "  with open(sys.argv[1], 'wb') as file:\n"
        "    for _ in range(256): file.write(bytes(1 << 20))\n"
    )
    with (
        tempfile.TemporaryDirectory(prefix="uringfs-pagecache-") as directory,
        Mount(Path(directory) / "mnt", "--backend", "pagecache", command=enter) as mount,
    ):
        hogs = subprocess.Popen([*enter, sys.executable, "-c", hog, tmp_path / "file"])
        try:
            script = (
                f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
                "from tests.pagecache.test_pressure import Ring, rounds\n"
                "rings = [Ring(sys.argv[1] + '/new', 8) for _ in range(100)]\n"
                "for _ in range(10): [rounds(ring, 10) for ring in rings]\n"
            )
            subprocess.run([*enter, sys.executable, "-c", script, mount.path], check=True, timeout=120)
            assert hogs.poll() is None
            assert int((cgroup / "memory.failcnt").read_text()) > 100  # reclaimed, all the time
        finally:
            hogs.kill()
            hogs.wait()


@pytest.mark.parametrize("killed", ["daemon", "all", "pager", "keeper"])
def test_whoever_is_killed_nobody_is_left(killed: str) -> None:
    """A daemon that waited for its own answer on the way out could not be killed at all."""
    with tempfile.TemporaryDirectory(prefix="uringfs-pagecache-") as directory:
        mount = Mount(Path(directory) / "mnt", "--backend", "pagecache")
        helpers = {
            Path(f"/proc/{pid}/comm").read_text().strip(): int(pid)
            for pid in Path(f"/proc/{mount.pid}/task/{mount.pid}/children").read_text().split()
        }
        pager, keeper = helpers["uringfs-pager"], helpers["uringfs-keeper"]
        ring = Ring(mount / "new", 64)
        rounds(ring, 10)
        victims = {"daemon": [mount.pid], "all": [keeper, pager, mount.pid], "pager": [pager], "keeper": [keeper]}
        try:
            for pid in victims[killed]:
                os.kill(pid, signal.SIGKILL)
            mount.process.wait(20)
            for pid in (pager, keeper):
                until(lambda pid=pid: not running(pid), f"the end of {pid}")
            with pytest.raises(OSError, match=r"Transport endpoint|connection abort|Input/output"):
                ring.enter(0)
        finally:
            ring.close()
            mount.stop()
        assert not is_mounted(mount.path)


def running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_the_connection_is_aborted() -> None:
    """umount -f, or /sys/fs/fuse/connections/N/abort: the daemon ends as it does after any unmount."""
    with tempfile.TemporaryDirectory(prefix="uringfs-pagecache-") as directory:
        mount = Mount(Path(directory) / "mnt", "--backend", "pagecache")
        ring = Ring(mount / "new", 64)
        rounds(ring, 10)
        try:
            subprocess.run(["umount", "-f", mount.path], check=False, capture_output=True)
            assert mount.process.wait(20) == 0, mount.log()
        finally:
            ring.close()
            mount.stop()
