"""Pods of Kubernetes, but for the cluster: containerd makes them by the calls that a kubelet makes. The seccomp
profile is containerd's; the program is static and knows nothing of uringfs."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cri
import pytest
from release import UBUNTU_24_04, must
from test_listen import Listening

from tests.support.mounting import DEADLINE, ROOT, URINGFS, open_directory, until
from tests.support.probe import build

pytestmark = pytest.mark.timeout(600)  # packages are fetched
PROGRAM = ("/bin/probe", "one_nop")
ANNOTATED = {"uringfs/pod": "listen"}
REQUIRED = {"required-plugins.noderesource.dev/pod": "[uringfs]"}


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """containerd 2.2, the first whose plugins may say something about seccomp, and its shim."""
    home = tmp_path_factory.mktemp("containerd")
    with UBUNTU_24_04.unpacked(home, "containerd", "extract") as root:
        yield root / "usr/bin"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of an image: the static probe, and what a pod's sandbox runs."""
    home = tmp_path_factory.mktemp("program")
    build(home / "probe", "-static")
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, home / "sleep")
    recipe = 'FROM scratch\nCOPY probe sleep /bin/\nCMD ["/bin/sleep", "1000000"]\n'
    (home / "Containerfile").write_text(recipe)
    try:
        must("podman", "build", "-q", "-t", cri.IMAGE, home)
        must("podman", "save", "-q", "--format", "oci-archive", "-o", home / "image.tar", cri.IMAGE)
    finally:
        must("podman", "rmi", "--force", cri.IMAGE)
    return home / "image.tar"


@pytest.fixture(scope="module")
def runtime(binaries: Path, image: Path) -> Iterator[cri.Containerd]:
    with open_directory() as home:
        made = cri.Containerd(binaries, home, image)
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def listening() -> Iterator[Listening]:
    with open_directory() as home:
        made = Listening(home, "--trace")
        yield made
        made.stop()


@pytest.fixture
def plugin(runtime: cri.Containerd, listening: Listening, tmp_path: Path) -> Iterator[Path]:
    """The log of one that is registered."""
    log = tmp_path / "nri"
    command = [*URINGFS, "nri", "--socket", listening.socket, "--nri-socket", runtime.nri]
    with open(log, "wb") as errors:
        process = subprocess.Popen(command, stderr=errors)
    try:
        until(lambda: "registered with containerd" in log.read_text(), "the plugin to be registered")
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0, log.read_text()


def test_a_pod_with_the_annotation(runtime: cri.Containerd, listening: Listening, plugin: Path) -> None:
    """Under containerd's default profile, which refuses io_uring to its neighbour."""
    with runtime.pod("with", ANNOTATED | REQUIRED) as pod:
        status, output = pod.run(*PROGRAM)
        assert (status, "a nop" in output) == (0, True), output
    assert "io_uring_setup(" in listening.log()
    assert "pod default/with, container program: gets the listener" in plugin.read_text()
    with runtime.pod("without", {}) as pod:
        status, output = pod.run(*PROGRAM)
        assert (status, "Operation not permitted" in output) == (1, True), output


def test_one_container_of_it_without(runtime: cri.Containerd, plugin: Path) -> None:
    with runtime.pod("one", ANNOTATED | {"uringfs/container.program": "none"}) as pod:
        status, output = pod.run(*PROGRAM)
        assert (status, "Operation not permitted" in output) == (1, True), output


def test_another_value(runtime: cri.Containerd, plugin: Path) -> None:
    with (
        runtime.pod("other", {"uringfs/pod": "on"}) as pod,
        pytest.raises(cri.RuntimeRefusal, match="uringfs/pod"),
    ):
        pod.run(*PROGRAM)


def test_without_the_plugin(runtime: cri.Containerd) -> None:
    """It starts without io_uring, or with the second annotation not at all."""
    with runtime.pod("alone", ANNOTATED) as pod:
        status, output = pod.run(*PROGRAM)
        assert (status, "Operation not permitted" in output) == (1, True), output
    with runtime.pod("required", ANNOTATED | REQUIRED) as pod, pytest.raises(cri.RuntimeRefusal, match="uringfs"):
        pod.run(*PROGRAM)


def test_a_profile_of_the_node(runtime: cri.Containerd, listening: Listening, tmp_path: Path) -> None:
    """What `profile.py --flat` makes, by its path, and no plugin."""
    flat = must("python3", ROOT / "contrib/oci/profile.py", "--flat", "--socket", listening.socket)
    profile = tmp_path / "uringfs.json"
    profile.write_text(flat)
    with runtime.pod("profile", {}) as pod:
        status, output = pod.run(*PROGRAM, profile=cri.LOCALHOST, path=profile)
        assert (status, "a nop" in output) == (0, True), output
