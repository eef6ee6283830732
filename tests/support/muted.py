"""A FUSE file system of one file, `file`, whose server does not answer when it is closed (FUSE_FLUSH). As root."""

import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.mounting import DEADLINE
from tests.support.paths import must

CONTENT = b"of a server\n"
FORGET, FLUSH, INTERRUPT, BATCH_FORGET = 2, 25, 36, 42
LOOKUP, GETATTR, OPEN, READ, RELEASE, INIT, OPENDIR = 1, 3, 14, 15, 18, 26, 27
ROOT, FILE = 1, 2
MNT_DETACH = 2
IN_HEADER = struct.Struct("=IIQQIIII")
OUT_HEADER = struct.Struct("=IiQ")
INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
ATTR = struct.Struct("=6Q10I")
ATTR_OUT = struct.Struct("=QII")
ENTRY_OUT = struct.Struct("=4Q2I")
OPEN_OUT = struct.Struct("=QIi")
_libc = ctypes.CDLL(None, use_errno=True)


def _attributes(node: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o666
    return ATTR.pack(node, len(CONTENT), 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class Muted:
    """The server, in a thread."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._held: list[int] = []
        self._lock = threading.Lock()
        self._speaks = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def flushes(self) -> int:
        """How many wait for an answer."""
        return len(self._held)

    def speak(self) -> None:
        """From now on, and to those that wait."""
        with self._lock:
            self._speaks = True
            while self._held:
                self._answer(self._held.pop(), b"")

    def end(self) -> None:
        """Nobody has a file of it any more."""
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "somebody has"

    def _answer(self, unique: int, data: bytes, error: int = 0) -> None:
        with suppress(OSError):  # who asked is gone, or the mount
            os.write(self._device, OUT_HEADER.pack(OUT_HEADER.size + len(data), -error, unique) + data)

    def _serve(self) -> None:
        with open(self._device, "rb", 0):
            while (message := self._received()) is not None:
                _, opcode, unique, node, *_ = IN_HEADER.unpack_from(message)
                self._serve_one(opcode, unique, node)

    def _received(self) -> bytes | None:
        while True:
            try:
                return os.read(self._device, 1 << 18)
            except OSError as failure:
                if failure.errno == errno.ENODEV:
                    return None
                if failure.errno != errno.ENOENT:  # who asked is gone
                    raise

    def _serve_one(self, opcode: int, unique: int, node: int) -> None:
        answers = {
            INIT: INIT_OUT.pack(7, 31, 0, 0, 0, 0, 4096, 1, 1, 0, 0),
            LOOKUP: ENTRY_OUT.pack(FILE, 0, 0, 0, 0, 0) + _attributes(FILE),
            GETATTR: ATTR_OUT.pack(0, 0, 0) + _attributes(node),
            READ: CONTENT,
            RELEASE: b"",
            **dict.fromkeys((OPEN, OPENDIR), OPEN_OUT.pack(0, 0, 0)),
        }
        with self._lock:
            if opcode == FLUSH and not self._speaks:
                self._held.append(unique)
            elif opcode == FLUSH or opcode in answers:
                self._answer(unique, answers.get(opcode, b""))
            elif opcode not in (FORGET, BATCH_FORGET, INTERRUPT):
                self._answer(unique, b"", errno.ENOSYS)


@contextmanager
def muted(path: Path) -> Iterator[Muted]:
    """Mounted there. At the end it answers."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    must(_libc.mount(b"muted", os.fsencode(path), b"fuse", 0, options.encode()))
    server = Muted(device)
    try:
        yield server
    finally:
        server.speak()
        must(_libc.umount2(os.fsencode(path), MNT_DETACH))
        server.end()
