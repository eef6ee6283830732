"""fusewire on a real mount of fusewire_fs.py: the hooks, passthrough mappings, interrupts, sessions.

Clients that may block are processes of their own, and a timer aborts the connection of a mount that lives
longer than a minute: nothing here can wait longer.
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("fusewire_fs.py")
TIMEOUT = 30
MNT_FORCE = 1
FUSE_WRITE, FUSE_POLL = 16, 40


class Mount:
    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        path.mkdir()
        self.proc = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(path), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])},
        )
        # Killing the daemon is not enough: it may be waiting for itself, uninterruptibly.
        self.watchdog = threading.Timer(60, self.abort)
        self.watchdog.daemon = True
        self.watchdog.start()
        self.buffer = b""
        self.started = self.event("mounted")

    def event(self, name: str) -> dict[str, Any]:
        """The next line of the daemon's stdout, which must be this event."""
        assert self.proc.stdout is not None
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.proc.stdout], [], [], TIMEOUT)
            chunk = os.read(self.proc.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                self.proc.kill()
                _, err = self.proc.communicate(timeout=TIMEOUT)
                raise AssertionError(f"no {name!r} from the daemon: {err.decode()}")
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        fields: dict[str, Any] = json.loads(line)
        assert fields["event"] == name
        return fields

    @contextlib.contextmanager
    def open(self, name: str, flags: int = os.O_RDWR, mode: int = 0o666) -> Iterator[int]:
        fd = os.open(self.path / name, flags, mode)
        try:
            yield fd
        finally:
            os.close(fd)

    def umount(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True, timeout=TIMEOUT)

    def finish(self) -> str:
        """Unmount and return the daemon's stderr; it must have ended well."""
        self.umount()
        _, err = self.proc.communicate(timeout=TIMEOUT)
        assert self.proc.returncode == 0, err.decode()
        return err.decode()

    def abort(self) -> None:
        """MNT_FORCE aborts the connection: every request, waiting or to come, fails."""
        ctypes.CDLL(None).umount2(os.fsencode(self.path), MNT_FORCE)

    def close(self) -> None:
        self.watchdog.cancel()
        self.abort()
        self.proc.kill()
        self.proc.communicate(timeout=TIMEOUT)
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True, timeout=TIMEOUT)


def seen(fd: int) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(os.pread(fd, 65536, 0))
    return fields


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    mount = Mount(tmp_path / "mnt")
    yield mount
    mount.close()


def test_the_hooks_are_taken_and_passthrough_is_granted(mount: Mount) -> None:
    assert mount.started["taken"] is True
    with mount.open("plain") as fd:
        state = seen(fd)
    assert (state["taken"], state["granted"], state["blocking"]) == (True, True, False)
    assert mount.finish() == ""


def test_current_names_the_calling_thread(mount: Mount) -> None:
    tids: list[int] = []
    with mount.open("ring") as fd:
        os.write(fd, b"main")

        def other() -> None:
            tids.append(threading.get_native_id())
            os.pwrite(fd, b"thread", 0)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(TIMEOUT)
        first, second = seen(fd)["writes"]
    assert first[1:] == [FUSE_WRITE, os.getpid(), os.getuid(), os.getgid(), 0]
    assert second[1:] == [FUSE_WRITE, tids[0], os.getuid(), os.getgid(), 0]
    assert first[0] != second[0]


def test_current_has_the_events_of_a_poll(mount: Mount) -> None:
    with mount.open("ring") as fd:
        poller = select.poll()
        poller.register(fd, select.POLLIN | select.POLLMSG)
        assert poller.poll(TIMEOUT * 1000) == [(fd, select.POLLIN)]
        os.write(fd, b"after")
        state = seen(fd)
    unique, opcode, tid, _, _, events = state["polls"][0]
    assert (opcode, tid) == (FUSE_POLL, os.getpid())
    assert events & (select.POLLIN | select.POLLMSG) == select.POLLIN | select.POLLMSG
    assert not events & select.POLLOUT
    assert state["writes"][-1][5] == 0  # events do not linger
    assert state["writes"][-1][0] != unique


# ---- passthrough ----


def check_shared(fd: int) -> None:
    with mmap.mmap(fd, 1 << 16) as client:
        for i in range(200):
            offset = 4 * (i * 37 % 4096)
            client[offset : offset + 4] = (i + 1).to_bytes(4, sys.byteorder)
            os.pwrite(fd, b"load %d" % offset, 0)
            assert seen(fd)["load"] == i + 1
            os.pwrite(fd, b"store %d %d" % (offset + 16384, 0xFFFF0000 + i), 0)
            assert client[offset + 16384 : offset + 16388] == (0xFFFF0000 + i).to_bytes(4, sys.byteorder)


def test_a_mapping_is_coherent_with_the_memfd(mount: Mount) -> None:
    with mount.open("ring") as fd:
        assert seen(fd)["backing_errno"] is None
        assert seen(fd)["fh"] & 0xFFFFFFFF > 0
        check_shared(fd)
    assert mount.finish() == ""


