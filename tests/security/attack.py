"""How an attack is run: as an ordinary user, on the kernel or by one of the ways there are into a root daemon."""

import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.support.mounting import Mount
from tests.support.temporary import temporary
from uringfs.cli import notify
from uringfs.cli.run import environment

HERE = Path(__file__).parent
USER, SECRETS_GROUP = 54321, 54399
SECRET = "the secret of another\n"  # scene.h
CAPABILITY = "cap_dac_read_search,cap_dac_override,cap_net_raw+ep"
KERNEL, CONTROL, TRAP, NOTIFY = "kernel", "control", "trap", "notify"
CHANNELS = (CONTROL, TRAP, NOTIFY)
TIMEOUT = 60.0
PASSED = 0
PR_SET_DUMPABLE = 4


def as_user(uid: int = USER) -> list[str]:
    """Runs a command as somebody without any right. From root, so that a filter it has needs no no_new_privs."""
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]


def become(uid: int = USER, gid: int = USER, groups: Sequence[int] = ()) -> None:
    """This process, for good. Dumpable again, as it would be behind an exec."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def finished(
    command: list[str], env: dict[bytes, bytes], preexec: Callable[[], None] | None
) -> subprocess.CompletedProcess[str]:
    """Its output goes to files: a process that it leaves would keep a pipe open."""
    with temporary(env) as env, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=preexec,
        )
        try:
            process.wait(TIMEOUT)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(TIMEOUT)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())


class Arena(NamedTuple):
    """A root daemon, and the directory of programs, victims and the secret."""

    mount: Mount
    directory: Path

    def run(
        self, channel: str, program: str, behaviour: str, user: int = USER, **extra: object
    ) -> subprocess.CompletedProcess[str]:
        """To its end; whatever it has started ends with it. channel: how its io_uring is answered."""
        env = {key: value for key, value in os.environb.items() if key != b"URINGFS_DIR"}
        preexec: Callable[[], None] | None = None
        if channel == CONTROL:
            env[b"URINGFS_DIR"] = os.fsencode(self.mount.path)
        elif channel == TRAP:
            env |= environment(str(self.mount.path), str(self.directory / "trap.so"))
        elif channel == NOTIFY:
            preexec = partial(notify.supervise, str(self.mount.path))
        env |= {b"SECURITY_DIR": os.fsencode(self.directory), b"SECURITY_CHANNEL": channel.encode()}
        env |= {os.fsencode(name): os.fsencode(str(value)) for name, value in extra.items()}
        return finished([*as_user(user), str(self.directory / program), behaviour], env, preexec)

    def compare(
        self, channel: str, oracle: bool, program: str, behaviour: str, user: int = USER, **extra: object
    ) -> None:
        """The attack fails on both, with equal traces."""
        if oracle:
            kernel = self.run(KERNEL, program, behaviour, user, **extra)
            assert kernel.returncode == PASSED, report(KERNEL, kernel)
        ours = self.run(channel, program, behaviour, user, **extra)
        assert ours.returncode == PASSED, report(channel, ours)
        if oracle:
            assert ours.stdout == kernel.stdout


def report(where: str, done: subprocess.CompletedProcess[str]) -> str:
    return f"on {where}: exit {done.returncode}\n{done.stderr}--- trace\n{done.stdout}"


def declared(source: Path) -> list[str]:
    """The behaviours of a program: TEST() in its source."""
    lines = source.read_text().splitlines()
    return [line[5:].partition(")")[0] for line in lines if line.startswith("TEST(")]


VICTIM_FD, VICTIM_PAGE, PAGE = 100, 0x200000000, 4096
SECRET_AT, PATH_AT, SPARE_AT = 0, 1024, 3072
"""victim.h"""
PROT_READ_WRITE, MAP_PRIVATE_FIXED = 3, 0x2 | 0x20 | 0x100000


def hold_harmless(secret: Path) -> None:
    """What an attacker has where its victim will have the secret."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
    assert libc.mmap(VICTIM_PAGE, PAGE, PROT_READ_WRITE, MAP_PRIVATE_FIXED, -1, 0) == VICTIM_PAGE
    ctypes.memmove(VICTIM_PAGE + SECRET_AT, b"harmless", 8)
    ctypes.memmove(VICTIM_PAGE + PATH_AT, os.fsencode(secret) + b"\0", len(os.fsencode(secret)) + 1)
    file = os.memfd_create("harmless")
    os.write(file, b"harmless")
    os.dup2(file, VICTIM_FD)
    os.close(file)
