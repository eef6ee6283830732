"""The Python client on a mount: layouts, buffers, descriptors, errors, and the two event loops."""

import asyncio
import errno
import gc
import os
import select
import socket
import subprocess
import sys
from array import array
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.children import Child, in_child
from tests.support.mounting import ROOT, Mount, until
from uringfs.client import (
    BigCqe,
    CancelFlag,
    CqeFlag,
    Msghdr,
    NopFlag,
    Op,
    Ring,
    SetupFlag,
    nop,
    prep,
    result,
    sockaddr,
)
from uringfs.client.asyncio_ring import AsyncioRing
from uringfs.client.request import Request
from uringfs.client.trio_ring import TrioRing


@pytest.fixture
def ring(mount: Mount) -> Iterator[Ring]:
    with Ring(mount / "new", 16) as ring:
        yield ring


def perform(ring: Ring, *requests: Request) -> list[int]:
    """Linked; their results."""
    ring.queue_linked([request.with_user_data(number) for number, request in enumerate(requests)])
    ring.submit(wait=len(requests))
    return [cqe.res for cqe in sorted(ring.wait() for _ in requests)]


LAYOUTS = [
    SetupFlag(0),
    SetupFlag.SQE128,
    SetupFlag.CQE32,
    SetupFlag.SQE128 | SetupFlag.CQE32 | SetupFlag.NO_SQARRAY,
    SetupFlag.SQE_MIXED | SetupFlag.CQE_MIXED,
    SetupFlag.SQ_REWIND | SetupFlag.NO_SQARRAY,
]


@pytest.mark.parametrize("flags", LAYOUTS, ids=lambda flags: str(flags.name))
def test_every_layout_takes_every_request_once(mount: Mount, flags: SetupFlag) -> None:
    with Ring(mount / "new", 4, flags=flags, cq_entries=16) as ring:
        assert ring.flags == flags | SetupFlag.CQSIZE
        for start in range(0, 21, 3):
            for user_data in range(start, start + 3):
                ring.queue(nop(user_data))
            assert ring.submit(wait=3) == 3
            assert [cqe.user_data for cqe in ring.reap()] == [start, start + 1, start + 2]


def test_mixed_sizes(mount: Mount) -> None:
    with Ring(mount / "new", 8, flags=SetupFlag.SQE_MIXED | SetupFlag.CQE_MIXED) as ring:
        for start in range(0, 40, 2):
            ring.queue(prep.nop128(user_data=start))
            ring.queue(prep.nop(user_data=start + 1, nop_flags=NopFlag.CQE32))
            ring.submit(wait=3)
            first, second = ring.reap()
            assert (first.user_data, second.user_data) == (start, start + 1)
            assert not isinstance(first, BigCqe)
            assert isinstance(second, BigCqe)


def test_a_command_of_sqe128(mount: Mount) -> None:
    """SIOCINQ of a socket, whose SQE is 128 bytes long there."""
    listener = socket.create_server(("127.0.0.1", 0))
    two = socket.create_connection(listener.getsockname())
    one, _ = listener.accept()
    with listener, one, two, Ring(mount / "new", 4, flags=SetupFlag.SQE128) as ring:
        two.send(b"12345")
        select.select([one], [], [])
        assert perform(ring, prep.uring_cmd(0, one.fileno()), prep.uring_cmd128(0, one.fileno())) == [5, 5]


def test_transfers_and_names(ring: Ring, tmp_path: Path) -> None:
    path, buffer, found = tmp_path / "file", bytearray(16), bytearray(256)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    assert perform(ring, prep.write(fd, b"hello world", 0), prep.read(fd, buffer, 6, len=5)) == [11, 5]
    assert buffer[:5] == b"world"
    one, two = bytearray(3), bytearray(3)
    assert perform(ring, prep.writev(fd, [b"ab", b"cd"], 0), prep.readv(fd, [one, two], 0)) == [4, 6]
    assert one + two == b"abcdo "
    assert perform(ring, prep.fsync(fd), prep.ftruncate(fd, 4), prep.statx(path, found)) == [0, 0, 0]
    assert int.from_bytes(found[40:48], "little") == 4  # stx_size
    assert perform(ring, prep.fsetxattr(fd, "user.a", b"value"), prep.getxattr(path, "user.a", buffer)) == [0, 5]
    assert perform(ring, prep.mkdirat(tmp_path / "d"), prep.renameat(path, tmp_path / "d/f")) == [0, 0]
    assert perform(ring, prep.symlinkat("f", tmp_path / "d/l"), prep.unlinkat(tmp_path / "d/f")) == [0, 0]
    assert os.listdir(tmp_path / "d") == ["l"]
    os.close(fd)


