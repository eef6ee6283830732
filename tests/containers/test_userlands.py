"""pip install in userlands that have nothing but their distribution, as root and as an ordinary user: from a wheel
and from an sdist, on each one's Python, with each one's compiler, libc and kernel headers.

Their Pythons are 3.11, 3.13 (Debian 12, 13), 3.12 (Ubuntu 24.04), and that of Debian's next (3.14 in 2026)."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from container import LIMITS
from image import IN_BASE, TO_BUILD
from release import BUILDING, NEXT, RELEASED, Release

from tests.support.package import sdist, wheel
from uringfs import __version__

pytestmark = pytest.mark.timeout(900)  # packages are fetched, pyfuse3 is compiled
USER = "1000:1000"
UNIT = "abi client clientwork engine faults fs memory native ops register watch"
"""Directories of tests/unit that take seconds together, and the parts where Pythons could differ."""
TESTING = "pytest pytest-trio pytest-timeout hypothesis setuptools"
SETUP = "import ctypes; print(ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)))"
"""Prints the descriptor of a ring, or -1."""
CLIENT = "from uringfs.client import Ring, nop; r = Ring({!r}, 8); r.queue(nop(5)); print(r.submit(wait=1))"


class Userland:
    """A running container with what mounting takes and no profile: ordinary users have there what a host gives."""

    def __init__(self, root: Path, package: Path, release: Release) -> None:
        self.release = release
        self.name = f"uringfs-test-userland-{os.getpid()}"
        rights = ("--device", "/dev/fuse", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
        where = ("--network", "host", "--log-driver", "none", "--security-opt", "unmask=ALL", *LIMITS)
        given = ("-v", f"{package.parent}:/package:ro", "-v", "/etc/ssl/certs:/etc/ssl/certs:ro")
        command = ("podman", "--runtime", "runc", "run", "--detach", "--rm", "--name", self.name)
        self.package = f"/srv/{package.name}"
        done = subprocess.run(
            [*command, *rights, *where, *given, "--rootfs", str(root), "sleep", "infinity"], capture_output=True
        )
        assert done.returncode == 0, done.stderr

    def run(self, script: str, user: str = "0:0") -> str:
        """The standard output of a shell script that must succeed."""
        trusted = [f"--env={name}" for name in os.environ if name.startswith("PIP_") or name == "SSL_CERT_FILE"]
        command = ["podman", "exec", "--user", user, "--env=HOME=/tmp", *trusted, self.name, "sh", "-ec", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILDING)
        assert done.returncode == 0, f"{script}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    @property
    def has_no_custom_io(self) -> bool:
        """Its libfuse is one that no daemon of ours can use; not on a release that is out."""
        found = "grep -q 'custom io is not enabled' /usr/lib/*/libfuse3.so.* && echo yes || true"
        return self.run(found) == "yes\n" and not self.release.is_out

    def stop(self) -> None:
        subprocess.run(["podman", "rm", "--force", "--time", "0", self.name], capture_output=True, check=False)


@pytest.fixture(scope="module", params=[*RELEASED, NEXT], ids=lambda release: release.suite)
def root(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Release, Path]]:
    if request.param is NEXT:
        yield NEXT, request.getfixturevalue("next_root")
        return
    with request.param.unpacked(tmp_path_factory.mktemp("root"), f"{IN_BASE},{TO_BUILD}", "apt") as files:
        yield request.param, files


@pytest.fixture(scope="module")
def userland(root: tuple[Release, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Userland]:
    release, files = root
    home = tmp_path_factory.mktemp("package")
    package = sdist(home)
    if release is RELEASED[0]:
        shutil.copy(wheel(home), home)
    made = Userland(files, package, release)
    try:
        made.run("cp -r /package/. /srv; chmod -R a+rX /srv")
        # of everything a wheel, pyfuse3's too, which PyPI has as an sdist alone
        made.run(f"python3 -m venv /opt/w; /opt/w/bin/pip wheel -q --wheel-dir /wheels {made.package}")
        yield made
    finally:
        made.stop()


def test_a_wheel_as_root(userland: Userland) -> None:
    """The command, the daemon, the header by the userland's compiler, the client."""
    place = "/opt/w/bin"
    userland.run(f"{place}/pip install -q --no-index --find-links /wheels uringfs")
    assert userland.run(f"{place}/uringfs --version") == f"uringfs {__version__}\n"
    mount = f"mkdir -p /mnt/u; {place}/uringfs mount /mnt/u --daemon --log-file /var/log/u -o allow_other"
    if userland.has_no_custom_io:
        assert "without custom I/O" in userland.run(f"({mount}) 2>&1 || test $? = 16")
        return
    userland.run(mount)
    try:
        assert userland.run(f'{place}/python -c "{CLIENT.format("/mnt/u/new")}"') == "1\n"
        flags = f'-Wall -Wextra -Werror -I"$({place}/uringfs config --include)"'
        userland.run(f'cc {flags} -o /tmp/nop "$({place}/uringfs config --examples)/nop.c"; /tmp/nop /mnt/u/new')
        run = f"{place}/uringfs run --mount /mnt/u -- python3 -c"
        assert int(userland.run(f"{run} '{SETUP}'")) > 2
    finally:
        userland.run(f"{place}/uringfs umount /mnt/u")
    assert "Traceback" not in userland.run("cat /var/log/u")


