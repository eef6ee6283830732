"""Files that are no rings, and directories where nothing is mounted: one errno, and nothing is left behind."""

import ctypes
import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.calls import fails
from tests.support.mounting import DEADLINE, ROOT, Mount, open_directory
from tests.support.probe import build as build_probe
from uringfs import client
from uringfs.abi.control import URINGFS_XATTR
from uringfs.abi.structs import PARAMS, PARAMS_SIZE, Params
from uringfs.cli.run import environment, library
from uringfs.client import Ring


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("program") / "not_a_ring"
    strict = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'contrib'}"]
    subprocess.run(["cc", *strict, "-o", path, ROOT / "tests/mounted/not_a_ring.c"], check=True)
    return str(path)


@pytest.fixture(scope="module")
def probe() -> Iterator[Path]:
    with open_directory() as directory:
        yield build_probe(directory / "probe")


def answer(program: str, *words: object, cwd: Path | None = None) -> int:
    command = [program, *map(str, words)]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE, cwd=cwd).stdout)


def test_every_file_of_a_mount_says_that_it_is_one(mount: Mount, name: str) -> None:
    (mount / name).touch(mode=0)
    for path in (mount.path, mount / name):
        assert os.getxattr(path, URINGFS_XATTR)
        assert URINGFS_XATTR not in os.listxattr(path)


def test_where_nothing_is_mounted(program: str, tmp_path: Path) -> None:
    for path in (tmp_path / "new", tmp_path / "ring"):
        assert answer(program, "open", path) == errno.EOPNOTSUPP
        with pytest.raises(OSError, match="is a uringfs mounted there") as caught:
            Ring(path)
        assert (caught.value.errno, caught.value.filename) == (errno.EOPNOTSUPP, str(path))
        with pytest.raises(OSError, match="is a uringfs mounted there"):
            client.hand_over(str(tmp_path), 0)
    assert answer(program, "open", "new", cwd=tmp_path) == errno.EOPNOTSUPP
    assert os.listdir(tmp_path) == []


def test_without_the_directory(program: str, tmp_path: Path) -> None:
    path = tmp_path / "none" / "new"
    assert answer(program, "open", path) == errno.ENOENT
    fails(errno.ENOENT, Ring, path)
    assert answer(program, "open", f"{tmp_path}/{'x' * 5000}/new") == errno.ENAMETOOLONG


def test_a_file_that_is_no_ring(program: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("kept")
    buffer = ctypes.create_string_buffer(PARAMS.pack(*Params()), PARAMS_SIZE)
    for each in (path, "/dev/null"):
        assert answer(program, "open", each) == answer(program, "setup", each) == errno.EOPNOTSUPP
        with open(each, "r+b") as file, pytest.raises(OSError, match="not a ring") as caught:
            client.setup(file.fileno(), 8, buffer)
        assert caught.value.errno == errno.EOPNOTSUPP
    assert path.read_text() == "kept"
    assert path.stat().st_size == 4


def test_rings_as_ever(program: str, mount: Mount, name: str) -> None:
    """Rings open by a relative path and through a symlink too, made or there already."""
    assert answer(program, "open", mount / "new") == 0
    assert answer(program, "open", name, cwd=mount.path) == 0
    assert answer(program, "open", mount / name) == answer(program, "setup", mount / name) == 0
    link = mount.path.with_name("link")
    link.symlink_to(mount.path)
    try:
        assert answer(program, "open", link / f"{name}2") == 0
        Ring(link / "new").close()
    finally:
        link.unlink()


def test_a_mount_whose_daemon_is_gone(program: str, directory: Path) -> None:
    mount = Mount(directory)
    fd = os.open(mount / "new", os.O_RDWR)
    mount.process.kill()
    mount.process.wait(DEADLINE)
    try:
        assert answer(program, "open", directory / "new") in (errno.ENOTCONN, errno.ECONNABORTED)
        with pytest.raises(OSError, match=r"not connected|aborted|connection abort"):
            Ring(directory / "new")
        with pytest.raises(OSError, match=r"not connected|aborted|connection abort"):
            client.check(fd)
    finally:
        os.close(fd)
        mount.stop()


# -- the trap library


def preloaded(mount: Path | None) -> dict[bytes, bytes]:
    env = environment(str(mount), library())
    if mount is None:
        del env[b"URINGFS_TRAP_MOUNT"]
    return env


def said(env: dict[bytes, bytes], *command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], env=env, capture_output=True, timeout=DEADLINE, text=True
    )
    return done.stderr


