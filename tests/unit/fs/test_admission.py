"""Who may write to a ring file: asked before anything is done with what is written."""

import errno
import logging
import os

import pytest
import trio

from tests.fakehost.host import FakeOpening
from tests.unit.fs.test_filesystem import RESULT, SETUP_8, TID, Mount, enter
from uringfs.errors import UringError

STRANGER = 1001


@pytest.fixture
def mount(nursery: trio.Nursery) -> Mount:
    return Mount(nursery)


def as_owner(mount: Mount, uid: int, flags: int) -> int:
    """A descriptor of a named ring of that user."""
    inode = mount.fs.create(b"ring", 0o666, uid, uid)
    return mount.fs.open(inode, TID, flags).fh


@pytest.mark.parametrize("data", [b"setup 8", b"enter", SETUP_8, enter(0), b"\x01", b"nonsense"])
async def test_whom_the_opener_does_not_admit(mount: Mount, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    fh = mount.new()
    opening = mount.host.opener(TID)
    assert isinstance(opening, FakeOpening)
    opening.refused.add(TID)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await mount.refusal(fh, data) == errno.EACCES
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # said once, not to fill a disk
    assert "docs/security.md" in caplog.text
    assert mount.fs.opened(fh).refusals == 3
    assert mount.fs.ring(fh) is None


async def test_one_line_of_the_log_whatever_a_user_opens(mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    opening = mount.host.opener(TID)
    assert isinstance(opening, FakeOpening)
    opening.refused.add(TID)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert await mount.refusal(mount.new(), b"setup 8") == errno.EACCES
    assert len(caplog.records) == 1


async def test_a_descriptor_that_is_read_only_writes_nothing(mount: Mount) -> None:
    fh = mount.fs.open(mount.fs.lookup(b"new", 1000, 1000), TID, os.O_RDONLY).fh
    assert await mount.refusal(fh, b"setup 8") == errno.EACCES


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"enter", errno.EACCES), (b"readv path=/etc/motd len=1", errno.EACCES), (b"nop", 0), (b"reap", 0)],
)
async def test_text_for_a_ring_of_somebody_else(mount: Mount, text: bytes, code: int) -> None:
    fh = as_owner(mount, STRANGER, os.O_RDWR)
    await mount.write(fh, SETUP_8)
    if code:
        assert await mount.refusal(fh, text) == code
    else:
        await mount.write(fh, text)


async def test_a_poller_for_a_ring_of_somebody_else(mount: Mount) -> None:
    """It would go on in the writer's name."""
    fh = as_owner(mount, STRANGER, os.O_RDWR)
    assert await mount.refusal(fh, b"setup 8 flags=SQPOLL") == errno.EACCES
    await mount.write(fh, b"setup 8")


@pytest.mark.parametrize("uid", [1000, STRANGER])
async def test_a_binary_message_to_what_cannot_be_mapped(mount: Mount, uid: int) -> None:
    fh = as_owner(mount, uid, os.O_WRONLY)
    if uid == 1000:
        await mount.write(fh, SETUP_8)
    else:
        assert await mount.refusal(fh, SETUP_8) == errno.EACCES


async def test_the_ring_of_a_supervised_program_takes_no_writes(mount: Mount) -> None:
    fh = mount.new()
    mount.fs.opened(fh).inode.payload.answered = True
    assert await mount.refusal(fh, b"setup 8") == errno.EINVAL
    assert await mount.refusal(fh, SETUP_8) == errno.EINVAL


async def test_the_end_of_a_wait_is_for_the_program_that_entered(mount: Mount) -> None:
    """Its result would be stored in the memory of the next one, wherever the first has said."""
    fh = mount.new()
    await mount.write(fh, SETUP_8)
    assert await mount.refusal(fh, enter(0, wait=1)) == errno.EINPROGRESS
    mount.thread.exec()
    mount.thread.memory.map(RESULT, 4096)
    with pytest.raises(UringError) as caught:
        mount.fs.wait(fh, TID, 1000, 1000)
    assert caught.value.errno == errno.EINVAL
    assert mount.thread.memory.read(RESULT, 8) == bytes(8)
