"""uringfs nri, against the runtime's end of its socket."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import said
from tests.support.mounting import DEADLINE, ROOT, URINGFS
from tests.support.nri import CLASSES, Failed, Runtime

LISTENER = "/run/elsewhere/listener.sock"
IO_URING = ["io_uring_setup", "io_uring_enter", "io_uring_register"]


@contextmanager
def plugin(home: Path, *words: str, piece: int = 4096) -> "Iterator[tuple[Runtime, subprocess.Popen[str]]]":
    path = home / "nri.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        command = [*URINGFS, "nri", "--nri-socket", str(path), "--socket", LISTENER, *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                listening.settimeout(DEADLINE)
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(DEADLINE)
                    yield Runtime(connection, piece), process
            finally:
                process.kill()


def default_policy() -> dict[str, Any]:
    """What a container has by default, as containerd decides it."""
    words = [ROOT / "contrib/oci/profile.py", "--flat", ROOT / "contrib/oci/seccomp.json"]
    text = subprocess.run([sys.executable, *words], capture_output=True, check=True).stdout
    profile = json.loads(text)
    rules = [
        {
            "names": rule["names"],
            "action": rule["action"],
            "args": [_argument(arg) for arg in rule.get("args", ())],
        }
        for rule in profile["syscalls"]
        if rule["action"] != "SCMP_ACT_NOTIFY"
    ]
    rules += [
        {"names": ["bpf", "io_uring_enter"], "action": "SCMP_ACT_ERRNO", "errno_ret": {"value": 38}},
        {"names": IO_URING, "action": "SCMP_ACT_ALLOW"},
    ]
    return {
        "default_action": profile["defaultAction"],
        "default_errno": {"value": 1},
        "architectures": profile["architectures"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": rules,
    }


def _argument(arg: dict[str, Any]) -> dict[str, Any]:
    return {"index": arg["index"], "value": arg["value"], "value_two": arg.get("valueTwo", 0), "op": arg["op"]}


def create(annotations: dict[str, str], policy: dict[str, Any] | None, name: str = "main") -> Any:
    entries = [{"key": key, "value": value} for key, value in annotations.items()]
    linux = {"cgroups_path": "/pods"} | ({} if policy is None else {"seccomp_policy": policy})
    return CLASSES["CreateContainerRequest"](
        pod={"id": "1", "name": "database", "namespace": "shop", "annotations": entries, "pid": 1 << 31},
        container={"id": "2", "name": name, "linux": linux, "args": ["x" * 300], "created_at": 1 << 62},
    )


def created(runtime: Runtime, *args: Any) -> Any:
    """The adjusted policy."""
    answer = runtime.call("CreateContainer", "CreateContainerResponse", create(*args))
    return answer.adjust.linux.seccomp_policy


def names(policy: Any) -> list[str]:
    return [name for rule in policy.syscalls for name in rule.names]


@pytest.mark.parametrize("piece", [1, 10, 4096])
def test_a_container_gets_the_listener(tmp_path: Path, piece: int) -> None:
    """Its policy as it was, but for io_uring; in frames that a runtime can read, whatever its own come in."""
    with plugin(tmp_path, piece=piece) as (runtime, _):
        assert runtime.registration() == CLASSES["RegisterPluginRequest"](plugin_name="uringfs", plugin_idx="90")
        assert runtime.configure() == 1 << 3  # CREATE_CONTAINER
        before = CLASSES["LinuxSeccomp"](**default_policy())
        after = created(runtime, {"uringfs/pod": "listen"}, default_policy())
    assert after.listener_path == LISTENER
    notified = after.syscalls.pop()
    assert (list(notified.names), notified.action) == (IO_URING, "SCMP_ACT_NOTIFY")
    assert names(after) == [name for name in names(before) if name not in IO_URING]
    assert after.syscalls.pop().errno_ret.value == 38
    assert list(after.syscalls) == list(before.syscalls)[:-2]
    assert after.default_errno == before.default_errno
    assert (after.default_action, after.flags) == (before.default_action, before.flags)
    assert after.architectures == before.architectures
    assert after.ByteSize() > 4096 >= runtime.largest


def test_an_unconfined_container(tmp_path: Path) -> None:
    with plugin(tmp_path) as (runtime, _):
        runtime.registration()
        runtime.configure("cri-o", "1.34.0")
        policy = created(runtime, {"uringfs": "listen"}, None)
    assert (policy.default_action, policy.listener_path) == ("SCMP_ACT_ALLOW", LISTENER)
    assert "SCMP_ARCH_X86" in policy.architectures or "SCMP_ARCH_ARM" in policy.architectures
    assert [rule.action for rule in policy.syscalls] == ["SCMP_ACT_NOTIFY"]


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({}, False),
        ({"else/pod": "listen", "uringfs/container.other": "listen"}, False),
        ({"uringfs": "listen"}, True),
        ({"uringfs": "listen", "uringfs/pod": "none"}, False),
        ({"uringfs/pod": "none", "uringfs/container.main": "listen"}, True),
        ({"uringfs/pod": "listen", "uringfs/container.main": "none"}, False),
    ],
    ids=lambda value: " ".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, dict) else "",
)
def test_which_containers(tmp_path: Path, annotations: dict[str, str], wanted: bool) -> None:
    with plugin(tmp_path) as (runtime, _):
        runtime.registration()
        runtime.configure()
        assert (created(runtime, annotations, default_policy()).listener_path == LISTENER) is wanted


def test_what_fails_a_container(tmp_path: Path) -> None:
    """Rather than that it runs without a word; the plugin goes on."""
    theirs = {"default_action": "SCMP_ACT_ALLOW", "listener_path": "/run/theirs.sock"}
    with plugin(tmp_path) as (runtime, process):
        runtime.registration()
        runtime.configure()
        with pytest.raises(Failed, match="'yes' is neither listen nor none"):
            created(runtime, {"uringfs/pod": "yes"}, None)
        with pytest.raises(Failed, match=r"listener of its own, /run/theirs\.sock"):
            created(runtime, {"uringfs/pod": "listen"}, theirs)
        assert created(runtime, {}, theirs).listener_path == ""
        with pytest.raises(Failed, match="not implemented"):
            runtime.call("UpdatePodSandbox", "Empty")
        with pytest.raises(Failed, match="not implemented"):
            runtime.call("CreateContainer", "Empty", service="Another")
        runtime.call("Shutdown", "Empty")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0


def test_it_stands_by_what_runs(tmp_path: Path) -> None:
    """Containers that run, told in parts."""
    with plugin(tmp_path) as (runtime, _):
        runtime.registration()
        runtime.configure()
        for more in (True, False):
            running = create({"uringfs": "listen"}, default_policy())
            request = CLASSES["SynchronizeRequest"](pods=[running.pod], containers=[running.container], more=more)
            assert runtime.call("Synchronize", "SynchronizeResponse", request).more is more


@pytest.mark.parametrize(
    ("name", "version"), [("containerd", "2.1.9+ds1"), ("cri-o", "1.33.4"), ("containerd", "v1.7.24")]
)
def test_a_runtime_that_is_too_old(tmp_path: Path, name: str, version: str) -> None:
    """It would pass over the policy."""
    with plugin(tmp_path) as (runtime, process):
        runtime.registration()
        with pytest.raises(Failed, match="or newer does"):
            runtime.configure(name, version)
        assert process.stderr is not None
        assert f"{name} {version} takes no seccomp policy from a plugin" in process.stderr.read()
        assert process.wait(DEADLINE) == 125


def test_what_cannot_be(tmp_path: Path) -> None:
    code, text = said(*URINGFS, "nri", "--nri-socket", str(tmp_path / "none"))
    assert (code, text) == (125, f"uringfs nri: {tmp_path}/none: No such file or directory\n")
    for word in ("9", "100", "-1", "x1"):
        assert said(*URINGFS, "nri", "--index", word)[0] == 2


def test_a_runtime_that_refuses_goes_or_babbles(tmp_path: Path) -> None:
    for number, does in enumerate(("refuses", "goes", "babbles")):
        home = tmp_path / does
        home.mkdir()
        with plugin(home) as (runtime, process):
            runtime.registration("no more plugins" if does == "refuses" else "")
            if does == "goes":
                runtime._connection.shutdown(socket.SHUT_RDWR)
            elif does == "babbles":
                runtime._connection.sendall(b"\xff" * 100)
            assert process.stderr is not None
            told = ("no more plugins", "has ended the connection", "this is no NRI socket")[number]
            assert told in process.stderr.read()
            assert process.wait(DEADLINE) == 125
