"""contrib/examples on a mount, as users run them, and once more under ASan and UBSan."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.mounting import DEADLINE, Mount

EXAMPLES = Path(__file__).parents[2] / "contrib" / "examples"


def make(target: str) -> None:
    done = subprocess.run(["make", "-C", str(EXAMPLES), target], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=["all", "asan"])
def programs(request: pytest.FixtureRequest) -> Path:
    make(request.param)
    return EXAMPLES / "out-asan" if request.param == "asan" else EXAMPLES


def run(
    program: Path, *args: str | Path, mount: Mount, status: int = 0, data: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "URINGFS_DIR": str(mount.path)}
    done = subprocess.run([program, *args], env=env, input=data, capture_output=True, timeout=DEADLINE)
    assert done.returncode == status, done
    assert status != 0 or not done.stderr, done
    return done


def copy(programs: Path, mount: Mount, source: Path, target: Path) -> None:
    run(programs / "uring-cp", source, target, mount=mount)


def test_nop_on_a_ring_of_its_own(programs: Path, mount: Mount) -> None:
    done = run(programs / "nop", mount=mount)
    assert done.stdout == b"submitted 1; completed: user_data=42 res=0\n"


def test_nop_on_a_named_ring_and_watch_shows_it(programs: Path, mount: Mount, name: str) -> None:
    run(programs / "nop", mount / name, mount=mount)
    text = run(programs / "watch", "-1", mount / name, mount=mount).stdout.decode()
    assert text.startswith("SqMask:\t0x7\n")
    assert "\nCqHead:\t1\n" in text
    assert "\nCqTail:\t1\n" in text


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 32 * 65536, 20_000_000])
def test_copy_is_the_same(programs: Path, mount: Mount, tmp_path: Path, size: int) -> None:
    (tmp_path / "source").write_bytes(os.urandom(size))
    (tmp_path / "target").write_bytes(b"what was there before" * 10)
    copy(programs, mount, tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()


def test_copy_keeps_the_mode(programs: Path, mount: Mount, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    (tmp_path / "source").chmod(0o750)
    copy(programs, mount, tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o750


def test_copy_of_a_pipe(programs: Path, mount: Mount, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    run(programs / "uring-cp", "/dev/stdin", tmp_path / "target", mount=mount, data=data)
    assert (tmp_path / "target").read_bytes() == data


def test_copy_of_a_file_that_does_not_tell_its_size(programs: Path, mount: Mount, tmp_path: Path) -> None:
    copy(programs, mount, Path("/proc/version"), tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == Path("/proc/version").read_bytes()


def test_copy_through_a_named_ring(programs: Path, mount: Mount, tmp_path: Path, name: str) -> None:
    (tmp_path / "source").write_bytes(b"x" * 100_000)
    args = ("-v", "-r", mount / name, tmp_path / "source", tmp_path / "target")
    done = run(programs / "uring-cp", *args, mount=mount)
    assert done.stdout.startswith(b"100000 bytes, ")
    assert (tmp_path / "target").read_bytes() == b"x" * 100_000


def test_copy_says_what_is_wrong(programs: Path, mount: Mount, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"precious")
    for args, words in [
        ((tmp_path / "none", tmp_path / "t"), b"No such file"),
        ((tmp_path, tmp_path / "t"), b"Is a directory"),
        ((source, source), b"the same file"),
        (("-r", mount / "no/such", source, tmp_path / "t"), b"no/such"),
    ]:
        done = run(programs / "uring-cp", *args, mount=mount, status=1)
        assert words in done.stderr, done
        assert not (tmp_path / "t").exists()
    assert source.read_bytes() == b"precious"
    run(programs / "uring-cp", source, mount=mount, status=2)


def test_watch_sees_each_change_and_the_end(programs: Path, mount: Mount, name: str) -> None:
    ring = mount / name
    ring.write_text("setup 4\n")
    command = ["timeout", str(int(DEADLINE)), programs / "watch", "-i", "0.05", ring]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline() == b"SqMask:\t0x3\n"
        ring.write_text("nop user_data=77\n")
        ring.write_text("enter wait=1\n")
        assert any(b"user_data:77, res:0" in line for line in watch.stdout)
        ring.unlink()
        assert watch.stdout.read().splitlines()[-1] == b"removed"
        assert watch.wait() == 0


def test_header_is_cxx(programs: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    make("header-cxx")