def test_two_opens_and_a_mapping_past_close_see_the_same_words(mount: Mount) -> None:
    with mount.open("ring") as a:
        with mount.open("ring") as b:
            mapped = mmap.mmap(b, 4096)
        os.pwrite(a, b"store 8 77", 0)
        assert mapped[8:12] == (77).to_bytes(4, sys.byteorder)
        mapped.close()


def test_a_plain_file_is_not_passthrough(mount: Mount) -> None:
    with mount.open("plain") as fd:
        assert seen(fd)["fh"] == 2 << 32
        # direct I/O without passthrough: the kernel refuses shared mappings
        with pytest.raises(OSError) as caught:  # noqa: PT011
            mmap.mmap(fd, 4096)
        assert caught.value.errno == errno.ENODEV


def test_create_answers_with_the_entry_and_a_passthrough_file(mount: Mount) -> None:
    umask = os.umask(0o022)
    os.umask(umask)
    with mount.open("made", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640) as fd:
        st = os.fstat(fd)
        assert st.st_mode == 0o100640 & ~umask
        assert (st.st_uid, st.st_gid, st.st_size, st.st_blocks, st.st_nlink) == (
            os.getuid(),
            os.getgid(),
            65536,
            16,
            1,
        )
        assert (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns) == (1000000001, 2000000002, 3000000003)
        assert st.st_ino == os.stat(mount.path / "made").st_ino == 4
        check_shared(fd)
    with mount.open("made") as again:
        check_shared(again)
    assert mount.finish() == ""


def test_close_sends_no_flush(mount: Mount) -> None:
    with mount.open("plain") as plain:
        for _ in range(5):
            with mount.open("ring"):
                pass
        assert seen(plain)["flushes"] == 0
        os.close(os.dup(plain))
        assert seen(plain)["flushes"] == 1


def test_truncation_does_not_reach_the_memfd(mount: Mount) -> None:
    with mount.open("ring") as fd, mmap.mmap(fd, 65536) as mapped:
        mapped[60000] = 9
        with mount.open("ring", os.O_RDWR | os.O_TRUNC) as other:
            os.ftruncate(other, 0)
            os.truncate(mount.path / "ring", 100)
        assert mapped[60000] == 9
        assert [flags & os.O_TRUNC for flags in seen(fd)["open_flags"]] == [0, 0]  # not ATOMIC_O_TRUNC
        check_shared(fd)


def test_a_closed_backing_id_leaves_open_files_alone(mount: Mount) -> None:
    with mount.open("ring") as fd, mmap.mmap(fd, 4096) as mapped:
        os.pwrite(fd, b"close-backing", 0)
        os.pwrite(fd, b"store 4 5", 0)
        assert mapped[4] + mapped[7] == 5
        # the id is gone: an open that still names it is a mistake the kernel reports
        with pytest.raises(OSError) as caught:  # noqa: PT011
            os.open(mount.path / "ring", os.O_RDWR)
        assert caught.value.errno == errno.EIO


def test_without_wanting_it_there_is_no_passthrough(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "mnt", "--no-passthrough", "--try-backing")
    try:
        with mount.open("ring") as fd:
            state = seen(fd)
        assert (state["taken"], state["granted"]) == (True, False)
        assert state["backing_errno"] == errno.EPERM
        assert mount.finish() == ""
    finally:
        mount.close()


def test_created_entries_and_attributes_are_cached_as_long_as_the_handler_says(mount: Mount) -> None:
    with mount.open("made", os.O_RDWR | os.O_CREAT) as fd:
        for _ in range(3):
            os.fstat(fd)
            os.stat(mount.path / "made")
        state = seen(fd)
        assert (state["getattrs"], state["lookups"]) == (0, 1)
    with mount.open("plain") as fd:  # no timeouts: asked every time
        for _ in range(3):
            os.fstat(fd)
        assert seen(fd)["getattrs"] >= 3


def test_fd_identity_of_a_file_of_this_mount_asks_nothing_of_the_daemon(mount: Mount) -> None:
    with mount.open("plain") as fd:  # its attributes are never cached
        st = os.fstat(fd)
        os.pwrite(fd, b"identify %d" % fd, 0)
        assert seen(fd)["identity"][:4] == [st.st_dev, st.st_ino, st.st_mode, st.st_rdev]


def test_a_wake_up_with_nothing_to_read_is_survived(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "mnt", "--spurious")
    try:
        with mount.open("ring") as fd:
            check_shared(fd)
        assert mount.finish() == ""
    finally:
        mount.close()


# ---- interrupts ----