def test_without_the_variable_it_says_so(probe: Path) -> None:
    """Once: what such a program starts is silent."""
    line = r"uringfs: the trap library is preloaded, but URINGFS_TRAP_MOUNT is not set: io_uring is the kernel's\n"
    assert re.fullmatch(line, said(preloaded(None), probe, "one_nop"))
    script = f"{probe} one_nop; {probe} one_nop >/dev/null; true"
    assert re.fullmatch(line, said(preloaded(None), "sh", "-c", script))


def test_without_a_mount_it_says_so(probe: Path, tmp_path: Path) -> None:
    """Programs that use no io_uring are silent; ENOSYS, nothing written, whatever the directory has."""
    line = rf"uringfs: no ring filesystem is mounted at {tmp_path} \(URINGFS_TRAP_MOUNT\): .* ENOSYS\n"
    assert said(preloaded(tmp_path), "true") == ""
    assert re.fullmatch(line + "[^\n]*Function not implemented\n", said(preloaded(tmp_path), probe, "one_nop"))
    (tmp_path / "new").write_text("kept")
    assert re.match(line, said(preloaded(tmp_path), probe, "one_nop"))
    assert (tmp_path / "new").read_text() == "kept"
    (tmp_path / "new").unlink()
    assert os.listdir(tmp_path) == []


def test_a_standard_error_output_that_is_another_by_now_is_left_alone(probe: Path, tmp_path: Path) -> None:
    """As a database's that has closed it: 2 is a file of its own."""
    env = preloaded(tmp_path) | {b"PYTHONPATH": os.fsencode(ROOT)}
    code = (
        "import ctypes, os; os.close(2); fd = os.open('own', os.O_CREAT | os.O_RDWR); os.dup2(fd, 2)\n"
        "assert ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)) == -1"
    )
    done = subprocess.run(["python3", "-c", code], env=env, cwd=tmp_path, timeout=DEADLINE, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "own").read_bytes() == b""


def test_files_beside_an_empty_mountpoint_are_no_rings(tmp_path: Path) -> None:
    """io_uring_enter(2) on a plain file of the directory's device: EOPNOTSUPP as by the kernel, and no write."""
    path = tmp_path / "file"
    path.write_text("kept")
    code = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True); fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "assert libc.syscall(426, fd, 0, 0, 0, None, ctypes.c_size_t(8)) == -1; print(ctypes.get_errno())"
    )
    command = ["python3", "-c", code, str(path)]
    done = subprocess.run(command, env=preloaded(tmp_path), timeout=DEADLINE, capture_output=True, text=True)
    assert done.stdout == f"{errno.EOPNOTSUPP}\n", done.stderr
    assert path.read_text() == "kept"


def test_a_mount_that_comes_after_the_program_began(directory: Path) -> None:
    code = (
        "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True); params = ctypes.create_string_buffer(120)\n"
        "assert libc.syscall(425, 8, params) == -1; print(ctypes.get_errno(), flush=True); sys.stdin.readline()\n"
        "fd = libc.syscall(425, 8, params); assert fd >= 0, ctypes.get_errno()\n"
        "assert libc.syscall(426, fd, 0, 0, 0, None, ctypes.c_size_t(8)) == 0"
    )
    with subprocess.Popen(
        ["python3", "-c", code], env=preloaded(directory), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == f"{errno.ENOSYS}\n"
        with Mount(directory):
            program.stdin.write("\n")
            program.stdin.flush()
            assert program.wait(DEADLINE) == 0
