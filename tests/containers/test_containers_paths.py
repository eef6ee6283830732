"""Requests about paths in containers: each does what the system call does for the same process.

paths.c does everything twice, by system calls and through a ring, and fails at the first difference. It is
run as whom containers run things as, on the container's root, a volume and a tmpfs.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from container import INSIDE, run

ROOT, USER = "0:0", "1000:1000"
GROUP = 4242
MAPPED = 100_000
"""Where the ids of a user namespace begin outside."""
USER_NAMESPACE = ("--uidmap", f"0:{MAPPED}:65536", "--gidmap", f"0:{MAPPED}:65536")
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID")
DIRECTORIES = ("/work", "/mnt/volume", "/mnt/tmpfs")
OPERATIONS = {
    *("OPENAT", "OPENAT2", "CLOSE", "STATX", "RENAMEAT", "UNLINKAT", "MKDIRAT", "SYMLINKAT", "LINKAT"),
    *("SETXATTR", "FSETXATTR", "GETXATTR", "FGETXATTR"),
}


def given(directory: Path, first_id: int) -> None:
    """Files of several owners, which are not the program's to make."""
    (directory / "given").mkdir(parents=True)
    for name, uid, gid, mode in (
        ("root", 0, 0, 0o600),
        ("user", 1000, 1000, 0o600),
        ("group", 0, GROUP, 0o660),
        ("closed", 1000, 1000, 0),
        ("public", 0, 0, 0o644),
        ("sgid/", 0, GROUP, 0o2777),
        ("sticky/", 0, 0, 0o1777),
        ("sticky/root", 0, 0, 0o666),
    ):
        path = directory / "given" / name
        path.mkdir() if name.endswith("/") else path.write_text(name)
        os.chown(path, first_id + uid, first_id + gid)
        path.chmod(mode)
    os.chown(directory, first_id, first_id)
    directory.chmod(0o777)


@pytest.mark.parametrize(
    ("user", "options"),
    [
        pytest.param(ROOT, (), id="root"),
        pytest.param(USER, (), id="user"),
        pytest.param(USER, ("--group-add", str(GROUP)), id="user-with-a-group"),
        pytest.param(ROOT, tuple(f"--cap-drop={name}" for name in CAPABILITIES), id="root-without-capabilities"),
        pytest.param(ROOT, ("--privileged",), id="privileged"),
        pytest.param(ROOT, ("--read-only",), id="read-only"),
        pytest.param(ROOT, USER_NAMESPACE, id="root-of-a-user-namespace"),
        pytest.param(USER, USER_NAMESPACE, id="user-of-a-user-namespace"),
    ],
)
def test_paths(
    programs: Path,
    rootfs: Callable[[str], Path],
    mount: Path,
    scratch: Path,
    user: str,
    options: tuple[str, ...],
) -> None:
    first_id = MAPPED if options == USER_NAMESPACE else 0
    root, volume = rootfs("only in this container"), scratch / "volume"
    shutil.copy(programs / "paths", root / "bin")
    if first_id:
        for path in (root, *root.rglob("*")):
            os.chown(path, first_id, first_id, follow_symlinks=False)
    given(root / "work", first_id)
    given(volume, first_id)
    where = ["-v", f"{volume}:/mnt/volume", "--tmpfs", "/mnt/tmpfs:rw,mode=0777"]
    directories = [name for name in DIRECTORIES if "--read-only" not in options or name != "/work"]
    environment = ["-e", f"URINGFS_DIR={INSIDE}", "-e", f"DIRS={' '.join(directories)}"]
    out = run(root, mount, "/bin/paths", "paths", user=user, options=[*where, *environment, *options])
    lines = [line.split() for line in out.splitlines()]
    done = {words[-2].rstrip(":") for words in lines if words and words[-1].isdecimal()}
    assert done >= OPERATIONS
    assert all([directory] in lines for directory in directories)