def test_an_sdist_as_a_user(userland: Userland) -> None:
    """No mount, no right: uringfs run has an instance of its own."""
    userland.run("chmod 666 /dev/fuse")  # its own node, with the mode that udev gives it elsewhere
    home = "/tmp/user"
    install = f"{home}/bin/pip install -q --find-links /wheels {userland.package}"
    userland.run(f"python3 -m venv {home}; {install}", USER)
    assert userland.run(f"{home}/bin/uringfs --version", USER) == f"uringfs {__version__}\n"
    if not userland.has_no_custom_io:
        assert int(userland.run(f"{home}/bin/uringfs run -- python3 -c '{SETUP}'", USER)) > 2
    assert "pyfuse3" in userland.run(f"{home}/bin/uringfs doctor || test $? = 1", USER)


IN_NAMESPACES = """
cd /tmp/alone; mkdir mnt
$bin/uringfs mount mnt --daemon --log-file log
$bin/uringfs status mnt
cc -Wall -Wextra -Werror -I"$($bin/uringfs config --include)" -o nop "$($bin/uringfs config --examples)/nop.c"
./nop mnt/new
LD_PRELOAD="$($bin/uringfs config --library)" URINGFS_TRAP_MOUNT=/tmp/alone/mnt python3 -c "$setup"
$bin/uringfs run --mount mnt --trace -o trace -- python3 -c "$setup"
$bin/uringfs umount mnt
cat trace
! grep Traceback log
"""


def test_the_built_wheel_as_a_user(userland: Userland) -> None:
    """What `make wheel` has made here, without a checkout: a mount in namespaces of the user's, its programs, what
    they do; and a program without a mount."""
    if userland.release is not RELEASED[0]:
        return  # it is for the Python that this runs on
    place = "/tmp/alone"
    userland.run("chmod 666 /dev/fuse")
    install = f"{place}/bin/pip install -q --no-index --find-links /wheels /srv/uringfs-*-manylinux*.whl"
    userland.run(f"python3 -m venv {place}; {install}", USER)
    given = f"bin={place}/bin; setup='{SETUP}'; {IN_NAMESPACES}"
    said = userland.run(f"unshare -Urm sh -ec {shlex.quote(given)}", USER)
    assert re.search(r"^/tmp/alone/mnt: serving", said, re.MULTILINE), said
    numbers = [int(line) for line in said.splitlines() if line.lstrip("-").isdigit()]
    assert len(numbers) == 2, said
    assert min(numbers) > 2, said
    assert "io_uring_setup(8, " in said, said
    assert int(userland.run(f"{place}/bin/uringfs run -- python3 -c '{SETUP}'", USER)) > 2


def test_units(userland: Userland) -> None:
    """On its Python, from a checkout."""
    if userland.release is RELEASED[0]:
        return  # the whole suite runs on that Python
    install = "python3 -m venv /opt/t; /opt/t/bin/pip install -q --find-links /wheels pyfuse3 trio " + TESTING
    userland.run(f"{install}; cd /srv/tree; /opt/t/bin/python -W ignore setup.py -q build_ext --inplace")
    paths = " ".join(f"tests/unit/{name}" for name in UNIT.split())
    said = userland.run(f"cd /srv/tree; /opt/t/bin/python -m pytest -q -p no:cacheprovider {paths}")
    assert re.search(r"^[1-9]\d{3} passed", said, re.MULTILINE), said
