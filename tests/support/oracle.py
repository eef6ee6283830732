"""The kernel's own io_uring, which uringfs is compared with."""

import ctypes
import os

SYS_IO_URING_SETUP = 425


def kernel_has_io_uring() -> bool:
    """URINGFS_REQUIRE_ORACLE=1 (CI): it must. URINGFS_NO_ORACLE=1: as where it is switched off."""
    required = os.environ.get("URINGFS_REQUIRE_ORACLE")
    if os.environ.get("URINGFS_NO_ORACLE"):
        assert not required, "URINGFS_NO_ORACLE against URINGFS_REQUIRE_ORACLE"
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(120)
    fd = libc.syscall(SYS_IO_URING_SETUP, 1, params)
    if fd >= 0:
        os.close(fd)
        return True
    error = os.strerror(ctypes.get_errno())
    assert not required, f"io_uring_setup: {error}"
    return False
