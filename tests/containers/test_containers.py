"""uringfs bind-mounted into real containers, where the kernel's io_uring is refused."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from container import INSIDE, SECONDS, Container, run, values

from tests.support.mounting import until

ROOT, USER = "0:0", "1000:1000"
everyone = pytest.mark.parametrize("user", [ROOT, USER], ids=["root", "user"])
MakeRootfs = Callable[[str], Path]


def host(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(ring: Path) -> dict[str, str]:
    """The `Name:<tab>value` lines that reading a ring gives."""
    lines = ring.read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def waiters(ring: Path) -> int:
    """Callers in a waiting enter; -1 while the ring is not there or not set up."""
    try:
        return int(status(ring).get("Waiting", "-1"))
    except FileNotFoundError:
        return -1


def until_waiting(ring: Path) -> None:
    until(lambda: waiters(ring) == 1, f"a waiter on {ring.name}")


def probed(uid: str, only_here: str, pid: str) -> dict[str, str]:
    """What `probe ring` prints where all is well."""
    size = len(only_here) + 1
    return {
        "entries": "8,16",
        "uid": uid,
        "nop": "0",
        "file": only_here,
        "position": f"{size} of {size}",
        "eof": "0",
        "child": "written by a child",
        "thread": "written by a thread",
        "pid": f"{pid},{pid}",
        "ebadf": "-9",
        "efault": "-14",
        "done": "1",
    }


def test_outside_kernel_and_uringfs_both_work(mount: Path, probe: Path, tmp_path: Path) -> None:
    assert values(host(str(probe), "kernel")) == {"kernel": "ok"}
    file = tmp_path / "file"
    file.write_text("a file of the host\n")
    found = values(host(str(probe), "ring", str(mount / "new"), str(file)))
    assert found == probed("0", "a file of the host", found["pid"].split(",")[0])


@everyone
def test_default_profile_refuses_the_kernels_io_uring(mount: Path, rootfs: MakeRootfs, user: str) -> None:
    root = rootfs("here")
    assert values(run(root, mount, "/bin/probe", "kernel", user=user))["kernel"] in {"ENOSYS", "EPERM"}
    filtered = run(root, mount, "/bin/busybox", "grep", "Seccomp:", "/proc/self/status", user=user)
    assert filtered.split() == ["Seccomp:", "2"]


@everyone
def test_ring_in_a_container(mount: Path, rootfs: MakeRootfs, user: str) -> None:
    """Files, memory, pipes, threads and pids of the container's own namespaces."""
    root = rootfs("only in this container")
    assert not Path("/etc/only-here").exists()
    out = run(root, mount, "/bin/probe", "ring", f"{INSIDE}/new", "/etc/only-here", user=user)
    assert values(out) == probed(user.split(":")[0], "only in this container", "1")


@everyone
def test_shell_in_a_container(mount: Path, rootfs: MakeRootfs, user: str) -> None:
    """A text request's path is one of the writer's root, opened with the writer's rights."""
    root = rootfs("only in this container")
    name = f"shell-{user.split(':')[0]}"
    script = f"""set -e
        ring={INSIDE}/{name}
        : >$ring
        echo 'setup 8' >$ring
        echo 'readv path=/etc/only-here len=64 user_data=43' >$ring
        echo 'readv path=/etc/secret len=64 user_data=44' >$ring
        echo 'enter wait=2' >$ring
        busybox cat $ring
    """
    out = run(root, mount, "/bin/sh", "-c", script, user=user)
    assert 'user_data:43, len:23, "only in this container\\n"' in out
    assert "user_data:43, res:23," in out
    secret = "user_data:44, res:15," if user == ROOT else "user_data:44, res:-13,"
    assert secret in out
    assert ("for root alone" in out) == (user == ROOT)
    ring = mount / name
    assert (ring.stat().st_uid, ring.stat().st_gid) == tuple(map(int, user.split(":")))


def test_another_users_ring_is_not_opened(mount: Path, rootfs: MakeRootfs) -> None:
    ring = mount / "private"
    host("sh", "-c", f"umask 077; : >{ring}; echo 'setup 8' >{ring}")
    script = f"echo 'nop user_data=1' >{INSIDE}/private"
    with Container(rootfs("x"), mount, "/bin/sh", "-c", script, user=USER) as container:
        code, _, err = container.finish()
    assert code != 0
    assert "Permission denied" in err
    assert "Pending:\t0" in ring.read_text()


def test_two_containers_at_once(mount: Path, rootfs: MakeRootfs) -> None:
    """Both wait at the same time, each on its own ring and standard input; the second is answered first."""
    first = Container(rootfs("first"), mount, "/bin/probe", "wait", f"{INSIDE}/first")
    second = Container(rootfs("second"), mount, "/bin/probe", "wait", f"{INSIDE}/second", user=USER)
    with first, second:
        until_waiting(mount / "first")
        until_waiting(mount / "second")
        assert second.finish("for the second\n")[:2] == (0, "entries=8,16\nstdin=for the second\n")
        assert waiters(mount / "first") == 1
        assert first.finish("for the first\n")[:2] == (0, "entries=8,16\nstdin=for the first\n")


def test_killed_mid_wait(mount: Path, probe: Path, rootfs: MakeRootfs) -> None:
    """The daemon, another container and a client outside go on; the dead one's wait has ended."""
    doomed = Container(rootfs("doomed"), mount, "/bin/probe", "wait", f"{INSIDE}/doomed")
    other = Container(rootfs("other"), mount, "/bin/probe", "wait", f"{INSIDE}/other")
    outside = subprocess.Popen(
        [probe, "wait", mount / "outside"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        with doomed, other:
            for name in ("doomed", "other", "outside"):
                until_waiting(mount / name)
            doomed.kill()
            assert doomed.finish()[0] == 128 + 9
            until(lambda: waiters(mount / "doomed") == 0, "the end of the killed container's wait")
            assert other.finish("still here\n")[1].endswith("stdin=still here\n")
        out, _ = outside.communicate("here too\n", timeout=SECONDS)
        assert (outside.returncode, out.splitlines()[-1]) == (0, "stdin=here too")
    finally:
        outside.kill()
        outside.communicate()
    found = host(str(probe), "ring", str(mount / "new"), str(Path(__file__)))
    assert values(found)["done"] == "1"


def test_what_podman_asks_of_the_mount(mount: Path) -> None:
    """statfs(2) of a volume."""
    assert os.statvfs(mount).f_bsize > 0
