"""A program that shuts itself in (chroot(2)) and becomes somebody else goes on setting up rings, and has no way
out that it has not natively."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest
from attack import KERNEL, NOTIFY, TRAP, USER, Arena, finished

from uringfs.cli import notify
from uringfs.cli.run import environment

JAILED = """
import ctypes, os, sys
jail, user = sys.argv[1], int(sys.argv[2])
syscall, params = ctypes.CDLL(None).syscall, ctypes.create_string_buffer(120)
os.chroot(jail)
os.chdir("/")
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
rings = [syscall(425, 1, params) for _ in range(2)]
print("a ring" if min(rings) >= 0 else "no ring")
for fd in range(4096):
    for name in ("etc/passwd", "../" * 32 + "etc/passwd"):
        try:
            os.stat(name, dir_fd=fd)
        except OSError:
            continue
        print("out by descriptor", fd)
"""


def jailed(directory: Path) -> list[str]:
    return [sys.executable, "-c", JAILED, str(directory), str(USER)]


@pytest.mark.parametrize("channel", [KERNEL, TRAP, NOTIFY])
def test_no_descriptor_leads_out(arena: Arena, scratch: Path, oracle: bool, channel: str) -> None:
    if channel == KERNEL and not oracle:
        return
    env, preexec = dict(os.environb), None
    if channel == TRAP:
        env |= environment(str(arena.mount.path), str(arena.directory / "trap.so"))
    elif channel == NOTIFY:
        preexec = partial(notify.supervise, str(arena.mount.path))
    done = finished(jailed(scratch), env, preexec)
    assert (done.returncode, done.stdout) == (0, "a ring\n"), done


def test_without_the_right_to_mount(arena: Arena, scratch: Path) -> None:
    """As root of most containers is: rather no ring than a way out."""
    env = os.environb | environment(str(arena.mount.path), str(arena.directory / "trap.so"))
    less = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = finished([*less, *jailed(scratch)], dict(env), None)
    assert (done.returncode, done.stdout) == (0, "no ring\n"), done
    assert "io_uring_setup answers ENOSYS" in done.stderr
