"""The image: what can be done with it, each way that docs/deploy.md shows."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from container import INSIDE, SECONDS, run, values
from image import RUN

from tests.support.mounting import URINGFS, is_mounted, open_directory, until
from tests.support.probe import build
from uringfs import __version__

pytestmark = pytest.mark.timeout(600)  # it is built
FUSE = ("--device", "/dev/fuse", "--cap-add", "SYS_ADMIN")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a static program that knows nothing of uringfs."""
    home = tmp_path_factory.mktemp("static")
    build(home / "probe", "-static")
    return home


def said(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_the_command(image: str) -> None:
    assert said(*RUN, image, "--version").stdout == f"uringfs {__version__}\n"
    config = said(*RUN, image, "config").stdout
    assert {"library", "profile", "units", "man"} <= {line.split(":")[0] for line in config.splitlines()}


def test_without_any_right(image: str) -> None:
    """As engines start it by default: doctor says what to add."""
    done = said(*RUN, image, "doctor")
    assert done.returncode == 1
    assert "--device /dev/fuse" in done.stdout
    assert "--cap-add SYS_ADMIN" in done.stdout


def test_a_program_and_its_daemon_in_one_container(image: str) -> None:
    """Under the default profile, which refuses io_uring."""
    call = "import ctypes; print(ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)))"
    program = ("python3", "-c", call)
    assert said(*RUN, "--entrypoint", "python3", image, *program[1:]).stdout == "-1\n"
    done = said(*RUN, *FUSE, image, "run", "--trace-calls", "--", *program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2
    assert "io_uring_setup(8, " in done.stderr
    done = said(*RUN, *FUSE, image, "doctor")
    assert done.returncode == 0
    assert "note   kcmp" in done.stdout
    assert "ok     kcmp" in said(*RUN, *FUSE, "--cap-add", "SYS_PTRACE", image, "doctor").stdout


def test_a_static_program_there(image: str, static: Path) -> None:
    """Notify loses to the profile; without one it is as on a host."""
    where = ("-v", f"{static}:/static:ro")
    done = said(*RUN, *FUSE, *where, image, "run", "--", "/static/probe", "one_nop")
    assert done.returncode == 125
    assert "another seccomp filter here refuses io_uring first" in done.stderr
    unconfined = ("--security-opt", "seccomp=unconfined")
    done = said(*RUN, *FUSE, *unconfined, *where, image, "run", "--", "/static/probe", "one_nop")
    assert (done.returncode, done.stdout) == (0, "a nop\n"), done.stderr


@contextmanager
def shared_directory() -> Iterator[Path]:
    """What is mounted below it by others is seen here, too."""
    with open_directory() as home:
        subprocess.run(["mount", "--bind", home, home], check=True)
        subprocess.run(["mount", "--make-shared", home], check=True)
        try:
            yield home
        finally:
            subprocess.run(["umount", "--recursive", home], check=True)


def test_a_daemon_in_a_container_for_all_others(image: str, rootfs: Callable[[str], Path], tmp_path: Path) -> None:
    """For the host and containers as they are, from where it is mounted; `podman stop` unmounts."""
    name = f"uringfs-test-daemon-{os.getpid()}"
    rights = (*FUSE, "--cap-add", "SYS_PTRACE", "--pid", "host")
    with shared_directory() as home, open(tmp_path / "log", "wb") as log:
        mount = home / "mnt"
        mount.mkdir()
        command = [*RUN, "--name", name, *rights, "-v", f"{home}:/shared:rshared", image, "mount", "/shared/mnt"]
        with subprocess.Popen([*command, "-o", "allow_other"], stderr=log) as daemon:
            try:
                until(lambda: said(*URINGFS, "status", "-q", mount).returncode == 0, "it to serve", SECONDS)
                for user in ("0:0", "1000:1000"):
                    words = ("/bin/probe", "ring", f"{INSIDE}/new", "/etc/only-here")
                    found = values(run(rootfs("in this one"), mount, *words, user=user))
                    assert (found["file"], found["done"]) == ("in this one", "1")
            finally:
                stopped = said("podman", "stop", name)
            assert stopped.returncode == 0, stopped.stderr
            assert daemon.wait(SECONDS) == 0, (tmp_path / "log").read_text()
        assert not is_mounted(mount)
