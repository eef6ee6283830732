"""Where lines go: a descriptor that may be full at times. What does not fit is lost and counted, by whole lines,
and writing goes on when there is room again."""

import errno
import os
import stat
from collections.abc import Sequence

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PIECE = 1 << 16


class Sink:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self.lost = 0
        """Lines."""

    def write(self, lines: Sequence[str]) -> None:
        """OSError of what is no lack of room."""
        data = [line.encode("utf-8", "surrogateescape") for line in lines]
        for start in range(0, len(data), 256):
            self._some(data[start : start + 256])

    def _all(self, data: bytes) -> int:
        """How much of it was written before there was no more room."""
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done : done + PIECE])
        except OSError as error:
            if error.errno not in FULL:
                raise
        return done

    def _some(self, lines: list[bytes]) -> None:
        done = self._all(b"".join(lines))
        kept = 0
        for place, line in enumerate(lines):
            if kept + len(line) > done:
                self.lost += len(lines) - place
                self._cut(done - kept)
                return
            kept += len(line)

    def _cut(self, size: int) -> None:
        """Take the last bytes back: half a line. Only a file gives them."""
        if size and self._regular:
            end = os.lseek(self._fd, -size, os.SEEK_CUR)
            os.ftruncate(self._fd, end)
