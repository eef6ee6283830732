"""What a ring has registered (io_uring/rsrc.c, filetable.c): the tables requests index into."""

import errno
from dataclasses import dataclass, field
from typing import Any

from uringfs.errors import UringError
from uringfs.host.base import File


@dataclass(slots=True)
class Resources:
    """One ring's tables. Files in it are held once by the table, once more by each request that uses one."""

    files: list[File | None] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=list)

    def file(self, index: int) -> File:
        """io_file_get_fixed(), held for the caller. EBADF."""
        file = self.files[index] if 0 <= index < len(self.files) else None
        if file is None:
            raise UringError(errno.EBADF, f"no file is registered at {index}")
        file.hold()
        return file

    def close(self) -> None:
        for file in self.files:
            if file is not None:
                file.close()
        self.files.clear()
        self.buffers.clear()
