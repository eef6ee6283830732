"""Requests of any opcode in text: any words are a request or refused; the memory they have is theirs alone."""

import errno
import gc
import re
import struct

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.fakehost.files import RegularFile
from tests.unit.fs.codec.test_codec import attempt
from tests.unit.fs.test_filesystem import Mount
from uringfs.abi.constants import OPCODES, SQE_VALID_FLAGS
from uringfs.abi.structs import SQE, Sqe
from uringfs.errors import UringError
from uringfs.fs.codec import sqetext, text
from uringfs.fs.codec.sqetext import SqeCommand, SqeMemory
from uringfs.fs.textmemory import BASE, TextMemory


def parsed(line: str) -> SqeCommand:
    (command,) = text.parse(line.encode())
    assert isinstance(command, SqeCommand)
    assert text.acts(command)
    return command


@pytest.mark.parametrize("name", OPCODES)
def test_every_opcode_by_name(name: str) -> None:
    for word in (f"sqe op={name}", f"sqe op=IORING_OP_{name.lower()}", name, name.lower()):
        assert parsed(f"{word} fd=3 ioprio=1").sqe == Sqe(OPCODES.index(name), fd=3, ioprio=1)


def test_fields_have_the_headers_names() -> None:
    sqe = parsed("splice fd=4 splice_fd_in=3 splice_off_in=-1 off=-1 len=0x10 splice_flags=1 flags=IO_LINK").sqe
    assert sqe == Sqe(30, 4, fd=4, file_index=3, addr=2**64 - 1, off=2**64 - 1, len=16, rw_flags=1)
    assert parsed("read fd=-100").sqe.fd == -100
    assert parsed("read fd=0xffffff9c").sqe.fd == -100
    assert parsed("fsync").sqe.fd == -1


def test_memory() -> None:
    command = parsed(r'write fd=1 data="a b\n\t\r\0\"\\\x41\102" user_data=5')
    data = b'a b\n\t\r\0"\\AB'
    assert command.pieces == (SqeMemory("addr", data, False, ""),)
    assert (command.sqe.len, command.sqe.user_data) == (len(data), 5)
    assert parsed('write data="abc" len=2').sqe.len == 2
    assert parsed('openat path="x"').sqe.fd == -100
    assert parsed('renameat path="x" newpath="y"').sqe.len == 2**32 - 100
    assert parsed('symlinkat path="x" newpath="y"').sqe.len == 0
    assert parsed("timeout ts=1.5").pieces[0].data == struct.pack("<qq", 1, 500_000_000)
    assert parsed("recvmsg fd=1 msgroom=4").pieces == (SqeMemory("addr", bytes(4), True, "msghdr"),)
    assert parsed('write data="\udcff"'.encode("utf-8", "surrogateescape").decode("latin-1")).pieces[0].data


words = st.text(st.sampled_from('abdefhilmnoprstuvwxy="\\ 0123456789-._|'), max_size=40)


@given(verb=st.sampled_from(["sqe op=READ", *(name.lower() for name in OPCODES)]), rest=words)
def test_any_words_are_a_request_or_refused(verb: str, rest: str) -> None:
    outcome = attempt(text.parse, f"{verb} {rest}".encode())
    assert isinstance(outcome, list) or outcome == errno.EINVAL
    for command in outcome if isinstance(outcome, list) else ():
        if isinstance(command, SqeCommand):
            assert len(SQE.pack(*command.sqe)) == 64
            assert command.sqe.flags <= SQE_VALID_FLAGS or "flags" in rest
            assert sum(len(piece.data) for piece in command.pieces) <= 3 * sqetext.MAX_ROOM


def test_a_text_memory_has_what_was_placed_and_zeros_behind() -> None:
    memory = TextMemory()
    one, two = memory.place(b"abc"), memory.place(b"x" * 5000)
    assert (one, two % 8) == (BASE, 0)
    assert memory.read(one, 8) == b"abc" + bytes(5)
    assert memory.read(two, 5001) == b"x" * 5000 + b"\0"
    assert len(memory) == 8192
    assert memory.scatter(b"12345", [(one, 2), (two, 9)]) == 5
    assert bytes(memory.gather([(one, 3), (two, 4)])) == b"12c345x"
    assert memory.writable([(one, 3), (BASE + 8190, 5)]) == 5


@pytest.mark.parametrize("address", [0, BASE - 1, BASE + 4096, BASE + 4090, 2**64 - 1])
def test_there_is_nothing_else_in_it(address: int) -> None:
    memory = TextMemory()
    memory.place(b"abc")
    with pytest.raises(UringError) as caught:
        memory.read(address, 8)
    assert caught.value.errno == errno.EFAULT
    with pytest.raises(UringError):
        memory.write(address, bytes(8))
    assert len(memory.gather([(address, 8)])) == memory.scatter(bytes(8), [(address, 8)]) <= 6
    assert len(memory) == 4096


async def test_requests_on_the_writers_descriptors(nursery: trio.Nursery) -> None:
    mount = Mount(nursery)
    file = RegularFile(b"0123456789")
    mount.thread.fds[3] = file
    fh = mount.new()
    await mount.write(fh, b"setup 4\nread fd=3 off=1 room=4 user_data=1\nread fd=3 off=8 room=4\n")
    del mount.thread.fds[3]  # it is the descriptor of when it was written
    await mount.write(fh, b"enter wait=2\nreap")
    shown = mount.fs.read(fh, 0, 1 << 20).decode()
    assert re.search(r"reaped 2: user_data:\d, res:\d, flags:0; user_data:\d, res:\d,", shown)
    assert 'Data:\tuser_data:1, len:4, "1234"\n' in shown


async def test_what_is_dropped_unread_counts_no_more(nursery: trio.Nursery) -> None:
    """The client moves the tail back: nothing is submitted, and nothing stays counted."""
    mount = Mount(nursery)
    fh = mount.new()
    await mount.write(fh, b"setup 128\n" + b"fsync fd=9\n" * 64)
    assert await mount.refusal(fh, b"fsync fd=9") == errno.EAGAIN
    ring = mount.fs.ring(fh)
    assert ring is not None
    worker = mount.fs._open[fh].inode.payload.context
    worker.attachments.clear()
    gc.collect()
    await mount.write(fh, b"fsync fd=9")
