"""A client that executes another program: what it has submitted ends at once, though others have the ring."""

import errno
import os

from tests.support.mounting import Mount
from tests.support.others import Stepper
from uringfs.abi.constants import IOSQE_IO_LINK, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring, nop

POLL_ADD, POLLIN = OPCODES.index("POLL_ADD"), 1


def test_exec_ends_what_pends(mount: Mount) -> None:
    read, write = os.pipe()
    with Ring(mount / "new", 8) as ring:

        def submit() -> None:
            ring.queue(Sqe(POLL_ADD, fd=read, user_data=1, rw_flags=POLLIN))
            ring.readv(read, [bytearray(8)], user_data=2, flags=IOSQE_IO_LINK)
            ring.queue(nop(3))
            ring.submit()

        stepper = Stepper(submit)
        try:
            assert ring.ready() == 0
            stepper.exec()
            found = sorted((cqe.user_data, cqe.res) for cqe in (ring.wait() for _ in range(3)))
            assert found == [(1, -errno.ECANCELED), (2, -errno.ECANCELED), (3, -errno.ECANCELED)]
        finally:
            stepper.close()
        ring.queue(nop(4))  # the ring is well, and others' may go on
        ring.submit(wait=1)
        assert ring.wait().user_data == 4
    os.close(read)
    os.close(write)
