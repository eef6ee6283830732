"""contrib/kubernetes: the manifests are the API's, and do on a node what they are for.

There is no cluster here. Each container is started by podman as its manifest says, in a mount namespace that
stands for a node: /var/lib/uringfs, /run/uringfs and /var/lib/kubelet are its own there.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from container import LIMITS, OPTIONS, SECONDS
from image import RUN

from tests.support.mounting import ROOT, until
from tests.support.probe import build

pytestmark = pytest.mark.timeout(600)  # the image is built
MANIFESTS = ROOT / "contrib/kubernetes"
OLDEST = "1.29"
"""The first version of Kubernetes that has containers as sidecars."""
PROPAGATION = {"Bidirectional": "rshared", "HostToContainer": "rslave", "None": "rprivate"}
PLACES = ("/var/lib/uringfs", "/run/uringfs", "/var/lib/kubelet")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


def with_nri() -> dict[str, Any]:
    """The DaemonSet with the patch, as kustomize merges it: containers and volumes by name."""
    (made,), (patch,) = documents("daemonset.yaml"), documents("nri.yaml")
    assert made["metadata"].items() >= patch["metadata"].items()
    for name, added in patch["spec"]["template"]["spec"].items():
        made["spec"]["template"]["spec"][name] += added
    return made


RESOURCES = [
    pytest.param(document, id=f"{name}-{document['metadata']['name']}")
    for name in ("namespace.yaml", "daemonset.yaml", "example.yaml")
    for document in documents(name)
]


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("resource", [*RESOURCES, pytest.param(with_nri(), id="with nri.yaml")])
def test_the_schema(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_kustomization_has_them_all() -> None:
    (kustomization,) = documents("kustomization.yaml")
    assert {*kustomization["resources"], "example.yaml", "kustomization.yaml", "nri.yaml"} == set(
        os.listdir(MANIFESTS)
    )


def test_nobody_is_privileged_but_the_daemon() -> None:
    """No account, no role; and what uses rings has no right at all."""
    (daemons,) = documents("daemonset.yaml")
    (patch,) = documents("nri.yaml")
    (plugin,) = patch["spec"]["template"]["spec"]["containers"]
    assert plugin["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    pod = daemons["spec"]["template"]["spec"]
    containers = [*pod["initContainers"], *pod["containers"]]
    assert [one["name"] for one in containers if one.get("securityContext", {}).get("privileged")] == ["mount"]
    assert not pod["automountServiceAccountToken"]
    for example in documents("example.yaml"):
        assert "privileged" not in json.dumps(example)
        assert "capabilities" not in json.dumps(example)


# -- on a node


class Node:
    """A mount namespace, and what its kubelet would start there."""

    def __init__(self, image: str, holder: "subprocess.Popen[str]") -> None:
        self.image = image
        self._enter = ("nsenter", f"--target={holder.pid}", "--mount")

    def said(self, *words: object) -> "subprocess.CompletedProcess[str]":
        command = [*self._enter, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    def must(self, *words: object) -> str:
        done = self.said(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def command(self, name: str, pod: dict[str, Any], container: dict[str, Any]) -> list[str]:
        """podman's, for a container of a pod."""
        places = {volume["name"]: volume["hostPath"]["path"] for volume in pod.get("volumes", ())}
        words = [*RUN, "--name", name, *(["--pid", "host"] if pod.get("hostPID") else [])]
        for mount in container.get("volumeMounts", ()):
            how = PROPAGATION[mount.get("mountPropagation", "None")]
            words += ["--volume", f"{places[mount['name']]}:{mount['mountPath']}:{how}"]
        words += _rights(container.get("securityContext", {}))
        if "command" in container:
            words += ["--entrypoint", json.dumps(container["command"])]
        return [*words, self.image, *container.get("args", ())]

    @contextmanager
    def running(self, pod: dict[str, Any], container: dict[str, Any], probe: str) -> Iterator[None]:
        """Until the block's end, when it is stopped; the block begins when the probe says so."""
        name = f"uringfs-test-{container['name']}-{os.getpid()}"
        check = container[probe]["exec"]["command"]
        command = [*self._enter, *self.command(name, pod, container)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                ready = lambda: self.said("podman", "exec", name, *check).returncode == 0  # noqa: E731
                until(lambda: ready() or process.poll() is not None, f"{name} to be ready", SECONDS)
                assert process.poll() is None, process.communicate()
                yield
            finally:
                self.said("podman", "stop", name)
                _, log = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, log
            assert " ERROR " not in log


def _rights(context: dict[str, Any]) -> list[str]:
    words = ["--privileged"] if context.get("privileged") else []
    words += ["--read-only"] if context.get("readOnlyRootFilesystem") else []
    words += ["--security-opt=no-new-privileges"] if not context.get("allowPrivilegeEscalation", True) else []
    return [*words, *(f"--cap-drop={name}" for name in context.get("capabilities", {}).get("drop", ()))]


@pytest.fixture
def node(image: str) -> Iterator[Node]:
    made = [place for place in PLACES if not os.path.exists(place)]
    for place in PLACES:
        os.makedirs(place, exist_ok=True)
    tmpfs = "; ".join(f"mount -t tmpfs none {place}" for place in PLACES)
    script = f"{tmpfs}; mkdir -p /var/lib/kubelet/seccomp; mount --make-rshared /; echo made; exec cat"
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "made\n"
        yield Node(image, holder)
    finally:
        holder.communicate()
        for place in made:
            os.rmdir(place)


def test_pods_have_rings(node: Node, rootfs: Callable[[str], Path]) -> None:
    """The daemons' pod in its order; then the examples that need no plugin, with the profile and the mount that
    they name."""
    (daemons,) = documents("daemonset.yaml")
    unchanged, _, files = (example["spec"] for example in documents("example.yaml"))
    pod = daemons["spec"]["template"]["spec"]
    profile, mount = pod["initContainers"]
    (listen,) = pod["containers"]
    root = rootfs("only in this pod")
    shutil.copy(build(root / "bin/unchanged", "-static"), root / "bin/run_probe")
    node.must(*node.command("uringfs-test-profile", pod, profile))
    with ExitStack() as stack:
        stack.enter_context(node.running(pod, mount, "startupProbe"))
        stack.enter_context(node.running(pod, listen, "readinessProbe"))
        seccomp = f"/var/lib/kubelet/seccomp/{unchanged['securityContext']['seccompProfile']['localhostProfile']}"
        start = ("podman", *OPTIONS, *LIMITS, "--user", "1000:1000")
        own = ("--rootfs", root)
        out = node.must(*start, "--security-opt", f"seccomp={seccomp}", *own, "/bin/run_probe", "one_nop")
        assert out == "a nop\n"
        (volume,), (place,) = files["volumes"], files["containers"][0]["volumeMounts"]
        where = f"{volume['hostPath']['path']}:{place['mountPath']}:{PROPAGATION[place['mountPropagation']]}"
        ring = files["containers"][0]["args"][0]
        out = node.must(*start, "--volume", where, *own, "/bin/probe", "ring", ring, "/etc/only-here")
        assert "done=1" in out.splitlines()
    assert "/var/lib/uringfs/mnt " not in node.must("cat", "/proc/self/mountinfo")
