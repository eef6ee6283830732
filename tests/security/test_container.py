"""From within a container that has the mount: a user of it, and its root, which has fewer rights than root."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack import HERE, Arena, declared
from victims import build, give_rights, put_secret

from tests.containers.container import INSIDE, Container, missing_tools
from tests.support.mounting import open_directory

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


def run(arena: Arena, rootfs: Path, user: str, attacks: list[str]) -> None:
    """Each succeeds, as far as the behaviours are concerned: nothing is gained."""
    lines = [f"{attack.replace(attack.split()[-2], '/attacks/' + attack.split()[-2])}" for attack in attacks]
    script = "".join(f"{line} >/dev/null 2>/tmp/out || {{ echo '{line}'; cat /tmp/out; }}\n" for line in lines)
    variables = {"URINGFS_DIR": INSIDE, "SECURITY_DIR": "/attacks", "SECURITY_CHANNEL": "control", "HOME": "/tmp"}
    options = [f"--env={name}={value}" for name, value in variables.items()]
    options += ["--security-opt", "seccomp=unconfined"]  # the attacker takes its child's descriptor: pidfd_getfd
    with Container(rootfs, arena.mount.path, "/bin/sh", "-c", script, user=user, options=options) as container:
        status, out, err = container.finish()
    assert (status, out) == (0, ""), out + err


def test_a_user(arena: Arena, rootfs: Path) -> None:
    run(arena, rootfs, "54321:54321", [*RIGHTS, *ITSELF, *EXECS])


def test_its_root(arena: Arena, rootfs: Path) -> None:
    run(arena, rootfs, "0:0", [*(name for name in RIGHTS if name not in OF_USERS), *ITSELF])
