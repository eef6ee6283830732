"""Text requests that wait, on files of which the kernel lets one control write in at a time."""

import os
import threading

import pytest

from tests.support.mounting import Mount, until
from uringfs.client import Ring, nop


def test_a_text_enter_gives_up_and_says_so(roots: Mount) -> None:
    with Ring(roots / "text", 4) as ring:
        fd = os.open(roots / "text", os.O_WRONLY)
        try:
            with pytest.raises(BlockingIOError):  # EAGAIN
                os.write(fd, b"nop user_data=1\nenter wait=2\n")
        finally:
            os.close(fd)
        assert "1 submitted; a text request waits for 1 s on the pagecache backend" in (roots / "text").read_text()
        assert [cqe.user_data for cqe in ring.reap()] == [1]
    os.unlink(roots / "text")


def test_others_are_held_up_for_no_longer(roots: Mount) -> None:
    """Whoever writes to the ring meanwhile gets through, though it is what the text request waits for."""
    with Ring(roots / "text", 4) as ring:

        def wait() -> None:
            with pytest.raises(BlockingIOError):  # EAGAIN
                os.write(ring.fd, b"enter wait=1\n")

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: os.getxattr(roots / "text", "user.uring.waiting") == b"1", "it to wait")
        ring.queue(nop(7))
        assert ring.submit(wait=1) == 1
        thread.join()
        assert [cqe.user_data for cqe in ring.reap()] == [7]
    os.unlink(roots / "text")