def test_sockets(ring: Ring) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    fd = perform(ring, prep.socket(socket.AF_INET, socket.SOCK_STREAM))[0]
    assert perform(ring, prep.connect(fd, sockaddr(socket.AF_INET, listener.getsockname()))) == [0]
    peer, size = bytearray(16), array("I", [16])
    accepted = perform(ring, prep.accept(listener.fileno(), addr=peer, addrlen=size))[0]
    assert (bytes(peer[:2]), size[0]) == (b"\2\0", 16)
    one, two = socket.socket(fileno=fd), socket.socket(fileno=accepted)
    buffer, message = bytearray(8), Msghdr([bytearray(2), bytearray(8)])
    assert perform(ring, prep.send(fd, b"hello"), prep.recv(accepted, buffer)) == [5, 5]
    assert perform(ring, prep.sendmsg(accepted, Msghdr([b"ab", b"cd"])), prep.recvmsg(fd, message)) == [4, 4]
    assert perform(ring, prep.shutdown(fd, socket.SHUT_WR), prep.recv(accepted, buffer)) == [0, 0]
    for each in (one, two, listener):
        each.close()


def test_zero_copy_keeps_its_buffer_until_the_notification(ring: Ring) -> None:
    one, two = socket.socketpair()
    with one, two:
        buffer = bytearray(b"data")
        ring.queue(prep.send_zc(one.fileno(), buffer, user_data=5))
        ring.submit(wait=1)
        first = ring.wait()
        assert first.flags & CqeFlag.MORE
        with pytest.raises(BufferError):
            buffer.append(1)
        assert ring.wait().flags & CqeFlag.NOTIF
        buffer.append(1)


def test_events(ring: Ring) -> None:
    reader, writer = os.pipe()
    epoll, found = select.epoll(), bytearray(64)
    ring.queue(prep.poll_add(reader, select.POLLIN, user_data=1))
    ring.queue(prep.read(reader, bytearray(4), user_data=2))
    ring.submit()
    ring.queue(prep.cancel(2, CancelFlag.USERDATA, user_data=3))
    ring.submit(wait=2)
    assert sorted((ring.wait().res, ring.wait().res)) == [-errno.ECANCELED, 0]
    os.write(writer, b"x")
    assert ring.wait() == (1, select.POLLIN, 0)
    assert perform(ring, prep.timeout(0.001)) == [-errno.ETIME]
    assert perform(ring, prep.epoll_ctl(epoll.fileno(), reader, 1, select.EPOLLIN, 7)) == [0]
    assert perform(ring, prep.epoll_wait(epoll.fileno(), found)) == [1]
    os.close(reader)
    os.close(writer)
    epoll.close()


def test_a_link_timeout_ends_what_it_is_linked_to(ring: Ring) -> None:
    reader, writer = os.pipe()
    assert perform(ring, prep.read(reader, bytearray(4)), prep.link_timeout(0.001)) == [
        -errno.ECANCELED,
        -errno.ETIME,
    ]
    os.close(reader)
    os.close(writer)


def test_descriptors_of_this_process(ring: Ring, tmp_path: Path) -> None:
    """Made, at the lowest free number, with the flags asked for; and closed."""
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    flags = os.O_RDWR | os.O_CREAT
    fd, other = (perform(ring, prep.openat(tmp_path / "a", flags | cloexec))[0] for cloexec in (0, os.O_CLOEXEC))
    assert (fd, other) == (lowest, lowest + 1)
    assert (os.get_inheritable(fd), os.get_inheritable(other)) == (True, False)
    assert perform(ring, prep.close(fd), prep.close(other)) == [0, 0]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    ends = array("i", [0, 0])
    assert perform(ring, prep.pipe(ends)) == [0]
    os.write(ends[1], b"x")
    assert os.read(ends[0], 9) == b"x"
    assert perform(ring, prep.close(ends[0]), prep.close(ends[1])) == [0, 0]
    assert perform(ring, prep.openat(tmp_path / "none")) == [-errno.ENOENT]


