"""The record of the conformance suite's traces, and what is held against it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance.checking import Checker
from tests.conformance.recorder import NoTraceError, changes, is_absent, observe, trace
from tests.support import record
from tests.support.conformance import FAILED, PASSED, SKIPPED, Done
from tests.support.record import Recorded, Surroundings

ABSENT = "this kernel has no IORING_SETUP_SQ_REWIND"
FAMILY = {
    "one": Recorded("res=-22\n\nres=0\n"),
    "silent": Recorded(""),
    "grows": Recorded("res=0\n", on={"tmpfs": "res=-95\n", "nfs": ""}),
    "later": Recorded("res=1\n", absent=ABSENT),
}


def done(trace: str = "", status: int = PASSED, error: str = "") -> Done:
    return subprocess.CompletedProcess(["program"], status, trace, error)


def skipped(reason: str) -> Done:
    return done(status=SKIPPED, error=f"skipped: {reason}\n")


def test_what_the_surroundings_may_not_allow_is_known() -> None:
    """Each is one behaviour, and names what it lacks: nothing else is left out anywhere, a tier least of all."""
    found = {
        (source.stem, test.split("(", 1)[1].split(")")[0]): reason
        for source in record.SOURCES.glob("*.c")
        for test in re.split(r"^(?=TEST\()", source.read_text(), flags=re.MULTILINE)[1:]
        for reason in re.findall(r'skip\("(.*?)"\)', test)
        if not reason.startswith(record.ABSENT)
    }
    assert found == {
        ("write_limits", "a_held_position_holds_up_nobody_else"): "no userfaultfd",
        ("sendmsg_control", "another_ones_credentials"): "needs root",
        ("socket", "another_user_connects"): "needs root",
        ("socket", "a_socket_of_another_network"): "needs root",
    }


def test_what_is_written_is_read() -> None:
    text = record.write("nop", FAMILY)
    assert record.parse(text) == FAMILY
    assert text.splitlines()[2:] == [
        *("== one", "res=-22", "", "res=0"),
        "== silent",
        *("== grows", "res=0", "-- on tmpfs", "res=-95", "-- on nfs"),
        *("== later", f"-- absent: {ABSENT}", "res=1"),
    ]


@pytest.mark.parametrize("line", ["== two", "-- on tmpfs"])
def test_a_trace_cannot_look_like_a_mark(line: str) -> None:
    with pytest.raises(AssertionError, match="looks like a mark"):
        record.write("nop", {"one": Recorded(f"res=0\n{line}\n")})


def test_a_difference_is_a_diff() -> None:
    recorded = FAMILY["one"]
    assert recorded.difference(done("res=-22\n\nres=0\n"), "ext4") == ""
    diff = ["--- the record", "+++ seen", "@@ -1,2 +1,2 @@", "-res=-22", "+res=-1", " "]
    assert recorded.difference(done("res=-1\n\nres=0\n"), "ext4").split("\n") == diff
    assert FAMILY["silent"].difference(done("res=0\n"), "ext4")
    assert recorded.difference(done("res=-22\n\nres=0\n\n"), "ext4")


def test_a_trace_of_its_own_for_a_filesystem() -> None:
    for filesystem, right, wrong in (("ext4", "res=0\n", "res=-95\n"), ("tmpfs", "res=-95\n", "res=0\n")):
        assert not FAMILY["grows"].difference(done(right), filesystem)
        assert FAMILY["grows"].difference(done(wrong), filesystem)


def test_faults_of_uringfs() -> None:
    assert not record.fault(FAMILY["grows"], "ours", done("res=0\n"), "ext4")
    assert "not as recorded" in record.fault(FAMILY["grows"], "ours", done("res=1\n"), "ext4")
    assert "exit 1" in record.fault(FAMILY["grows"], "ours", done("res=0\n", FAILED), "ext4")
    assert "exit 77" in record.fault(FAMILY["later"], "ours", skipped(ABSENT), "ext4")


def test_what_changed_in_a_kernel() -> None:
    assert not record.changed(FAMILY["one"], done(FAMILY["one"].trace), "ext4")
    assert record.changed(FAMILY["one"], done("res=1\n"), "ext4")
    assert record.changed(FAMILY["one"], done(FAMILY["one"].trace, FAILED), "ext4")
    assert ABSENT in record.changed(FAMILY["one"], skipped(ABSENT), "ext4")
    assert not record.changed(FAMILY["later"], skipped(ABSENT), "ext4")
    assert record.changed(FAMILY["later"], done("res=1\n"), "ext4")


def test_a_skip_for_want_of_something_of_the_kernel_is_none() -> None:
    assert record.skipped(skipped("needs root")) == "needs root"
    assert record.skipped(skipped(ABSENT)) == ""
    assert record.skipped(done(error="skipped: needs root")) == ""


# ---- what a session makes of it ----

HERE = Surroundings("6.18", "x86_64", "ext4")
ELSEWHERE = HERE._replace(filesystem="btrfs")


def checker(here: Surroundings = HERE) -> Checker:
    return Checker({"family": FAMILY}, (HERE, HERE._replace(filesystem="tmpfs")), here)


def test_a_run_on_uringfs_shows_the_recorded_trace() -> None:
    checker().ours("family", "grows", "uringfs", done("res=0\n"), kernel=None)
    checker(HERE._replace(filesystem="tmpfs")).ours("family", "grows", "uringfs", done("res=-95\n"), kernel=None)
    for ours in (done("res=-95\n"), done("res=0\n", FAILED), skipped(ABSENT)):
        with pytest.raises(pytest.fail.Exception):
            checker().ours("family", "grows", "uringfs", ours, kernel=None)
    with pytest.raises(AssertionError, match="make record"):
        checker().ours("family", "new", "uringfs", done(), kernel=None)


def test_where_the_record_was_made_the_kernel_is_not_asked() -> None:
    with pytest.raises(pytest.fail.Exception, match="not as recorded"):
        checker().ours("family", "grows", "uringfs", done("res=1\n"), kernel=lambda: done("res=1\n"))


def test_elsewhere_the_kernel_is_the_oracle_of_what_the_record_does_not_say() -> None:
    here = checker(ELSEWHERE)
    here.ours("family", "grows", "uringfs", done("res=1\n"), kernel=lambda: done("res=1\n"))
    here.ours("family", "grows", "uringfs", done("res=0\n"), kernel=lambda: done("res=1\n"))
    for kernel in (None, lambda: done("res=2\n"), lambda: done("res=1\n", FAILED)):
        with pytest.raises(pytest.fail.Exception, match="btrfs"):
            here.ours("family", "grows", "uringfs", done("res=1\n"), kernel=kernel)


def test_what_the_surroundings_do_not_allow_is_skipped() -> None:
    no_root = skipped("needs root")
    for kernel in (None, lambda: no_root):
        with pytest.raises(pytest.skip.Exception, match="needs root"):
            checker().ours("family", "one", "uringfs", no_root, kernel=kernel)
    with pytest.raises(AssertionError, match="exit 77"):
        checker().ours("family", "one", "uringfs", no_root, kernel=lambda: done(FAMILY["one"].trace))


def test_a_kernel_that_does_otherwise_is_told_of() -> None:
    checker().kernel("family", "one", done(FAMILY["one"].trace))
    with pytest.raises(pytest.fail.Exception, match="make record"):
        checker().kernel("family", "one", done("res=1\n"))
    newer = checker(HERE._replace(kernel="6.19"))
    newer.kernel("family", "one", done(FAMILY["one"].trace))
    with pytest.raises(pytest.xfail.Exception, match=r"6\.19"):
        newer.kernel("family", "one", done("res=1\n"))
    for behaviour, run in (("one", skipped("needs root")), ("later", skipped(ABSENT))):
        with pytest.raises(pytest.skip.Exception):
            checker().kernel("family", behaviour, run)


# ---- recording ----


def test_only_what_is_always_the_same_is_recorded() -> None:
    one = ("family", "one")
    assert trace(one, [done("res=0\n")], "the kernel") == "res=0\n"
    for ends in ([done("res=0\n"), done("res=1\n")], [done(status=FAILED)], [skipped("needs root")]):
        with pytest.raises(NoTraceError, match="family one"):
            trace(one, ends, "the kernel")


def test_each_end_that_is_seen_counts() -> None:
    ends = iter(["a", "b", "a", "a"])
    seen = observe(lambda behaviour: done(next(ends)), [("family", "one")])
    assert [end.stdout for end in seen["family", "one"]] == ["a", "b"]


def test_absent_is_what_the_kernel_never_has() -> None:
    assert is_absent([skipped(ABSENT)])
    assert not is_absent([skipped(ABSENT), done()])
    assert not is_absent([skipped("needs root")])


def test_what_changed_since_the_last_record() -> None:
    refused = "completes_before_enter_returns"
    old = {"nop": {"one": Recorded("res=0\n"), refused: Recorded(""), "gone": Recorded("")}}
    new = {"nop": {"one": Recorded("res=1\n"), "unknown_opcode_is_einval": Recorded("")}}
    changed, *others = changes(old, new)
    assert changed.splitlines()[0] == "nop one: changed"
    assert changed.splitlines()[-2:] == ["-res=0", "+res=1"]
    assert others == ["nop gone: no such behaviour any more", "nop unknown_opcode_is_einval: new"]


def test_the_filesystem_of_a_path_is_the_one_on_top() -> None:
    assert record.filesystem("/proc/self") == "proc"
    assert record.filesystem("/sys") == "sysfs"


def test_the_record_says_of_which_kernel_it_is() -> None:
    first, second = record.made_of()
    assert second == first._replace(filesystem="tmpfs")
    assert Path(record.path("nop")).parent == record.DIRECTORY
