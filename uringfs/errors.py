"""The one internal error. Below the FUSE door every failure is a UringError; fs.operations turns it into
the errno of a FUSE reply, engine into a CQE's negative result."""

import errno as _errno
import os


class UringError(Exception):
    """An errno (positive, as in errno.h) and what to do about it, for the log and for `cat`."""

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(errno, message)
        self.errno = errno
        self.message = message or os.strerror(errno)

    def __str__(self) -> str:
        return f"{_errno.errorcode.get(self.errno, self.errno)}: {self.message}"

    def again(self) -> "UringError":
        """To be raised by who was handed this one: itself would then refer to that frame and be referred to by
        it, a cycle that keeps all the frame has open until the collector comes."""
        return UringError(self.errno, self.message)

    @classmethod
    def of(cls, error: OSError) -> "UringError":
        """The UringError with the errno of an OSError; EIO where that has none."""
        return cls(error.errno or _errno.EIO, error.strerror or str(error))
