"""The pool of helpers: real processes, as root, for callers that are children of this one."""

import array
import ctypes
import errno
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.support.children import Child, in_child
from tests.support.paths import children
from uringfs.errors import UringError
from uringfs.host.identity.actor import FEW, LINGER_AWAY, MAX_BUSY, MAX_IDLE, ActorPool, LocalActor
from uringfs.host.identity.credentials import Credentials
from uringfs.host.protocols import Name, Out

AT_FDCWD = -100
USER, GROUP, OTHER = 12340, 12350, 12341
PR_SET_KEEPCAPS, PR_SET_DUMPABLE = 8, 4
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
CAP_CHOWN, CAP_KILL = 0, 5
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
async def pool() -> AsyncIterator[ActorPool]:
    pool = ActorPool()
    yield pool
    pool.close()
    with trio.fail_after(10):
        while not pool.reap():
            await trio.sleep(0.001)


@pytest.fixture
def tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="uringfs-") as name:
        path = Path(name)
        path.chmod(0o777)
        (path / "file").write_text("file")
        os.mkfifo(path / "fifo")
        (path / "fifo").chmod(0o666)
        yield path


def user(uid: int = USER, groups: tuple[int, ...] = (7, 8)) -> None:
    os.setgroups(groups)
    os.setresgid(GROUP, GROUP, GROUP)
    os.setresuid(uid, uid, uid)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


@contextmanager
def caller(pool: ActorPool, become: Callable[[], object] = user) -> Iterator[LocalActor]:
    """An actor of a process that has become somebody, and lives on in the block."""

    def child(parent: Child) -> None:
        become()
        parent.tell()
        parent.expect()

    with in_child(child) as process:
        process.expect()
        yield LocalActor(pool, process.pid, Credentials.of(process.pid))
        process.tell()


async def statx(actor: LocalActor, path: Path | str) -> bytes:
    _, out = await actor.call("statx", AT_FDCWD, Name(os.fsencode(path)), 0, 0x7FF, Out(256))
    return out


async def read(actor: LocalActor, path: Path | str, size: int = 1 << 16) -> bytes:
    fd, _ = await actor.call("openat", AT_FDCWD, Name(os.fsencode(path)), os.O_RDONLY, 0)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def zygotes() -> list[int]:
    return [pid for pid in children(os.getpid()) if _is_zygote(pid)]


def _is_zygote(pid: int) -> bool:
    with suppress(OSError):
        return b"host.helper.zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def helpers() -> list[int]:
    return [
        int(pid)
        for zygote in zygotes()
        for pid in Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
    ]


def fields(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: words.split() for name, _, words in (line.partition(":") for line in lines)}


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition about processes holds, which announce nothing."""
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.002)


async def test_a_helper_is_its_caller_and_nothing_else(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as actor:
        await statx(actor, tree / "file")
        (helper,) = helpers()
        status = fields(helper)
        assert status["Uid"] == [str(USER)] * 4
        assert status["Gid"] == [str(GROUP)] * 4
        assert status["Groups"] == ["7", "8"]
        assert {int(status[name][0], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert status["NoNewPrivs"] == ["1"]


async def test_capabilities_are_the_callers(pool: ActorPool, tree: Path) -> None:
    wanted = 1 << CAP_CHOWN | 1 << CAP_KILL

    def become() -> None:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        user()
        data = (ctypes.c_uint32 * 6)(wanted, wanted, 0, 0, 0, 0)
        number = 126 if os.uname().machine == "x86_64" else 91
        assert libc.syscall(number, (ctypes.c_uint32 * 2)(0x20080522, 0), data) == 0

    with caller(pool, become) as actor:
        await statx(actor, tree / "file")
        status = fields(helpers()[0])
        assert [int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [wanted] * 3
        assert {int(status[name][0], 16) for name in ("CapInh", "CapAmb")} == {0}


async def test_nothing_but_its_socket_is_open_between_calls(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as actor:
        await read(actor, "/proc/self/status")
        await read(actor, tree / "file")
        (helper,) = helpers()
        await until(lambda: len(files_of(helper)) == 1)  # what it has sent it then closes
        assert files_of(helper)[0].startswith("socket:")
        assert os.readlink(f"/proc/{helper}/cwd") == "/"
        assert len(files_of(zygotes()[0])) == 1


def files_of(pid: int) -> list[str]:
    """What it has open, but for libffi's own file: since 3.5 that library keeps it."""
    fds = Path(f"/proc/{pid}/fd")
    return [each for each in map(os.readlink, fds.iterdir()) if "/libffi.so" not in each]


