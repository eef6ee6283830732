"""pip install in userlands that have nothing but Debian, as root and as an ordinary user: from a wheel and from an
sdist, on each one's Python, with each one's compiler, libc and kernel headers.

Their Pythons are 3.11, 3.13 and 3.14."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import image as images
import pytest
from container import LIMITS

from tests.support.package import sdist
from uringfs import __version__

pytestmark = pytest.mark.timeout(900)  # packages are fetched, pyfuse3 is compiled
USER = "1000:1000"
RELEASED = ("bookworm", "trixie")
SETUP = "import ctypes; print(ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120)))"
"""Prints the descriptor of a ring, or -1."""
CLIENT = "from uringfs.client import Ring, nop; r = Ring({!r}, 8); r.queue(nop(5)); print(r.submit(wait=1))"


class Userland:
    """A running container with what mounting takes and no profile: ordinary users have there what a host gives."""

    def __init__(self, root: Path, package: Path, suite: str) -> None:
        self.suite = suite
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
        done = subprocess.run(command, capture_output=True, text=True, timeout=images.BUILDING)
        assert done.returncode == 0, f"{script}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    @property
    def has_no_custom_io(self) -> bool:
        """Its libfuse is one that no daemon of ours can use; not on a release that is out."""
        found = "grep -q 'custom io is not enabled' /usr/lib/*/libfuse3.so.* && echo yes || true"
        return self.run(found) == "yes\n" and self.suite not in RELEASED

    def stop(self) -> None:
        subprocess.run(["podman", "rm", "--force", "--time", "0", self.name], capture_output=True, check=False)


@pytest.fixture(scope="module", params=[*RELEASED, "forky"])
def userland(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Userland]:
    home = tmp_path_factory.mktemp("userland")
    package = sdist(home)
    root = images.unpacked(request.param, f"{images.IN_BASE},{images.TO_BUILD}", home, "apt")
    made = Userland(root, package, request.param)
    try:
        made.run(f"cp /package/{package.name} /srv; chmod 644 {made.package}")
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
