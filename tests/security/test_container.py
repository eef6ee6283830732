"""From within a container that has the mount, or whose profile names the socket of `uringfs listen`: a user of it,
and its root, which has fewer rights than root."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack import CONTROL, HERE, NOTIFY, Arena, declared
from victims import build, give_rights, put_secret

from tests.containers.container import INSIDE, Container, missing_tools
from tests.support.mounting import DEADLINE, URINGFS, Mount, open_directory, until

LATER = "later a_request_that_starts_behind_an_exec"
POLLED = "poller a_request_that_is_queued_behind_the_exec_of_its_thread"
RIGHTS = [f"{name} {behaviour}" for name in ("creds", "procfs") for behaviour in declared(HERE / f"{name}.c")]
EXECS = [f"TAIL={tail} {words}" for words in (LATER, POLLED) for tail in ("splice", "read_fixed", "openat")]
ITSELF = [f"SECURITY_PATH={path} itself an_open" for path in ("/proc/./self/status", "self/exe")]
OF_USERS = ("procfs the_map_of_a_user_namespace", "creds of_sendmsg_with_forged_credentials")
"""What root may do in a container, or only root of no container."""


@pytest.fixture(scope="module")
def rootfs() -> Iterator[Path]:
    """busybox, and the attacks and victims as static programs."""
    assert missing_tools() == []
    with open_directory() as root:
        for name in ("bin", "dev", "etc", "mnt/uring", "proc", "sys", "tmp", "attacks"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        busybox = shutil.which("busybox")
        assert busybox is not None
        shutil.copy(busybox, root / "bin/busybox")
        for name in ("sh", "rm", "cat"):
            (root / "bin" / name).symlink_to("busybox")
        build(root / "attacks", "LDFLAGS=-static")
        put_secret(root / "attacks")
        give_rights(root / "attacks")
        yield root


@pytest.fixture(scope="module")
def listened(daemon: Mount) -> Iterator[Path]:
    """A profile that allows all, but that io_uring is the daemon's."""
    with open_directory() as directory:
        socket, profile = directory / "socket", directory / "seccomp.json"
        names = ["io_uring_setup", "io_uring_enter", "io_uring_register"]
        rules = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]}
        profile.write_text(json.dumps(rules | {"listenerPath": str(socket)}))
        command = [*URINGFS, "listen", "--trace", "--socket", socket, "--mount", daemon.path]
        with open(directory / "calls", "wb") as calls, subprocess.Popen(command, stderr=calls) as process:
            try:
                until(socket.exists, "it to listen")
                yield profile
                assert "io_uring_enter(" in (directory / "calls").read_text()  # it is this that has been tested
            finally:
                process.terminate()
                process.wait(DEADLINE)


def run(arena: Arena, rootfs: Path, user: str, attacks: list[str], profile: Path | None) -> None:
    """Each succeeds, as far as the behaviours are concerned: nothing is gained. profile: None, its calls are
    control writes."""
    lines = [f"{attack.replace(attack.split()[-2], '/attacks/' + attack.split()[-2])}" for attack in attacks]
    script = "".join(f"{line} >/dev/null 2>/tmp/out || {{ echo '{line}'; cat /tmp/out; }}\n" for line in lines)
    variables = {"SECURITY_DIR": "/attacks", "SECURITY_CHANNEL": NOTIFY if profile else CONTROL, "HOME": "/tmp"}
    variables |= {} if profile else {"URINGFS_DIR": INSIDE}
    options = [f"--env={name}={value}" for name, value in variables.items()]
    # unconfined: the attacker takes its child's descriptor, by pidfd_getfd
    options += ["--security-opt", f"seccomp={profile or 'unconfined'}"]
    mount = None if profile else arena.mount.path
    with Container(rootfs, mount, "/bin/sh", "-c", script, user=user, options=options) as container:
        status, out, err = container.finish()
    assert (status, out) == (0, ""), out + err


@pytest.fixture(params=[CONTROL, NOTIFY])
def profile(request: pytest.FixtureRequest) -> Path | None:
    return request.getfixturevalue("listened") if request.param == NOTIFY else None


def test_a_user(arena: Arena, rootfs: Path, profile: Path | None) -> None:
    run(arena, rootfs, "54321:54321", [*RIGHTS, *ITSELF, *EXECS], profile)


def test_its_root(arena: Arena, rootfs: Path, profile: Path | None) -> None:
    run(arena, rootfs, "0:0", [*(name for name in RIGHTS if name not in OF_USERS), *ITSELF], profile)
