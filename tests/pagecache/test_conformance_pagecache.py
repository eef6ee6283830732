"""The conformance suite on the page-cache backend: as root, and as an ordinary user in `unshare -Urm`."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.conformance import BEHAVIOURS, FAILED, PASSED, SKIPPED, TIMEOUT, report
from tests.support.mounting import Mount, inside
from tests.support.record import skipped
from tests.support.temporary import temporary

OTHERS = {  # behaviours that become another user, whom the namespace does not have
    ("names", "links_of_descriptors_of_a_user"),
    ("sendmsg_control", "another_ones_credentials"),
    ("socket", "another_user_connects"),
    ("sync", "truncation_takes_a_set_user_id_bit"),
    ("write_limits", "a_set_user_id_bit_goes"),
}
DIFFERENT = {  # docs/differences.md, "Without root"
    ("futex", "a_sleeper_in_shared_memory_is_woken"),
    ("sendmsg_control", "who_sent_it"),
    ("socket", "a_socket_of_another_network"),
}
SELDOM = {"closed": "what pends at a close is served a moment longer in one of some hundred rounds"}
"""Families that differ by chance: docs/differences.md, "Without root"."""
ORDER = ("readv_pipe", "armed_reads_go_on_in_the_order_of_events")
"""Differs once in some tries."""
ALWAYS = [behaviour for behaviour in BEHAVIOURS if behaviour[0] not in SELDOM and behaviour != ORDER]
ALLOWED = [behaviour for behaviour in ALWAYS if behaviour not in OTHERS | DIFFERENT]

KERNEL_TRIES = 10


def run(
    program: Path, behaviour: str, prefix: list[str], mount: Mount | None
) -> "subprocess.CompletedProcess[str]":
    """mount None: the kernel."""
    env = {key: value for key, value in os.environb.items() if key != b"URINGFS_DIR"}
    if mount is not None:
        env[b"URINGFS_DIR"] = os.fsencode(mount.path)
    command = [*prefix, str(program), behaviour]
    with temporary(env) as env:
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, cwd="/tmp"
        )


def compare(
    where: str, ours: "subprocess.CompletedProcess[str]", kernel: "subprocess.CompletedProcess[str] | None"
) -> None:
    """A kernel that has not what is tested is no oracle: the behaviour's own expectations hold uringfs. What the
    surroundings do not allow is skipped if the kernel's side is, too."""
    if reason := skipped(ours):
        assert kernel is None or kernel.returncode == SKIPPED, report(where, ours)
        pytest.skip(reason)
    if kernel is not None and kernel.returncode == SKIPPED:
        kernel = None
    assert kernel is None or kernel.returncode == PASSED, report("the kernel", kernel)
    assert ours.returncode == PASSED, report(where, ours)
    if kernel is not None:
        assert ours.stdout == kernel.stdout


@pytest.mark.parametrize(("family", "behaviour"), ALWAYS, ids=lambda part: part)
def test_as_root(programs: Path, roots: Mount, oracle: bool, family: str, behaviour: str) -> None:
    ours = run(programs / family, behaviour, [], roots)
    compare("pagecache", ours, run(programs / family, behaviour, [], None) if oracle else None)


@pytest.mark.parametrize(("family", "behaviour"), ALLOWED, ids=lambda part: part)
def test_as_an_ordinary_user(programs: Path, rootless: Mount, oracle: bool, family: str, behaviour: str) -> None:
    """The kernel's side in the same namespaces: what they do not allow fails there, too. But for netfuzz, where it
    counts what it pins against an ordinary user's RLIMIT_MEMLOCK, and fails."""
    ours = run(programs / family, behaviour, inside(rootless), rootless)
    where = [] if family == "netfuzz" else inside(rootless)
    compare("pagecache, rootless", ours, on_the_kernel(programs / family, behaviour, where) if oracle else None)


def on_the_kernel(program: Path, behaviour: str, where: list[str]) -> "subprocess.CompletedProcess[str]":
    """Again if it fails: an ordinary user's rings count against RLIMIT_MEMLOCK until the kernel has freed them,
    which comes after the close: ENOMEM of what others have closed a moment ago."""
    for _ in range(KERNEL_TRIES):
        done = run(program, behaviour, where, None)
        if done.returncode in (PASSED, SKIPPED):
            break
    return done


@pytest.mark.parametrize(("family", "behaviour"), sorted(OTHERS), ids=lambda part: part)
def test_what_the_namespaces_do_not_allow_the_kernel(
    programs: Path, rootless: Mount, oracle: bool, family: str, behaviour: str
) -> None:
    """A behaviour that passes belongs into the suite above."""
    if not oracle:
        pytest.skip("no io_uring in this kernel to ask")
    assert run(programs / family, behaviour, inside(rootless), None).returncode == FAILED


def test_the_daemons_have_nothing_to_complain_of(roots: Mount, rootless: Mount) -> None:
    for mount in (roots, rootless):
        assert mount.process.poll() is None, mount.log()
        mount.assert_clean_log()
