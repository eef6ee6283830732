"""`uringfs listen`: whole containers, images and programs as they are, whose profile names our socket."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from container import SECONDS, Container

from tests.support import nri
from tests.support.mounting import DEADLINE, ROOT, URINGFS, Mount, open_directory, until
from tests.support.probe import build, held, warm
from uringfs.nri import policy

OCI = ROOT / "contrib/oci"
COMMAND = (*URINGFS, "listen")
CONFORMANCE = ROOT / "tests/conformance"
# docs/run.md: without SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, which this runc does not know, a signal ends the
# call before the daemon hears of it; and no other process can change a thread's mask.
DIFFERS = {
    "what_was_submitted_is_returned_instead",
    "a_signal_with_some_completions_there_is_no_error",
    "the_sigset_blocks_during_the_wait",
    "the_sigset_unblocks_during_the_wait",
    "a_pending_signal_that_the_sigset_admits_ends_it_at_once",
}


def made_by() -> ModuleType:
    """contrib/oci/profile.py"""
    spec = importlib.util.spec_from_file_location("profile_of_uringfs", OCI / "profile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Listening:
    """A running `uringfs listen`, with a ring filesystem of its own by default, and a profile that names its
    socket."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.socket, self.profile = directory / "socket", directory / "seccomp.json"
        committed = json.loads((OCI / "seccomp.json").read_text())
        self.profile.write_text(json.dumps(committed | {"listenerPath": str(self.socket)}))
        self.log_path = directory / "log"
        self.tmp = directory / "tmp"
        self.tmp.mkdir()
        with open(self.log_path, "wb") as log:
            command = [*COMMAND, "--socket", self.socket, *options]
            self.process = subprocess.Popen(command, stderr=log, env=os.environ | {"TMPDIR": str(self.tmp)})
        try:
            until(lambda: "listening" in self.log() or self.process.poll() is not None, "it to listen")
            assert self.process.poll() is None, self.log()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def log(self) -> str:
        return self.log_path.read_text()

    def container(self, rootfs: Path, *program: str, user: str = "0:0") -> Container:
        return Container(rootfs, None, *program, user=user, options=["--security-opt", f"seccomp={self.profile}"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(DEADLINE) == 0, self.log()
        assert not self.socket.exists()
        until(lambda: not os.listdir(self.tmp), "its ring filesystem to be taken down")
        assert " ERROR " not in self.log()


@pytest.fixture(scope="module")
def listening() -> Iterator[Listening]:
    with open_directory() as directory:
        made = Listening(directory)
        yield made
        made.stop()


@pytest.fixture
def root(rootfs: Callable[[str], Path]) -> Path:
    """A root filesystem with the static probe."""
    made = rootfs("listen")
    build(made / "bin/run_probe", "-static")
    (made / "tmp").chmod(0o1777)
    return made


def test_the_profile_is_the_default_one_and_a_rule(tmp_path: Path) -> None:
    committed = json.loads((OCI / "seccomp.json").read_text())
    module = made_by()
    assert module.with_listener(committed) == committed
    assert committed["listenerPath"] == "/run/uringfs.sock"
    assert committed["defaultAction"] == "SCMP_ACT_ERRNO"
    notified = [rule for rule in committed["syscalls"] if rule["action"] == "SCMP_ACT_NOTIFY"]
    assert [rule["names"] for rule in notified] == [["io_uring_setup", "io_uring_enter", "io_uring_register"]]
    # Of any other it makes one that differs by no more
    allowed = {"names": ["io_uring_setup", "read"], "action": "SCMP_ACT_ALLOW"}
    base = {"defaultAction": "SCMP_ACT_KILL", "flags": [], "syscalls": [allowed]}
    (tmp_path / "base.json").write_text(json.dumps(base))
    made = json.loads(subprocess.check_output([sys.executable, OCI / "profile.py", tmp_path / "base.json"]))
    assert made == base | {
        "listenerPath": committed["listenerPath"],
        "syscalls": [allowed | {"names": ["read"]}, *notified],
    }


@pytest.mark.parametrize("user", ["0:0", "1000:1000"], ids=["root", "user"])
def test_programs_as_they_are(listening: Listening, root: Path, user: str) -> None:
    """No mount, no variable, no library in the container."""
    names = "one_nop vfork_and_exec a_filter_of_its_own a_handler_enters_while_the_program_waits the_descriptor"
    names += " what_is_no_ring a_ring_taken_by_another_process registered_ring_descriptors"
    script = f"set -e; for name in {names}; do run_probe $name; done"
    with listening.container(root, "/bin/sh", "-c", script, user=user) as container:
        status, out, err = container.finish()
    kernel = [
        subprocess.run([root / "bin/run_probe", name], capture_output=True, text=True, check=True).stdout
        for name in names.split()
    ]
    assert (status, out) == (0, "".join(kernel)), err


def test_the_default_profile_would_refuse_them(root: Path) -> None:
    with Container(root, None, "/bin/run_probe", "one_nop") as container:
        status, _, err = container.finish()
    assert status == 1
    assert "Function not implemented" in err or "Operation not permitted" in err


def as_profile(adjusted: Any) -> dict[str, object]:
    """What a runtime makes of an adjusted policy: linux.seccomp of the runtime's specification."""
    return {
        "defaultAction": adjusted.default_action,
        "architectures": list(adjusted.architectures),
        "listenerPath": adjusted.listener_path,
        "syscalls": [{"names": list(rule.names), "action": rule.action} for rule in adjusted.syscalls],
    }


def test_an_unconfined_container_by_the_nri_plugin(listening: Listening, root: Path, tmp_path: Path) -> None:
    made = bytes(policy.listening(None, str(listening.socket)))
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps(as_profile(nri.CLASSES["LinuxSeccomp"].FromString(made))))
    options = ["--security-opt", f"seccomp={profile}"]
    with Container(root, None, "/bin/run_probe", "one_nop", options=options) as container:
        assert container.finish()[:2] == (0, "a nop\n")


def test_two_containers_at_once_and_one_is_killed(daemon: Mount, scratch: Path, root: Path) -> None:
    """On a mount that others use, too. Nothing of theirs is left in the daemon."""
    warm(daemon)
    before = held(daemon)
    listening = Listening(scratch, "--mount", str(daemon.path))
    first = listening.container(root, "/bin/run_probe", "until_refused")
    second = listening.container(root, "/bin/run_probe", "busy", user="1000:1000")
    with first, second:
        assert first.process.stdout is not None
        assert second.process.stdout is not None
        assert first.process.stdout.readline() == "ready\n"
        assert second.process.stdout.read(20) == "." * 20
        assert held(daemon) > before
        first.kill()
        assert first.process.wait(SECONDS) == 128 + signal.SIGKILL
        assert second.process.stdout.read(20) == "." * 20
        second.kill()
        assert second.process.wait(SECONDS) == 128 + signal.SIGKILL
    until(lambda: held(daemon) <= before, "the daemon to let go of what both had")
    listening.stop()


def test_signals(listening: Listening, root: Path) -> None:
    """A filter without SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: a call that is restarted behind a handler, too."""
    make = ["make", "-s", "-C", CONFORMANCE, "OUT=out/static", "LDFLAGS=-static", "out/static/signals"]
    subprocess.run(make, check=True)
    shutil.copy(CONFORMANCE / "out/static/signals", root / "bin")
    script = "for b in $(signals --list); do if signals $b >/dev/null 2>&1; then echo $b; fi; done"
    with listening.container(root, "/bin/sh", "-c", script) as container:
        status, out, err = container.finish()
    listed = subprocess.check_output([root / "bin/signals", "--list"], text=True).split()
    assert status == 0, err
    assert len(listed) > 10
    differ = set(listed) - set(out.split())
    assert differ <= DIFFERS  # some at times: a signal before the daemon has taken the call, or behind it
    assert differ


def flat_profile(socket: Path) -> dict[str, Any]:
    """As on a node of containerd's: by the command, of the committed profile."""
    command = [sys.executable, OCI / "profile.py", "--flat", "--socket", socket, OCI / "seccomp.json"]
    made: dict[str, Any] = json.loads(subprocess.check_output(command))
    return made


def small_profile(socket: Path) -> dict[str, Any]:
    rule = {"names": made_by().CALLS, "action": "SCMP_ACT_NOTIFY"}
    return {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(socket), "syscalls": [rule]}


def test_a_flat_profile_is_what_the_specification_has(tmp_path: Path) -> None:
    """Each condition is decided: by capability, architecture and kernel."""
    made = flat_profile(tmp_path)
    assert made.keys() == {"defaultAction", "defaultErrnoRet", "architectures", "listenerPath", "syscalls"}
    assert all(rule.keys() <= {"names", "action", "errnoRet", "args"} for rule in made["syscalls"])
    allowed = {name for rule in made["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert {"chroot", "read", "socket"} <= allowed
    assert not {"bpf", "acct", "io_uring_setup", "sync_file_range2", "s390_pci_mmio_read"} & allowed
    module, committed = made_by(), json.loads((OCI / "seccomp.json").read_text())
    arm = module.flat(committed, "aarch64", frozenset(["CAP_SYS_ADMIN"]))
    allowed = {name for rule in arm["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert {"bpf", "arm_fadvise64_64"} <= allowed
    assert not {"chroot", "arch_prctl"} & allowed
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


@pytest.mark.parametrize("profile", [small_profile, flat_profile])
def test_runc_alone(
    listening: Listening, root: Path, tmp_path: Path, profile: Callable[[Path], dict[str, Any]]
) -> None:
    """An OCI bundle, as containerd makes one. It keeps its end of the connection until the container ends."""
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/run_probe", "one_nop"], "cwd": "/"},
        "root": {"path": str(root), "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            "seccomp": profile(listening.socket),
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    name = f"uringfs-test-runc-{os.getpid()}"
    runc = ["runc", "--root", tmp_path / "state", "run", "--bundle", tmp_path, name]
    done = subprocess.run(runc, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (0, "a nop\n"), done.stderr
    assert f"container {name}" in listening.log()


def test_who_listens_there_already(listening: Listening, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    refusals = {
        listening.socket: "somebody listens there already",
        file: "exists, and is no socket",
        tmp_path / "no/socket": "No such file or directory",
        file / "socket": "Not a directory",
    }
    for path, words in refusals.items():
        done = subprocess.run([*COMMAND, "--socket", path], capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stderr) == (125, f"uringfs listen: {path}: {words}\n")
    done = subprocess.run([*COMMAND, "--socket", ""], capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (125, "uringfs listen: the socket's path is an empty word\n")
    assert listening.socket.stat().st_mode & 0o777 == 0o600
