"""What a machine has for uringfs: each check says what it found, and what to do about it."""

import ctypes
import errno
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from uringfs.abi import seccomp
from uringfs.abi.libc import libc
from uringfs.abi.machine import MACHINE, NR
from uringfs.abi.numbers import U32
from uringfs.cli import instance, logs, run
from uringfs.cli.backends import KERNEL, has_capability, kernel_version
from uringfs.cli.mount import DEV_FUSE, MANY_RINGS
from uringfs.cli.program import RunError

OK, NOTE, WRONG = "ok", "note", "wrong"
CAP_SYS_ADMIN, CAP_SYS_PTRACE = 21, 19
ALL_IDS = U32
PARAMS_SIZE = 120  # struct io_uring_params
KCMP_FILE = 0
HELPER = Path("/sbin/mount.fuse.uringfs")
ENGINES = ("podman", "docker", "containerd", "crio", "runc", "crun")


class Finding(NamedTuple):
    """state: ok; note: works, but for what `advice` is about; wrong: nothing can be mounted."""

    check: str
    state: str
    found: str
    advice: str = ""


def kernel() -> Finding:
    release = os.uname().release
    for backend, state in (("pagecache", WRONG), ("passthrough", NOTE)):
        if kernel_version(release) < KERNEL[backend]:
            wanted = ".".join(map(str, KERNEL[backend]))
            return Finding("kernel", state, f"Linux {release}", f"the {backend} backend needs {wanted} or newer")
    return Finding("kernel", OK, f"Linux {release}")