def test_descriptors_that_come_while_an_enter_waits(ring: Ring) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ring.queue(prep.accept(listener.fileno(), user_data=9))
    ring.submit()
    code = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)"
    with subprocess.Popen([sys.executable, "-c", code, str(listener.getsockname()[1])]) as peer:
        cqe = ring.wait()
        assert cqe.user_data == 9
        os.close(result(cqe))
        assert peer.wait() == 0
    listener.close()


def test_a_child_that_waitid_reaps(ring: Ring) -> None:
    child = subprocess.Popen(["true"])
    info = bytearray(128)
    assert perform(ring, prep.waitid(os.P_PID, child.pid, os.WEXITED, infop=info)) == [0]
    assert int.from_bytes(info[16:20], "little") == child.pid
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)
    child.returncode = 0


def test_one_that_does_not_fetch(mount: Mount) -> None:
    with Ring(mount / "new", 4, fetches=False) as ring:
        assert perform(ring, prep.openat("/dev/null")) == [-errno.EOPNOTSUPP]


def test_buffers_are_held_until_the_cqe_is_reaped(ring: Ring) -> None:
    reader, writer = os.pipe()
    buffer = bytearray(8)
    ring.queue(prep.nop(user_data=7))  # of the same user_data, and complete before
    ring.queue(prep.read(reader, buffer, user_data=7))
    ring.submit(wait=1)
    assert ring.wait().res == 0
    gc.collect()
    with pytest.raises(BufferError):
        buffer.append(1)
    os.write(writer, b"hello")
    assert ring.wait().res == 5
    buffer.append(1)
    assert buffer[:5] == b"hello"
    os.close(reader)
    os.close(writer)


def test_a_ring_that_another_has_set_up(mount: Mount, name: str) -> None:
    flags = SetupFlag.SQE128 | SetupFlag.CQE32
    with Ring(mount / name, 4, flags=flags, cq_entries=32) as one, Ring(mount / name, None) as two:
        assert two.params.cq_entries == 32
        assert two.flags == one.flags
        two.queue(nop(5))
        one.submit(wait=1)
        assert [cqe.user_data for cqe in two.reap()] == [5]


def test_errors_say_what_is_wrong(mount: Mount, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="not a ring of a mount") as caught:
        Ring(tmp_path / "file")
    assert caught.value.errno == errno.EOPNOTSUPP
    with pytest.raises(OSError, match="this ring has not been set up"):
        Ring(mount / name, None)
    with pytest.raises(ValueError, match="NO_MMAP"):
        Ring(mount / name, 4, flags=SetupFlag.NO_MMAP)
    ring = Ring(mount / name, 1)
    with pytest.raises(OSError, match="busy"):
        Ring(mount / name, 1)
    ring.queue(nop())
    with pytest.raises(BlockingIOError, match="the SQ is full"):
        ring.queue(nop())
    assert repr(ring) == f"<Ring '{mount / name}' fd={ring.fd} sq=1/1 cq=0/2 flags=0>"
    ring.close()
    ring.close()
    assert repr(ring) == f"<Ring '{mount / name}' closed>"
    for call in (ring.fileno, ring.submit, ring.reap, ring.queued, ring.pollable, partial(ring.queue, nop())):
        with pytest.raises(ValueError, match="closed ring"):
            call()


