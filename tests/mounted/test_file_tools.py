"""What file tools make of a ring that has a name: as of a file in /proc, its size is 0, they read to its end."""

import errno
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, Mount, open_directory
from uringfs.abi.constants import IORING_OFF_SQES
from uringfs.client import Ring, nop
from uringfs.client.mapping import map_ring

LAST = "LastMessage:\tsetup: 8 SQ entries, 16 CQ entries\n"


@pytest.fixture(scope="module", params=["passthrough", "pagecache"])
def mount(request: pytest.FixtureRequest) -> Iterator[Mount]:
    with open_directory() as directory, Mount(directory / "mnt", "--backend", request.param) as mount:
        yield mount


@pytest.fixture
def ring(mount: Mount) -> Iterator[Path]:
    """With nothing in its queues: the text stays the same."""
    path = mount / "ring"
    path.write_text("setup 8\n")
    yield path
    path.unlink()


def sh(script: str, ring: Path, scratch: Path) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "ring": str(ring), "directory": str(ring.parent), "LC_ALL": "C"}
    command = ["sh", "-ec", script]
    return subprocess.run(command, env=env, cwd=scratch, capture_output=True, text=True, timeout=DEADLINE)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("tail -n 1 $ring", LAST),
        ("tail -c 16 $ring", LAST[-16:]),
        ("head -n 1 $ring", "SqMask:\t0x7\n"),
        ("tac $ring | head -n 1", LAST),
        ("grep -rh LastMessage $directory", LAST),
        ("grep -c . < $ring", "{lines}\n"),
        ("wc -c < $ring", "{size}\n"),
        ("cp $ring copy; cmp copy $ring", ""),
        ("cp -a $ring copy; cmp copy $ring", ""),
        ("cat $ring > copy; cmp copy $ring", ""),
        ("dd if=$ring of=copy status=none; cmp copy $ring", ""),
        ("diff $ring $ring", ""),
        ("stat -c '%s %b' $ring", "0 0\n"),
        ("du -b $ring; du -k $ring; du --apparent-size -k $ring", "0\t{ring}\n0\t{ring}\n0\t{ring}\n"),
        ("find $directory -type f -size 0", "{ring}\n"),
        ("find $directory -type f -size +1", ""),
        ("echo nop >> $ring; tail -n 1 $ring", "LastMessage:\tqueued user_data 0; 1 in the SQ\n"),
    ],
)
def test_a_tool(ring: Path, tmp_path: Path, script: str, expected: str) -> None:
    text = ring.read_text()
    done = sh(script, ring, tmp_path)
    shown = expected.format(ring=ring, size=len(text), lines=text.count("\n"))
    assert (done.stdout, done.stderr, done.returncode) == (shown, "", 0)


def test_archives_are_small(ring: Path, tmp_path: Path) -> None:
    """As of /proc: an entry of 0 bytes, and no complaint of files that shrank."""
    done = sh("tar -cf all.tar -C $directory .; tar -tvf all.tar ./ring", ring, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[2] == "0"
    assert (tmp_path / "all.tar").stat().st_size <= 10240


def test_rsync_ends(ring: Path, tmp_path: Path) -> None:
    done = sh("rsync -a $directory/ copy/; stat -c %s copy/ring", ring, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


def test_there_is_no_end_to_seek_to(ring: Path) -> None:
    fd = os.open(ring, os.O_RDWR)
    try:
        for whence in (os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE):
            with pytest.raises(OSError, match="Illegal seek") as refused:
                os.lseek(fd, 0, whence)
            assert refused.value.errno == errno.ESPIPE
        assert os.lseek(fd, 3, os.SEEK_SET) == 3
    finally:
        os.close(fd)


def test_asking_for_the_size_takes_no_page_away(ring: Path) -> None:
    """The kernel would cut the page cache down to a size that it believes, under the feet of who has it mapped."""
    with Ring(ring.with_name("other"), 8) as client:
        for number in range(50):
            for _ in range(3):
                assert ring.with_name("other").stat().st_size == 0
                assert os.fstat(client.fd).st_size == 0
            client.queue(nop(number))
            assert client.submit(wait=1) == 1
            assert [cqe.user_data for cqe in client.reap()] == [number]
            map_ring(client.fd, mmap.PAGESIZE, IORING_OFF_SQES).close()
    ring.with_name("other").unlink()