def dev_fuse() -> Finding:
    try:
        mode = os.stat(DEV_FUSE).st_mode
        os.close(os.open(DEV_FUSE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        hint = "modprobe fuse; in a container: --device /dev/fuse"
        return Finding(DEV_FUSE, WRONG, "does not exist", hint)
    except OSError as error:
        hint = "run as root; in a container its device policy may forbid it: --device /dev/fuse"
        return Finding(DEV_FUSE, WRONG, error.strerror or "", hint)
    return Finding(DEV_FUSE, OK, f"mode {mode & 0o7777:04o}")


def capabilities() -> Finding:
    if not has_capability(CAP_SYS_ADMIN):
        hint = "mounting rings takes it: run as root; in a container: --cap-add SYS_ADMIN"
        return Finding("capabilities", WRONG, "no CAP_SYS_ADMIN", hint)
    if not has_capability(CAP_SYS_PTRACE):
        hint = "the daemon reaches its own user's clients only: --cap-add SYS_PTRACE"
        return Finding("capabilities", NOTE, "CAP_SYS_ADMIN, no CAP_SYS_PTRACE", hint)
    return Finding("capabilities", OK, "CAP_SYS_ADMIN, CAP_SYS_PTRACE")


def user_namespace() -> Finding:
    """Passthrough asks for CAP_SYS_ADMIN in the initial one."""
    words = Path("/proc/self/uid_map").read_text().split()
    if words != ["0", "0", str(ALL_IDS)]:
        hint = "a capability in here is none outside: mounts take the pagecache backend (docs/architecture.md)"
        return Finding("user namespace", NOTE, "not the initial one", hint)
    return Finding("user namespace", OK, "the initial one")


def seccomp_actions() -> Finding:
    """What `uringfs run` and `listen` need of the kernel."""
    name = "seccomp"
    try:
        words = set(Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split())
    except OSError:
        return Finding(name, NOTE, "no filters in this kernel", "uringfs run needs CONFIG_SECCOMP_FILTER")
    missing = {"trap", "user_notif"} - words
    if missing:
        return Finding(name, NOTE, f"without {', '.join(sorted(missing))}", "uringfs run has a mode less")
    filtered = "Seccomp:\t2" in Path("/proc/self/status").read_text()
    return Finding(name, OK, "trap and user_notif" + (", a filter is in force here" if filtered else ""))


def compared_files() -> Finding:
    """kcmp(2), by which a daemon knows one open file from another. Engines allow it with CAP_SYS_PTRACE."""
    pid = os.getpid()
    if libc.syscall(NR["kcmp"], pid, pid, KCMP_FILE, 0, 0) >= 0 or ctypes.get_errno() == errno.EBADF:
        return Finding("kcmp", OK, "allowed")
    hint = "requests cannot be cancelled by their file: in a container --cap-add SYS_PTRACE"
    return Finding("kcmp", NOTE, os.strerror(ctypes.get_errno()), hint)


def kernel_io_uring() -> Finding:
    """Whether the kernel's own is allowed here: uringfs needs none."""
    params = ctypes.create_string_buffer(PARAMS_SIZE)
    fd = libc.syscall(seccomp.NR_IO_URING_SETUP, 1, params)
    code = ctypes.get_errno()
    name = "the kernel's io_uring"
    if fd >= 0:
        os.close(fd)
        return Finding(name, OK, "allowed: programs use it unless they run under uringfs")
    why = {errno.ENOSYS: "not there, or refused by a seccomp profile", errno.EPERM: "refused"}
    found = why.get(code, os.strerror(code)) + _io_uring_disabled()
    return Finding(name, OK, found + ": programs need `uringfs run`, `listen` or uringfs.h")


def _io_uring_disabled() -> str:
    with suppress(OSError):
        value = Path("/proc/sys/kernel/io_uring_disabled").read_text().strip()
        return f" (kernel.io_uring_disabled={value})" if value != "0" else ""
    return ""


def machine() -> Finding:
    name = MACHINE
    if name not in seccomp.AUDIT_ARCH:
        return Finding("machine", NOTE, name, "uringfs run is for x86-64 and aarch64")
    return Finding("machine", OK, name)


def descriptors() -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 2 * MANY_RINGS:
        hint = "each ring takes two and more: ulimit -Hn, LimitNOFILE=, --ulimit nofile="
        return Finding("descriptors", NOTE, f"at most {hard}", hint)
    return Finding("descriptors", OK, f"at most {hard}")


def libraries() -> Finding:
    """As a daemon imports them, in a process of its own."""
    code = "import uringfs.native, pyfuse3, trio; print('pyfuse3', pyfuse3.__version__, 'trio', trio.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        hint = "apt-get install fuse3 libfuse3-dev gcc pkg-config; pip install uringfs (not --no-deps)"
        return Finding("libfuse3, pyfuse3", WRONG, lines[-1] if lines else "cannot be imported", hint)
    return Finding("libfuse3, pyfuse3", OK, done.stdout.strip())


def launcher() -> Finding:
    try:
        library = run.library()
    except RunError as error:
        return Finding("launcher's library", NOTE, "cannot be used", str(error))
    if not instance.can_be_preloaded(library):
        hint = "uringfs run preloads a copy; with --mount: --mode notify"
        return Finding("launcher's library", NOTE, f"{library}: a blank or colon", hint)
    return Finding("launcher's library", OK, library)


def mount_helper() -> Finding:
    if not HELPER.exists():
        ours = shlex.quote(str(Path(sys.executable).with_name(HELPER.name)))
        hint = f"for fstab and mount -t fuse.uringfs: ln -s {ours} {HELPER}"
        return Finding("mount helper", NOTE, f"no {HELPER}", hint)
    return Finding("mount helper", OK, str(HELPER))


def syslog() -> Finding:
    problem = logs.syslog_problem()
    if problem:
        return Finding("syslog", NOTE, problem, "with --daemon give --log-file")
    return Finding("syslog", OK, logs.DEV_LOG)


def container() -> Finding:
    """Which one this is, and which engines are here."""
    marks = {"/run/.containerenv": "Podman", "/.dockerenv": "Docker"}
    inside = [name for path, name in marks.items() if os.path.exists(path)]
    if not inside and (kind := os.environ.get("container")):  # noqa: SIM112  # systemd's name
        inside = [kind]
    engines = [name for name in ENGINES if shutil.which(name)]
    found = f"in a container ({inside[0]})" if inside else "not in a container"
    found += f"; engines: {', '.join(engines)}" if engines else "; no engines"
    hint = "their default seccomp profiles refuse io_uring: uringfs run, or uringfs listen" if engines else ""
    return Finding("containers", OK, found, hint)


def ring() -> Finding:
    """The proof: an instance of its own, and a request through a ring of it."""
    try:
        mount = instance.start()
        from uringfs.client import Ring, nop

        with Ring(f"{mount}/new", 1) as one:
            one.queue(nop())
            one.submit(wait=1)
            result = one.reap()[0].res
    except (RunError, OSError, ImportError) as error:
        return Finding("a ring", WRONG, str(error), "the lines above may say why")
    return Finding("a ring", OK if result == 0 else WRONG, f"a NOP on a mount of its own: {result}")


CHECKS: tuple[Callable[[], Finding], ...] = (
    kernel,
    machine,
    dev_fuse,
    capabilities,
    user_namespace,
    libraries,
    descriptors,
    seccomp_actions,
    compared_files,
    kernel_io_uring,
    launcher,
    mount_helper,
    syslog,
    container,
)


def findings() -> Iterator[Finding]:
    """Every check's finding; the proof comes last, if nothing speaks against it."""
    sound = True
    for check in CHECKS:
        finding = check()
        sound = sound and finding.state != WRONG
        yield finding
    if sound:
        yield ring()
