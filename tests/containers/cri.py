"""containerd, and pods on it by the Container Runtime Interface, as a kubelet makes them (k8s.io/cri-api,
runtime/v1): messages by their fields' numbers. Pods have the node's network, so that nothing else is needed."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import grpc
from container import SECONDS

from tests.support.mounting import until
from uringfs.nri.proto import Message

IMAGE = "localhost/program:1"
RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = range(3)  # SecurityProfile.ProfileType
EXITED = 2  # ContainerState.CONTAINER_EXITED
_NODE = 2  # NamespaceMode.NODE
NEEDLESS = (
    "internal.v1.opt",
    *(f"snapshotter.v1.{name}" for name in "blockfile btrfs devmapper erofs zfs".split()),
)
CONFIG = """
version = 3
root = "{home}/root"
state = "{home}/state"
disabled_plugins = [{needless}]
[grpc]
address = "{home}/grpc"
[ttrpc]
address = "{home}/ttrpc"
[plugins."io.containerd.nri.v1.nri"]
socket_path = "{home}/nri"
plugin_path = "{home}/none"
plugin_config_path = "{home}/none"
[plugins."io.containerd.nri.v1.nri".default_validator]
enable = true
[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{image}"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
conf_dir = "{home}/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
snapshotter = "native"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
"""


class RuntimeRefusal(Exception):
    """The runtime's answer is an error; its words."""


class Containerd:
    """binaries: the directory of containerd, ctr and containerd-shim-runc-v2. home: where everything of it is."""

    def __init__(self, binaries: Path, home: Path, image: Path) -> None:
        self.home, self.nri = home, home / "nri"
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        needless = ", ".join(f'"io.containerd.{name}"' for name in NEEDLESS)
        words = {"home": home, "needless": needless, "image": IMAGE, "runc": shutil.which("runc", path=path)}
        (home / "config.toml").write_text(CONFIG.format(**words))
        self._log = open(home / "log", "wb")  # noqa: SIM115
        command = [binaries / "containerd", "--config", home / "config.toml"]
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, env=os.environ | {"PATH": f"{binaries}:{path}"}
        )
        self._channel = grpc.insecure_channel(f"unix:{home}/grpc")
        try:
            self.call("Version", Message().add(1, "v1"))
            self._import(binaries / "ctr", image)
        except BaseException:
            self.stop()
            raise

    def _import(self, ctr: Path, image: Path) -> None:
        words = ("-n", "k8s.io", "images", "import", "--local", "--snapshotter", "native")
        done = subprocess.run([ctr, "-a", self.home / "grpc", *words, image], capture_output=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr

    def call(self, method: str, request: Message) -> Message:
        """A method of the service RuntimeService. RuntimeRefusal"""
        ask = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")
        try:
            return Message.parse(ask(bytes(request), timeout=SECONDS, wait_for_ready=True))
        except grpc.RpcError as error:
            raise RuntimeRefusal(error.details()) from None

    def stop(self) -> None:
        self._channel.close()
        self._process.terminate()
        self._process.wait(SECONDS)
        self._log.close()
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        assert [mount for mount in mounts if mount.startswith(f"{self.home}/")] == []

    def pod(self, name: str, annotations: Mapping[str, str]) -> "Pod":
        return Pod(self, name, annotations)


class Pod:
    """`with`: its sandbox runs."""

    def __init__(self, runtime: Containerd, name: str, annotations: Mapping[str, str]) -> None:
        self._runtime = runtime
        self._logs = runtime.home / "logs" / name
        identity = Message().add(1, name).add(2, f"{name}-uid").add(3, "default")
        on_node = Message().add(1, Message().add(1, _NODE))
        self._config = Message().add(1, identity).add(3, str(self._logs))
        for key, value in annotations.items():
            self._config.add(7, Message().add(1, key).add(2, value))
        self._config.add(8, Message().add(2, on_node))

    def __enter__(self) -> "Pod":
        self._id = self._runtime.call("RunPodSandbox", Message().add(1, self._config)).string(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            self._runtime.call(method, Message().add(1, self._id))

    def run(self, *program: str, profile: int = RUNTIME_DEFAULT, path: Path | None = None) -> tuple[int, str]:
        """Exit status and output of a container called `program` once it has ended. path: for LOCALHOST.
        RuntimeRefusal"""
        seccomp = Message().add(1, profile)
        if path is not None:
            seccomp.add(2, str(path))
        security = Message().add(3, Message().add(1, _NODE)).add(15, seccomp)
        config = Message().add(1, Message().add(1, "program")).add(2, Message().add(1, IMAGE))
        for word in program:
            config.add(3, word)
        config.add(11, "log").add(15, Message().add(2, security))
        create = Message().add(1, self._id).add(2, config).add(3, self._config)
        container = Message().add(1, self._runtime.call("CreateContainer", create).string(1))
        self._runtime.call("StartContainer", container)
        until(lambda: self._status(container).get(3) == EXITED, "the container to end")
        return self._status(container).get(7, 0), (self._logs / "log").read_text()

    def _status(self, container: Message) -> dict[int, int]:
        """Numbers in its ContainerStatus, by field: 3 state, 7 exit_code; an absent one is 0."""
        status = self._runtime.call("ContainerStatus", container).message(1)
        assert status is not None
        return {field.number: field.value for field in status.fields if isinstance(field.value, int)}
