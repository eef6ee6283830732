"""Rootless podman: the conformance suite in a container that an ordinary user has started, its daemon
within, under the engine's default seccomp profile; and on the kernel in another one, without a profile.

The container has this machine's /usr and this tree. All behaviours run in one: starting it takes longer than most
of them. They take a minute; no other test has a user namespace of many users, or a daemon under a profile."""

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.conformance import BEHAVIOURS, PASSED, SKIPPED
from tests.support.mounting import ROOT, open_directory
from tests.support.record import skipped

pytestmark = pytest.mark.timeout(900)
USER, FIRST_SUBORDINATE = 12399, 1_000_000
NAME = "uringfs-test"
LINKS = ("bin", "sbin", "lib", "lib64")  # into /usr
ETC = ("group", "ld.so.cache", "nsswitch.conf", "passwd")
DIFFERENT = {  # docs/differences.md
    ("closed", None),
    ("readv_pipe", "armed_reads_go_on_in_the_order_of_events"),
    ("names", "links"),  # of one's own descriptors, without CAP_DAC_READ_SEARCH
    ("futex", "a_sleeper_in_shared_memory_is_woken"),
    ("netfuzz", None),  # the kernel counts what it pins against an ordinary user's RLIMIT_MEMLOCK
}
NO_MEMORY = f": -{errno.ENOMEM}\n"
"""In a trace of the kernel's: a ring could not be set up, see test_the_kernel_is_an_oracle()."""
RIGHTS = ("--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE")
WANTED = [one for one in BEHAVIOURS if one not in DIFFERENT and (one[0], None) not in DIFFERENT]
BECOME = """
mount -t tmpfs none /mnt; mknod -m 666 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse; umount -l /mnt
for file in passwd subuid subgid; do touch /etc/$file; mount --bind "$HOME/$file" /etc/$file; done
exec setpriv --reuid={user} --regid={user} --clear-groups "$@"
"""
RUN_ALL = """
if [ "$1" = ours ]; then
    mkdir /tmp/mnt
    "$2" "$3/mount.py" /tmp/mnt --daemon --log-file /results/log
    export URINGFS_DIR=/tmp/mnt
fi
cd /tmp
while read -r family behaviour; do
    to=/results/$family.$behaviour
    status=0
    timeout -k 1 60 "$3/tests/conformance/out/$family" "$behaviour" </dev/null >$to.out 2>$to.err || status=$?
    echo $status >$to.status
done </results/wanted
"""


class User:
    """An ordinary user with subordinate ids, a home and a root file system in it."""

    def __init__(self, home: Path) -> None:
        self.home, self.root = home, home / "root"
        (home / "passwd").write_text(f"{Path('/etc/passwd').read_text()}{NAME}:x:{USER}:{USER}::{home}:/bin/sh\n")
        for name in ("subuid", "subgid"):
            (home / name).write_text(f"{NAME}:{FIRST_SUBORDINATE}:65536\n")
        for name in ("dev", "etc", "proc", "results", "sys", "tmp", "usr", "var/tmp"):
            (self.root / name).mkdir(parents=True)
        for name in LINKS:
            (self.root / name).symlink_to(f"usr/{name}")
        for name in ETC:
            (self.root / "etc" / name).write_bytes(Path("/etc", name).read_bytes())
        (home / "run").mkdir(mode=0o700)
        for path in (home, *home.rglob("*")):
            os.chown(path, USER, USER, follow_symlinks=False)

    def podman(self, results: Path, *words: object) -> None:
        """A container of the user's. Its engine has nothing of ours in its environment."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home / "run")}
        become = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", BECOME.format(user=USER), "sh")
        engine = (
            "podman",
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
            "run",
            "--rm",
            "--network",
            "none",
        )
        tree = (
            "-v",
            "/usr:/usr:ro",
            "-v",
            f"{ROOT}:{ROOT}:ro",
            "-v",
            f"{results}:/results",
            "--log-driver",
            "none",
        )
        command = [*become, *engine, *tree, "--tmpfs", "/tmp:rw,mode=1777", *map(str, words)]
        done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=800)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def user(ordinary: tuple[str, ...]) -> Iterator[User]:
    with open_directory() as home:
        yield User(home)
        # The process that keeps the user's namespaces for further containers
        os.kill(int((home / "run/libpod/tmp/pause.pid").read_text()), signal.SIGKILL)


Results = Callable[[str, str], tuple[int, str, str]]


def ran(user: User, which: str, *rights: str) -> Results:
    """(exit status, trace, errors) of each behaviour, on the kernel or ours."""
    results = user.home / which
    results.mkdir()
    (results / "wanted").write_text("".join(f"{family} {behaviour}\n" for family, behaviour in WANTED))
    os.chown(results, USER, USER)
    interpreter = ROOT / ".venv/bin/python"
    script = ("--rootfs", user.root, "sh", "-ec", RUN_ALL, "sh", which, interpreter, ROOT)
    user.podman(results, *rights, *script)

    def result(family: str, behaviour: str) -> tuple[int, str, str]:
        status, out, err = (results / f"{family}.{behaviour}.{kind}" for kind in ("status", "out", "err"))
        return int(status.read_text()), out.read_text(), err.read_text()

    return result


@pytest.fixture(scope="module")
def ours(user: User, programs: Path) -> Results:
    return ran(user, "ours", *RIGHTS, "--device", "/dev/fuse")


@pytest.fixture(scope="module")
def kernels(user: User, programs: Path, oracle: bool) -> Results | None:
    if not oracle:
        return None
    return ran(user, "kernel", *RIGHTS, "--security-opt", "seccomp=unconfined")


@pytest.mark.parametrize(("family", "behaviour"), WANTED, ids=lambda part: part)
def test_there(ours: Results, kernels: Results | None, family: str, behaviour: str) -> None:
    status, trace, errors = ours(family, behaviour)
    expected = kernels(family, behaviour) if kernels is not None else None
    if reason := skipped(subprocess.CompletedProcess([], status, trace, errors)):
        assert expected is None or expected[0] == SKIPPED, errors
        pytest.skip(reason)
    assert status == PASSED, errors
    if expected is not None and expected[0] == PASSED and NO_MEMORY not in expected[1]:
        assert trace == expected[1]


def test_the_kernel_is_an_oracle(kernels: Results | None) -> None:
    """It counts rings against an ordinary user's RLIMIT_MEMLOCK, and frees them late: some cannot be set up."""
    if kernels is None:
        pytest.skip("no io_uring in this kernel to ask")
    failed = [one for one in WANTED if kernels(*one)[0] not in (PASSED, SKIPPED)]
    assert len(failed) < len(WANTED) // 20, failed


def test_the_daemon_is_one_of_the_page_cache(user: User, ours: Results) -> None:
    log = (user.home / "ours/log").read_text()
    assert "serving rings; backend pagecache" in log
    assert " ERROR " not in log
    assert "Traceback" not in log
