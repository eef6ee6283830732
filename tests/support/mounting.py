"""A daemon of the real command line on a directory of its own, for tests."""

import contextlib
import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
URINGFS = (  # the command, of this tree
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from uringfs.__main__ import main; sys.exit(main())",
)
AS_NOBODY = (  # runs a command; the checkout may lie in root's home
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
BACKEND = os.environ.get("URINGFS_BACKEND", "auto")  # of every mount that does not ask for one
DEADLINE = 30.0  # seconds for anything that ought to take moments
MNT_DETACH = 2


def _tree_shown() -> str:
    """Commands for a mount namespace of one's own: a checkout in a directory that others may not search (root's
    home) is where it was, and that directory has nothing else in it. /mnt is at their disposal."""
    closed = [directory for directory in reversed(ROOT.parents) if not directory.stat().st_mode & 0o001]
    if not closed:
        return ""
    tree, cover = shlex.quote(str(ROOT)), shlex.quote(str(closed[0]))
    shown = f"mkdir /mnt/tree; mount --bind {tree} /mnt/tree; mount -t tmpfs -o mode=755 none {cover}; "
    return shown + f"mkdir -p {tree}; mount --move /mnt/tree {tree}; "


ORDINARY = (  # runs a command as nobody, without any capability, where /dev/fuse is everybody's, as udev makes it
    *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
    "mount -t tmpfs none /mnt; mknod -m 666 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse; "
    f"{_tree_shown()}umount -l /mnt; "
    'exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all "$@"',
    "sh",
)


def until(condition: Callable[[], object], what: str | Callable[[], str], deadline: float = DEADLINE) -> None:
    """Wait for a condition nobody announces; AssertionError after the deadline, with what is called then."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.005)


def is_mounted(path: Path) -> bool:
    """By mountinfo: asking the mount itself would hang with its daemon."""
    with open("/proc/self/mountinfo") as lines:
        return any(line.split()[4] == str(path) for line in lines)


class Mount:
    """Serving once constructed. `with` ends it, and always leaves neither mount nor process."""

    def __init__(
        self,
        path: Path,
        *args: str,
        command: tuple[str, ...] = (),
        script: Path = ROOT / "mount.py",
        ready: Callable[[], bool] | None = None,
    ) -> None:
        """args: to the script behind the directory. command: what to run it by (setpriv ...). ready: that it
        serves, where that is not in its log."""
        self.path = path.resolve()
        self._ready = ready or (lambda: "serving rings" in self.log())
        with contextlib.suppress(FileExistsError):  # asking what it is would ask a dead daemon's mount
            self.path.mkdir()
        self.log_path = self.path.with_name(self.path.name + ".log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*command, sys.executable, str(script), str(self.path), "--backend", BACKEND, *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        try:
            until(self._serving_or_ended, f"{self.path} to be served; log: {self.log()}")
            assert self.process.poll() is None, f"the daemon ended: {self.log()}"
        except BaseException:
            self.stop()
            raise

    def _serving_or_ended(self) -> bool:
        return self.process.poll() is not None or self._ready()

    @property
    def backend(self) -> str:
        """passthrough or pagecache"""
        return re.search(r"serving rings; backend (\w+)", self.log())[1]  # type: ignore[index]

    @property
    def pid(self) -> int:
        return self.process.pid

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def assert_clean_log(self) -> None:
        """Nothing the daemon itself calls an error, and no traceback."""
        bad = [line for line in self.log().splitlines() if " ERROR " in line or "Traceback" in line]
        assert not bad, self.log()

    def stop(self) -> int:
        """SIGTERM; the exit status. Whatever happens nothing is left."""
        try:
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(DEADLINE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if is_mounted(self.path):
                ctypes.CDLL(None).umount2(os.fsencode(self.path), MNT_DETACH)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = self.stop()
        if kind is None:
            assert status == 0, self.log()
            assert not is_mounted(self.path)
            self.assert_clean_log()


def inside(mount: Mount) -> list[str]:
    """A prefix that runs a command in the namespaces of a rootless daemon, as who it is."""
    into = ["nsenter", f"--target={mount.pid}", "--user", "--mount", "--setuid=0", "--setgid=0"]
    return ["setpriv", "--clear-groups", *into]


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory other users reach, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="uringfs-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)
