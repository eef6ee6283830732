"""The conformance programs, linked statically: the kernel's own system calls, answered by the daemon
(`uringfs run --mode notify`)."""

from pathlib import Path

import pytest
from checking import Checker, Kernel

from tests.support.conformance import BEHAVIOURS, FAILED, PASSED, build, report, run
from tests.support.mounting import Mount
from uringfs.cli import notify

NUMBER = "no other process can free a descriptor's number: CLOSE leaves a blank file there"
MASK = "no other process can change a thread's mask: the signal ends the wait, its handler does not run"
MEMORY = "no other process can map a ring over a program's memory: EINVAL"
ADVICE = "no other process can call madvise(2) for a program's memory: what process_madvise(2) and stores can do"
CHILDREN = "no other process can reap a child: EOPNOTSUPP"
SLEEPERS = "no other process can wake threads that sleep in futex(2) on private memory: 0"
PEER = "no other process can connect or listen in a process's name: the pid is a helper's"
SIGNALS = "no other process can take a process's signals: READ of a signalfd is EOPNOTSUPP"
ABSENT = {"signalfd_read": SIGNALS, "nommap": MEMORY, "waitid": CHILDREN, "waitid_request": CHILDREN}
"""Families of which one behaviour is enough."""
SELDOM = {"closed": "about once in 1,000 closes what pends is served a moment longer: docs/run.md"}
"""Families that differ by chance, so rarely that neither verdict says anything."""
DIFFERS = {
    ("nommap", "a_small_ring"): MEMORY,
    ("waitid", "a_child_that_has_ended"): CHILDREN,
    ("signalfd_read", "read_of_one_of_two"): SIGNALS,
    ("close", "closes_a_descriptor"): NUMBER,
    ("close", "read_then_close_in_a_link"): NUMBER,
    ("close", "many_at_once"): NUMBER,
    ("close", "another_thread_submits"): NUMBER,
    ("ext_arg", "a_sigmask_inside"): MASK,
    ("region", "registered_signal_masks"): MASK,
    ("signals", "the_sigset_unblocks_during_the_wait"): MASK,
    ("signals", "a_pending_signal_that_the_sigset_admits_ends_it_at_once"): MASK,
    ("advise", "madvise_each_advice_on_each_kind_of_memory"): ADVICE,
    ("advise", "madvise_dontneed_of_a_private_mapping_of_a_file"): ADVICE,
    ("advise", "madvise_remove"): ADVICE,
    ("advise", "madvise_populate"): ADVICE,
    ("advise", "madvise_about_children"): ADVICE,
    ("futex", "a_sleeper_of_the_same_process_is_woken"): SLEEPERS,
    ("socket", "each_end_sees_the_process"): PEER,
    ("openat", "truncates_tmpfile_path"): "SECCOMP_IOCTL_NOTIF_ADDFD takes no O_PATH descriptor",
}
"""docs/run.md, "Trap and notify"."""
SUPERVISED = [one for one in BEHAVIOURS if one in DIFFERS or one[0] not in {**ABSENT, **SELDOM}]


@pytest.fixture(scope="session")
def static_programs() -> Path:
    return build("OUT=out/static", "LDFLAGS=-static")


@pytest.mark.parametrize(("family", "behaviour"), SUPERVISED, ids=lambda part: part)
def test_behaviour(
    static_programs: Path, uringfs: Mount, checker: Checker, kernel: Kernel, family: str, behaviour: str
) -> None:
    def supervise(_: Path) -> None:
        notify.supervise(str(uringfs.path), trace=False)

    done = run(static_programs / family, behaviour, None, preexec=supervise)
    if (family, behaviour) in DIFFERS:
        assert done.returncode in (PASSED, FAILED), report("uringfs run", done)  # no hang, no death by a signal
        assert not checker.is_right(family, behaviour, done), "take it off the list"
        return
    checker.ours(family, behaviour, "uringfs run", done, kernel)
