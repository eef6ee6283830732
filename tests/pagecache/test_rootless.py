"""What an ordinary user gets: programs run without a mount; and what a daemon without rights over others says."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import probe
from tests.support.mounting import AS_NOBODY, DEADLINE, ROOT, URINGFS, Mount, until

RUN = (*URINGFS, "run")
REFUSED = ("sh", "-ec", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh")


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="uringfs-rootless-") as directory:
        os.chmod(directory, 0o755)
        yield probe.build(Path(directory) / "probe")


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=DEADLINE, cwd="/", check=False
    )


@pytest.mark.parametrize("mode", ["trap", "notify"])
def test_a_program_without_any_mount(ordinary: tuple[str, ...], program: Path, mode: str) -> None:
    done = run(*ordinary, *RUN, "--trace-calls", "--mode", mode, "--", program, "one_nop")
    assert done.returncode == 0, done.stderr
    assert "io_uring_setup(" in done.stderr
    assert "io_uring_enter(" in done.stderr


def test_it_is_who_it_was(ordinary: tuple[str, ...]) -> None:
    script = "id -u; id -g; grep CapEff /proc/self/status; echo $((1 << 10)); kill -TERM $$"
    plain, ours = run(*ordinary, "sh", "-c", script), run(*ordinary, *RUN, "--", "sh", "-c", script)
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode), ours.stderr
    assert "CapEff:\t0000000000000000" in ours.stdout


def test_what_it_makes_is_its_own(ordinary: tuple[str, ...], program: Path) -> None:
    path = program.parent / "public"
    path.mkdir()
    path.chmod(0o777)
    assert run(*ordinary, *RUN, "--", "touch", path / "file").returncode == 0
    assert (path / "file").stat().st_uid == 65534


def test_no_setuid_program_gains_anything(ordinary: tuple[str, ...], program: Path) -> None:
    setuid = program.parent / "setuid-id"
    setuid.write_bytes(Path("/usr/bin/id").read_bytes())
    setuid.chmod(0o755 | stat.S_ISUID)
    done = run(*ordinary, *RUN, "--mode", "notify", "--", setuid, "-u")
    assert "0" not in done.stdout.split()


def test_nothing_is_left(ordinary: tuple[str, ...], tmp_path: Path) -> None:
    directory = tmp_path / "tmp"
    directory.mkdir()
    for parent in (directory, *list(directory.parents)[:3]):
        parent.chmod(parent.stat().st_mode | 0o777 if parent == directory else parent.stat().st_mode | 0o755)
    done = run(*ordinary, "env", f"TMPDIR={directory}", *RUN, "--", "ls", directory)
    assert done.stdout.startswith("uringfs-run-"), done.stderr
    until(lambda: not os.listdir(directory), "the instance to be gone")


def test_where_there_are_no_user_namespaces(ordinary: tuple[str, ...]) -> None:
    limit = ("unshare", "--user", "--map-root-user", *REFUSED, "setpriv", "--bounding-set=-sys_admin")
    done = run(*limit, "--inh-caps=-sys_admin", *RUN, "--", "true")
    assert done.returncode == 125
    assert done.stderr.startswith("uringfs run: no user namespace is to be had here (")
    assert len(done.stderr.splitlines()) == 1


def test_processes_out_of_reach_are_told_so() -> None:
    """A daemon with no rights over other users' processes: as in a mount by fusermount3 with allow_other."""
    powerless = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
    client = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from uringfs.client import Ring; Ring(sys.argv[1], 4)"
    )
    with tempfile.TemporaryDirectory(prefix="uringfs-pagecache-") as directory:
        os.chmod(directory, 0o755)
        options = ("--backend", "pagecache", "-o", "allow_other")
        with Mount(Path(directory) / "mnt", *options, command=powerless) as mount:
            (mount / "name").touch()
            (mount / "name").chmod(0o666)
            for _ in range(2):
                done = run(*AS_NOBODY, sys.executable, "-c", client, mount / "name")
                assert "PermissionError" in done.stderr, done.stderr
            said = "the daemon may not reach memory and files of this process of user 65534"
            assert said in (mount / "name").read_text()
            assert mount.log().count(said) == 1