WRITER = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, True)
fd = os.open(sys.argv[1], os.O_RDWR)
print(libc.write(fd, b"wait", 4), ctypes.get_errno(), flush=True)
"""


def writer(mount: Mount) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(mount.path / "ring")], stdout=subprocess.PIPE, text=True
    )


def test_a_signal_ends_the_blocked_write_with_eintr_and_no_other(mount: Mount) -> None:
    with writer(mount) as first, writer(mount) as second:
        try:
            uniques = {mount.event("parked")["unique"], mount.event("parked")["unique"]}
            assert len(uniques) == 2
            first.send_signal(signal.SIGUSR1)
            out, _ = first.communicate(timeout=TIMEOUT)
            assert out.split() == ["-1", str(errno.EINTR)]
            with mount.open("plain") as fd:  # the daemon goes on, and the second still waits
                assert seen(fd)["taken"] is True
            assert second.poll() is None
            second.send_signal(signal.SIGUSR1)
            out, _ = second.communicate(timeout=TIMEOUT)
            assert out.split() == ["-1", str(errno.EINTR)]
        finally:
            first.kill()
            second.kill()
    assert mount.finish() == ""


def test_sigkill_ends_a_blocked_writer(mount: Mount) -> None:
    with writer(mount) as blocked:
        mount.event("parked")
        blocked.kill()
        assert blocked.wait(TIMEOUT) == -signal.SIGKILL
    assert mount.finish() == ""


def test_an_interrupt_storm_is_answered_once_each(mount: Mount) -> None:
    for _ in range(20):
        with writer(mount) as blocked:
            mount.event("parked")
            for _ in range(5):
                blocked.send_signal(signal.SIGUSR1)
            out, _ = blocked.communicate(timeout=TIMEOUT)
            assert out.split() == ["-1", str(errno.EINTR)]
    assert mount.finish() == ""


# ---- sessions ----


@pytest.fixture
def shortcut(tmp_path: Path) -> Iterator[Mount]:
    mount = Mount(tmp_path / "mnt", "--shortcut")
    yield mount
    mount.close()


def test_the_shortcut_answers_writes(shortcut: Mount) -> None:
    with shortcut.open("ring") as fd:
        assert os.write(fd, b"answer 5") == 5
        with pytest.raises(PermissionError):
            os.write(fd, b"answer %d" % -errno.EPERM)
        assert os.write(fd, b"answer 0") == 0
        state = seen(fd)
    assert state["writes"] == []
    assert state["shortcut"] == [state["fh"], len("answer 0"), os.getpid(), os.getuid(), os.getgid(), True]
    assert shortcut.finish() == ""


def test_what_the_shortcut_leaves_takes_the_usual_way(shortcut: Mount) -> None:
    with shortcut.open("ring") as fd:
        assert os.write(fd, b"store 0 7") == 9
        assert os.write(fd, b"answer 1") == 1
        assert os.write(fd, b"load 0") == 6
        state = seen(fd)
    assert state["load"] == 7
    assert len(state["writes"]) == 2
    assert shortcut.finish() == ""


@pytest.mark.parametrize("command", [b"raise", b"answer 99999999999"])
def test_a_shortcut_that_fails_is_eio_and_is_reported(shortcut: Mount, command: bytes) -> None:
    with shortcut.open("ring") as fd:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            os.write(fd, command)
        assert os.write(fd, b"answer 1") == 1
    assert "shortcut" in shortcut.finish()


def test_a_busy_shortcut_lets_the_loop_go_round(shortcut: Mount) -> None:
    with shortcut.open("ring") as fd:
        done = threading.Event()
        answers: list[int] = []

        def busy() -> None:
            while not done.is_set():
                answers.append(os.write(fd, b"answer 8"))

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            for _ in range(20):
                assert os.write(fd, b"turn") == 4
        finally:
            done.set()
            thread.join(TIMEOUT)
        assert set(answers) == {8}
        assert len(seen(fd)["writes"]) == 20
    assert shortcut.finish() == ""


def test_sessions_follow_each_other_in_one_process(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "mnt", "--sessions", "4")
    try:
        fds = []
        for session in range(4):
            if session:
                assert mount.event("mounted")["taken"] is True
            with mount.open("ring") as fd:
                check_shared(fd)
            with writer(mount) as blocked:
                mount.event("parked")
                blocked.kill()
            mount.umount()
            closed = mount.event("closed")
            assert (closed["errno"], closed["taken"]) == (errno.ENOTCONN, False)
            fds.append(closed["fds"])
        assert len(set(fds)) == 1  # no descriptor is left behind
        _, err = mount.proc.communicate(timeout=TIMEOUT)
        assert (mount.proc.returncode, err) == (0, b"")
    finally:
        mount.close()


def test_a_client_without_the_extension_needs_nothing(mount: Mount) -> None:
    """A mapping made by plain libc calls, in a process that has never loaded this package."""
    code = (
        "import mmap, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(fd, 4096)\n"
        "os.write(fd, b'store 12 258'); assert m[12:16] == (258).to_bytes(4, sys.byteorder)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(mount.path / "ring")], check=True, timeout=TIMEOUT)