def test_it_works_beside_pyfuse3(mount: Mount) -> None:
    code = (
        "import pyfuse3, sys\nfrom uringfs.client import Ring, nop\n"
        f"with Ring({str(mount / 'new')!r}) as ring:\n "
        "ring.queue(nop(3)); ring.submit(1); print(ring.wait().user_data)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_an_sqpoll_ring_is_woken(mount: Mount) -> None:
    with Ring(mount / "new", 4, flags=SetupFlag.SQPOLL, sq_thread_idle=1) as ring:
        for user_data in range(3):
            until(lambda: ring._queues is not None and ring._queues.sq_flags_now() & 1, "the poller to sleep")
            ring.queue(nop(user_data))
            ring.submit(wait=1)
            assert ring.wait().user_data == user_data


# -- event loops


async def serve_one(ring: AsyncioRing | TrioRing, listener: int) -> bytes:
    """Accept, read, answer, close: all by requests."""
    fd, buffer = await ring.perform(prep.accept(listener)), bytearray(16)
    count = await ring.perform(prep.recv(fd, buffer))
    first, second = await ring.perform_linked(prep.send(fd, bytes(buffer[:count]).upper()), prep.close(fd))
    assert (first.res, second.res) == (count, 0)
    return bytes(buffer[:count])


def client_of(port: int) -> "subprocess.Popen[bytes]":
    code = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
        "s.send(b'hello'); sys.stdout.write(s.recv(9).decode() + str(s.recv(9)))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE)


def test_asyncio(mount: Mount) -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with AsyncioRing(mount / "new") as ring:
                server = asyncio.create_task(serve_one(ring, listener.fileno()))
                with client_of(listener.getsockname()[1]) as peer:
                    assert await server == b"hello"
                    assert peer.communicate()[0] == b"HELLOb''"
                with pytest.raises(FileNotFoundError):
                    await ring.perform(prep.openat("/no/such/file"))
                buffer = bytearray(4)
                reading = asyncio.create_task(ring.perform(prep.read(reader, buffer)))
                await asyncio.sleep(0)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                assert ring.ring._held == {}  # nobody uses it any more
                pending = asyncio.create_task(ring.perform(prep.read(reader, buffer)))
                await asyncio.sleep(0)
            with pytest.raises(OSError, match="canceled"):
                await pending
        os.close(reader)
        os.close(writer)

    asyncio.run(main())


async def test_trio(mount: Mount) -> None:
    reader, writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with TrioRing(mount / "new") as ring:
            with client_of(listener.getsockname()[1]) as peer:
                assert await serve_one(ring, listener.fileno()) == b"hello"
                assert peer.communicate()[0] == b"HELLOb''"
            with pytest.raises(FileNotFoundError):
                await ring.perform(prep.openat("/no/such/file"))
            buffer = bytearray(4)
            with trio.move_on_after(0.01) as scope:
                await ring.perform(prep.read(reader, buffer))
            assert scope.cancelled_caught
            buffer.append(1)  # nobody uses it any more
            async with trio.open_nursery() as nursery:
                for _ in range(100):  # more than the ring has entries
                    nursery.start_soon(ring.perform, prep.nop())
    os.close(reader)
    os.close(writer)


async def test_a_ring_whose_daemon_is_gone_ends_its_requests(directory: Path) -> None:
    reader, writer = os.pipe()
    with Mount(directory, "-o", "allow_other") as own:
        async with TrioRing(own / "new") as ring, trio.open_nursery() as nursery:

            async def read() -> None:
                with pytest.raises(OSError, match=r"gone|canceled"):
                    await ring.perform(prep.read(reader, bytearray(4)))

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            assert await trio.to_thread.run_sync(own.stop) == 0
    os.close(reader)
    os.close(writer)


def test_opcodes_are_what_the_daemon_says(ring: Ring) -> None:
    """IORING_REGISTER_PROBE"""
    import ctypes

    probe = ctypes.create_string_buffer(16 + 256 * 8)
    ring.register(8, ctypes.addressof(probe), 256)
    assert probe.raw[0] == max(Op)


def test_a_closed_rings_buffers_stay(mount: Mount) -> None:
    """A child ends without a fault though a read pended at the close."""

    def child(_: Child) -> None:
        reader, _writer = os.pipe()
        with Ring(mount / "new", 4) as ring:
            ring.queue(prep.read(reader, bytearray(1 << 20)))
            ring.submit()
        gc.collect()

    with in_child(child) as process:
        assert process.wait() == 0