async def test_its_user_may_not_look_into_it(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as actor:
        await statx(actor, tree / "file")
        (helper,) = helpers()

        def look(_: Child) -> None:
            user()
            for name in ("mem", "maps", "environ", "fd", "exe", "cwd", "root", "io"):
                with pytest.raises(PermissionError):
                    os.close(os.open(f"/proc/{helper}/{name}", os.O_RDONLY))
            assert libc.ptrace(16, helper, 0, 0) == -1  # PTRACE_ATTACH

        with in_child(look) as process:
            assert process.wait() == 0
        for name in ("mem", "maps", "fd", "exe", "cwd/file", f"task/{helper}/maps"):
            with pytest.raises(UringError) as error:
                await read(actor, f"/proc/{helper}/{name}")
            assert error.value.errno == errno.EACCES, name


async def test_descriptors_of_a_helpers_directory_lead_nowhere(pool: ActorPool, tree: Path) -> None:
    """Whoever holds them got them as anybody does: of its own files a process is told all."""

    def become() -> None:
        user()
        for fd, number in ((50, "dir"), (51, "mem"), (52, "maps"), (53, "exe"), (54, "fd")):
            name = f"/proc/{target}/" + {"dir": ""}.get(number, number)
            os.dup2(os.open(name, os.O_PATH | (os.O_NOFOLLOW if number == "exe" else 0)), fd)

    with caller(pool) as actor:
        await statx(actor, tree / "file")
        (target,) = helpers()
    with caller(pool, become) as actor:
        await statx(actor, tree / "file")
        assert helpers() == [target]  # it is the one that looks
        names = ("50/mem", "50/maps", "50/fd/0", "50/exe", "51", "52", "53", "54/0", "54/1")
        for name in names:
            with pytest.raises(UringError) as error:
                await read(actor, f"/proc/self/fd/{name}", 16)
            assert error.value.errno in (errno.EACCES, errno.ELOOP, errno.EISDIR), name
        assert f"Pid:\t{target}\n".encode() in await read(actor, "/proc/self/fd/50/status")  # anybody may


async def test_self_is_the_caller(pool: ActorPool, tree: Path) -> None:
    (tree / "self").symlink_to("/proc/self")
    with caller(pool, lambda: (user(), os.chdir(tree))) as actor:
        for name in ("/proc/self/status", "/proc/./self/status", "self/status", "/proc/thread-self/status"):
            assert f"\nPPid:\t{os.getpid()}\n".encode() in await read(actor, name), name
        assert await read(actor, "/proc/self/cwd/file") == b"file"


async def test_self_by_the_number_that_a_procfs_has_for_it(pool: ActorPool, tree: Path) -> None:
    (tree / "outer").mkdir()
    (tree / "inner").mkdir()

    def child(parent: Child) -> None:
        assert libc.unshare(CLONE_NEWNS | CLONE_NEWPID) == 0
        assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        assert libc.mount(b"/proc", os.fsencode(tree / "outer"), None, MS_BIND, None) == 0
        if not (pid := os.fork()):
            assert libc.mount(b"none", os.fsencode(tree / "inner"), b"proc", 0, None) == 0
            parent.tell()
            parent.expect()
            os._exit(0)
        os.waitpid(pid, 0)

    with in_child(child) as process:
        process.expect()
        (pid,) = children(process.pid)
        actor = LocalActor(pool, pid, Credentials.of(pid))
        for name, number in (("inner", 1), ("outer", pid), ("outer/thread-self/../../..", pid)):
            for path in (f"{name}/self/status", f"{name}/thread-self/status"):
                assert f"\nPid:\t{number}\n".encode() in await read(actor, tree / path), path
        process.tell()


async def test_a_root_that_may_not_be_searched(pool: ActorPool, tree: Path) -> None:
    """There is no way home for the helper: it ends, and each call has one of its own."""

    def become() -> None:
        os.chroot(tree / "closed")
        user()

    (tree / "closed").mkdir(mode=0o700)
    with caller(pool, become) as actor:
        for _ in range(3):
            with pytest.raises(UringError) as error:
                await read(actor, "/file")
            assert error.value.errno == errno.EACCES
        await until(lambda: not helpers())


async def test_namespaces_are_joined(pool: ActorPool) -> None:
    """What looks at them: /proc/sys/net."""

    def become() -> None:
        assert libc.unshare(CLONE_NEWNET | CLONE_NEWNS) == 0
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    before = Path("/proc/sys/net/ipv4/ip_forward").read_bytes()
    other = b"0\n" if before == b"1\n" else b"1\n"
    with caller(pool, lambda: (become(), Path("/proc/sys/net/ipv4/ip_forward").write_bytes(other))) as actor:
        assert await read(actor, "/proc/sys/net/ipv4/ip_forward") == other
    assert Path("/proc/sys/net/ipv4/ip_forward").read_bytes() == before


async def test_what_a_mount_namespace_has_mounted_is_busy(pool: ActorPool, tree: Path) -> None:
    (tree / "mounted").mkdir()

    def become() -> None:
        assert libc.unshare(CLONE_NEWNS) == 0
        assert libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        assert libc.mount(b"none", os.fsencode(tree / "mounted"), b"tmpfs", 0, None) == 0

    with caller(pool, become) as actor:
        with pytest.raises(UringError) as error:
            await actor.call("unlinkat", AT_FDCWD, Name(os.fsencode(tree / "mounted")), 0x200)
        assert error.value.errno == errno.EBUSY


async def blocked(pool: ActorPool, nursery: trio.Nursery, actor: LocalActor, fifo: Path, count: int) -> None:
    async def open_it() -> None:
        with suppress(UringError):  # some are killed
            fd, _ = await actor.call("openat", AT_FDCWD, Name(os.fsencode(fifo)), os.O_RDONLY, 0)
            os.close(fd)

    for _ in range(count):
        nursery.start_soon(open_it)
    await until(lambda: _in_fifo() == min(count, MAX_BUSY))


def _in_fifo() -> int:
    found = 0
    for pid in helpers():
        with suppress(OSError):
            found += Path(f"/proc/{pid}/wchan").read_text() in ("wait_for_partner", "fifo_open")
    return found


async def test_who_blocks_all_its_helpers_blocks_nobody_else(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as bad, caller(pool, lambda: user(OTHER)) as good, caller(pool, lambda: None) as root:
        async with trio.open_nursery() as nursery:
            await blocked(pool, nursery, bad, tree / "fifo", 80)
            assert len(helpers()) == MAX_BUSY
            with trio.fail_after(5):
                for actor in (good, root):
                    for _ in range(20):
                        await statx(actor, tree / "file")
            nursery.cancel_scope.cancel()
        await until(lambda: _in_fifo() == 0)


async def test_what_blocks_leaves_room_for_the_same_user(pool: ActorPool, tree: Path) -> None:
    """One helper less than the most that one user may have."""
    with caller(pool) as actor:
        async with trio.open_nursery() as nursery:
            await blocked(pool, nursery, actor, tree / "fifo", MAX_BUSY - 1)
            with trio.fail_after(5):
                for _ in range(20):
                    await statx(actor, tree / "file")
            nursery.cancel_scope.cancel()


async def test_those_who_wait_are_served_in_their_order(pool: ActorPool, tree: Path) -> None:
    done: list[int] = []

    async def one(number: int) -> None:
        await statx(actor, tree / "file")
        done.append(number)

    with caller(pool) as actor:
        async with trio.open_nursery() as nursery:
            await blocked(pool, nursery, actor, tree / "fifo", MAX_BUSY)
            async with trio.open_nursery() as waiting:
                for number in range(10):
                    waiting.start_soon(one, number)
                    await trio.testing.wait_all_tasks_blocked()
                assert done == []
                os.kill(helpers()[0], signal.SIGKILL)  # there is room for one
            assert done == list(range(10))
            nursery.cancel_scope.cancel()


async def test_a_burst_runs_through_a_few(pool: ActorPool, tree: Path) -> None:
    seen: set[int] = set()

    async def one() -> None:
        await statx(actor, tree / "file")
        seen.update(helpers())

    with caller(pool) as actor:
        async with trio.open_nursery() as nursery:
            for _ in range(500):
                nursery.start_soon(one)
    assert FEW <= len(seen) <= MAX_BUSY  # none was ended to start another


async def test_a_users_idle_helpers_are_not_ended_for_anothers(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as actor, caller(pool, lambda: user(OTHER)) as other:
        await statx(other, tree / "file")
        (helper,) = helpers()
        async with trio.open_nursery() as nursery:
            await blocked(pool, nursery, actor, tree / "fifo", MAX_BUSY)
            os.close(os.open(tree / "fifo", os.O_RDWR))
        await until(lambda: len(helpers()) <= MAX_IDLE)
        assert helper in helpers()


async def test_a_helper_that_is_killed_ends_its_own_call(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as actor:
        async with trio.open_nursery() as nursery:

            async def pending() -> None:
                with pytest.raises(UringError) as error:
                    await actor.call("openat", AT_FDCWD, Name(os.fsencode(tree / "fifo")), os.O_RDONLY, 0)
                assert error.value.errno == errno.ECANCELED

            nursery.start_soon(pending)
            await until(lambda: _in_fifo() == 1)
            os.kill(helpers()[0], signal.SIGKILL)
        await statx(actor, tree / "file")
        os.kill(helpers()[0], signal.SIGKILL)
        await until(lambda: not helpers())  # reaped
        await statx(actor, tree / "file")


async def test_a_zygote_that_has_died_is_started_anew(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as actor:
        await statx(actor, tree / "file")
        (zygote,), (helper,) = zygotes(), helpers()
        os.kill(zygote, signal.SIGKILL)
        await until(lambda: not Path(f"/proc/{helper}").exists() or "Z" in fields(helper)["State"])
        await statx(actor, tree / "file")
        assert zygotes() != [zygote]


async def test_a_zygote_that_lags_behind_is_waited_for(pool: ActorPool, tree: Path) -> None:
    with caller(pool) as actor, caller(pool, lambda: user(OTHER)) as other, caller(pool, lambda: None) as root:
        await statx(actor, tree / "file")
        (zygote,) = zygotes()
        assert pool._zygote._sock is not None
        pool._zygote._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0)  # room for a few messages
        os.kill(zygote, signal.SIGSTOP)
        try:
            async with trio.open_nursery() as nursery:
                for who in (actor, other, root):
                    for _ in range(5):
                        nursery.start_soon(statx, who, tree / "file")
                await trio.testing.wait_all_tasks_blocked()
                assert pool._zygote._turn.statistics().tasks_waiting
                os.kill(zygote, signal.SIGCONT)
        finally:
            os.kill(zygote, signal.SIGCONT)


async def test_helpers_of_other_roots_do_not_linger(pool: ActorPool, tree: Path) -> None:
    """They would keep a file system busy."""
    with caller(pool, lambda: os.chroot(tree)) as actor:
        await statx(actor, "/file")
        assert len(helpers()) == 1
        with trio.fail_after(LINGER_AWAY + 5):
            await until(lambda: not helpers())


async def test_a_call_that_is_cancelled_ends_its_stranger_too(pool: ActorPool, tree: Path) -> None:
    """The open of a FIFO by a magic link: one process waits for another."""

    def become() -> None:
        user()
        os.dup2(os.open(tree / "fifo", os.O_PATH), 50)

    def strangers() -> list[int]:
        return [
            int(pid)
            for helper in helpers()
            for pid in Path(f"/proc/{helper}/task/{helper}/children").read_text().split()
        ]

    with caller(pool, become) as actor:
        async with trio.open_nursery() as nursery:
            path = Name(b"/proc/self/fd/50")
            nursery.start_soon(actor.call, "openat", AT_FDCWD, path, os.O_RDONLY, 0)
            await until(strangers)
            (stranger,) = strangers()
            nursery.cancel_scope.cancel()
        await until(lambda: not Path(f"/proc/{stranger}").exists() or "Z" in fields(stranger)["State"])


async def test_the_ids_that_a_user_has_mapped_share_its_helpers(pool: ActorPool) -> None:
    def owned(inside: int) -> Callable[[], None]:
        def become() -> None:
            user()
            assert libc.unshare(CLONE_NEWUSER) == 0
            Path("/proc/self/uid_map").write_text(f"{inside} {USER} 1")

        return become

    with caller(pool) as plain, caller(pool, owned(0)) as one, caller(pool, owned(5)) as other:
        accounts = {actor._identity.account for actor in (one, other)}
        assert accounts == {("owner", USER)}
        assert plain._identity.account not in accounts


async def test_another_namespaces_capabilities_are_not_taken_here(pool: ActorPool) -> None:
    """Credentials that were taken from another process of that id."""

    def become() -> None:
        user()
        assert libc.unshare(CLONE_NEWUSER) == 0

    with in_child(lambda parent: (become(), parent.tell(), parent.expect())) as process:  # type: ignore[arg-type]
        process.expect()
        theirs = Credentials.of(process.pid)
        with pytest.raises(UringError) as error:
            LocalActor(pool, os.getpid(), theirs)
        assert error.value.errno == errno.ESRCH
        process.tell()


async def test_unix_sockets_show_the_caller_and_keep_their_names(pool: ActorPool, tree: Path) -> None:
    (tree / "link").symlink_to("name")
    with caller(pool, lambda: (user(), os.chdir(tree))) as actor:
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            for name, sock in ((b"name", server), (os.fsencode(tree / "full"), client)):
                await actor.call("bind", File(sock), b"\x01\x00" + name, 2 + len(name))
                assert sock.getsockname() == os.fsdecode(name)
            await actor.call("listen", File(server), 5)
            await actor.call("connect", File(client), b"\x01\x00link", 6)
            accepted, _ = server.accept()
            for end in (accepted, client):
                ids = array.array("I", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
                assert ids[1:] == array.array("I", [USER, GROUP])
            accepted.close()
        assert (tree / "full").stat().st_uid == USER


class File:
    """What a call needs of base.File."""

    def __init__(self, sock: socket.socket) -> None:
        self.fileno = sock.fileno
