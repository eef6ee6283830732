"""The passthrough backend: a memfd per ring, which the kernel maps in the client on our behalf.

Linux >= 6.9 with CAP_SYS_ADMIN (fs/fuse/passthrough.c). The memfd is sparse: the rings lie at 0, the
mirror of the CQ ring at 0x8000000, the SQEs at 0x10000000, and regions at the mmap offsets the kernel has
for them; only touched pages exist.
"""

import errno
import fcntl
import mmap
import os

from uringfs import native
from uringfs.abi.constants import IORING_OFF_PBUF_RING, IORING_OFF_PBUF_SHIFT
from uringfs.errors import UringError
from uringfs.memory.mapped import Daemons, MappedMemory
from uringfs.native import Taker

PBUF_RINGS = (IORING_OFF_PBUF_RING, (1 << 16 << IORING_OFF_PBUF_SHIFT) + (1 << 19))
"""Where buffer rings are: one for each group id, the last as large as any."""


class PassthroughMemory(MappedMemory):
    def __init__(self) -> None:
        super().__init__()
        try:
            self._memfd = os.memfd_create("uringfs", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise UringError.of(error) from error
        try:
            # Sealed: a client reaches the memfd through its mapping's /proc/self/map_files entry, and a
            # truncation from there would be a SIGBUS here.
            fcntl.fcntl(self._memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self.backing_id = native.backing_open(self._memfd)
        except OSError as error:
            os.close(self._memfd)
            raise UringError.of(error) from error

    def _map_pages(self, offset: int, size: int) -> mmap.mmap:
        try:
            if offset + size > os.fstat(self._memfd).st_size:
                os.ftruncate(self._memfd, offset + size)
            return mmap.mmap(self._memfd, size, offset=offset)
        except OSError as error:
            raise UringError.of(error) from error

    def taker(self, *numbers: int) -> Taker | None:
        return self._make_taker(*numbers)

    def _window(self, offset: int, size: int) -> tuple[int, int]:
        # A mapping for each of 65536 groups would cost the daemon as many descriptors.
        return PBUF_RINGS if offset >= IORING_OFF_PBUF_RING else (offset, size)

    def close(self) -> None:
        super().close()
        if self._memfd >= 0:
            os.close(self._memfd)
            self._memfd = -1
        if self.backing_id:
            native.backing_close(self.backing_id)
            self.backing_id = 0


class PassthroughBackend(Daemons):
    name = "passthrough"

    def allocate(self, inode: int) -> PassthroughMemory:
        return PassthroughMemory()


def require_passthrough() -> None:
    """ENOSYS if the session's kernel did not grant passthrough (Linux >= 6.9), EPERM if we may not use it."""
    if not native.passthrough_granted():
        raise UringError(errno.ENOSYS, "the kernel grants no FUSE passthrough: Linux >= 6.9 is needed")
    try:
        PassthroughMemory().close()
    except UringError as error:
        if error.errno != errno.EPERM:
            raise
        wanted = "FUSE passthrough needs CAP_SYS_ADMIN in the initial user namespace"
        raise UringError(errno.EPERM, wanted) from error
