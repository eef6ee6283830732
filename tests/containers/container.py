"""podman with runc: containers as a user has them, default seccomp profile included, and one in the background."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

SECONDS = 60.0
INSIDE = "/mnt/uring"  # where a container sees the mount
OPTIONS = ["--runtime", "runc", "run", "--rm", "--interactive", "--network", "none", "--log-driver", "none"]
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
_numbers = itertools.count()


def missing_tools() -> list[str]:
    """Debian's names of what this tier needs and this machine lacks."""
    packages = {"podman": "podman", "runc": "runc", "busybox": "busybox-static", "mmdebstrap": "mmdebstrap"}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [package for tool, package in packages.items() if shutil.which(tool, path=path) is None]


def make_rootfs(root: Path, probe: Path, only_here: str) -> Path:
    """busybox, the probe, one file that is in no other root and one that only root may read."""
    for name in ("bin", "dev", "etc", "mnt/uring", "proc", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin")
    shutil.copy(probe, root / "bin")
    (root / "bin/sh").symlink_to("busybox")
    (root / "etc/only-here").write_text(only_here + "\n")
    (root / "etc/secret").write_text("for root alone\n")
    (root / "etc/secret").chmod(0o600)
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
        directory.chmod(0o755)
    return root


class Container:
    """A running container: `with Container(...) as c`, stdin to feed, output when it has ended."""

    def __init__(
        self, rootfs: Path, mount: Path | None, *program: str, user: str = "0:0", options: Sequence[str] = ()
    ) -> None:
        self.name = f"uringfs-test-{os.getpid()}-{next(_numbers)}"
        command = ["podman", *OPTIONS, *LIMITS, "--name", self.name, "--user", user]
        volume = ["-v", f"{mount}:{INSIDE}"] if mount is not None else []
        self.command = [*command, *options, *volume, "--rootfs", str(rootfs), *program]

    def __enter__(self) -> "Container":
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.podman("kill", self.name)
            self.process.communicate(timeout=SECONDS)
        self.podman("rm", "--force", "--ignore", self.name)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    @staticmethod
    def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)

    def kill(self) -> None:
        done = self.podman("kill", self.name)
        assert done.returncode == 0, done.stderr

    def finish(self, stdin: str = "") -> tuple[int, str, str]:
        """Exit status, output, errors."""
        out, err = self.process.communicate(stdin, timeout=SECONDS)
        return self.process.returncode, out, err


def run(
    rootfs: Path, mount: Path, *program: str, user: str = "0:0", options: Sequence[str] = (), stdin: str = ""
) -> str:
    """The output of a container that has to succeed."""
    with Container(rootfs, mount, *program, user=user, options=options) as container:
        status, out, err = container.finish(stdin)
    assert status == 0, out + err
    return out


def values(output: str) -> dict[str, str]:
    """The probe's name=value lines."""
    return dict(line.split("=", 1) for line in output.splitlines())
