"""Each kind of fault against a C program, by the launcher, by notifications and by control writes; and the doors
by which rules come: `uringfs run`, `uringfs inject`, text, `.control`, Python."""

import errno
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from test_run import run

from tests.support.mounting import DEADLINE, ROOT, URINGFS, Mount, open_directory, until
from uringfs.client import Ring, nop
from uringfs.client.faults import FaultError, Faults

DOORS = ("trap", "notify", "control")
ORIGINAL = b"".join(b"%04d" % number for number in range(64))


class Programs(NamedTuple):
    calls: Path
    """It makes io_uring's system calls."""
    control: Path
    """It makes control writes on $RING."""


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    with open_directory() as directory:
        found = Programs(directory / "calls", directory / "control")
        for path, flags in ((found.calls, ()), (found.control, ("-DCONTROL",))):
            strict = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *flags)
            subprocess.run(["cc", *strict, "-o", path, ROOT / "tests/mounted/faulty.c"], check=True)
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "db.wal"
    path.write_bytes(ORIGINAL)
    return path


class Done(NamedTuple):
    status: int
    said: str
    data: bytes


def broken(mount: Mount, programs: Programs, door: str, file: Path, rules: list[str], *steps: str) -> Done:
    """Run the steps under these rules."""
    if door != "control":
        words = [word for rule in rules for word in ("--inject", rule)]
        done = run("--mount", mount.path, "--mode", door, "--seed", 1, *words, "--", programs.calls, file, *steps)
    else:
        faults = Faults(mount.path)
        given = [faults.inject(rule) for rule in rules]
        env = {**os.environ, "RING": str(mount / "new")}
        command = [programs.control, file, *steps]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=DEADLINE)
        for rule in given:
            rule.remove()
    assert done.stderr == ""
    return Done(done.returncode, done.stdout, file.read_bytes())


class Kind(NamedTuple):
    rules: tuple[str, ...]
    steps: tuple[str, ...]
    said: str
    """What the program prints."""
    data: bytes = ORIGINAL
    status: int = 0


B8 = b"B" * 8
KINDS = {
    "none": Kind((), ("write:8:0", "read:8:4"), "1:8 \n1:8 \nBBBB0002\n", B8 + ORIGINAL[8:]),
    "error": Kind(("WRITE:error=EIO",), ("write:8:0",), f"1:{-errno.EIO} \n"),
    "error after": Kind(("WRITE:error=EIO:after",), ("write:8:0",), f"1:{-errno.EIO} \n", B8 + ORIGINAL[8:]),
    "the second": Kind(
        ("WRITE:error=ENOSPC:when=2",),
        ("write:8:0", "write:8:8", "write:8:16"),
        f"1:8 \n1:{-errno.ENOSPC} \n1:8 \n",
        B8 + ORIGINAL[8:16] + B8 + ORIGINAL[24:],
    ),
    "path": Kind(
        ("WRITE:path=*.wal:error=EIO", "READ:path=*.log:error=EIO"),
        ("write:8:0", "read:8:0"),
        f"1:{-errno.EIO} \n1:8 \n00000001\n",
    ),
    "range": Kind(
        ("WRITE:range=8..11:error=EIO",),
        ("write:8:0", "write:8:4"),
        f"1:8 \n1:{-errno.EIO} \n",
        B8 + ORIGINAL[8:],
    ),
    "retval": Kind(("WRITE:retval=8",), ("write:8:0",), "1:8 \n"),
    "short": Kind(("WRITE:short=3",), ("write:8:0",), "1:3 \n", b"BBB" + ORIGINAL[3:]),
    "short read": Kind(("READ:short=3",), ("read:8:4",), "1:3 \n000BBBBB\n"),
    "torn": Kind(("WRITE:torn=3",), ("write:8:0",), "1:8 \n", b"BBB" + ORIGINAL[3:]),
    "misdirect": Kind(("WRITE:misdirect=+8",), ("write:8:0",), "1:8 \n", ORIGINAL[:8] + B8 + ORIGINAL[16:]),
    "chain": Kind(
        ("NOP:chain=2:error=EIO",), ("linked:3", "nops:2"), f"1:0 2:-5 3:{-errno.ECANCELED} \n1:0 2:0 \n"
    ),
    "flags": Kind(("NOP:flags=IO_LINK:retval=7",), ("linked:3",), "1:7 2:7 3:0 \n"),
    "peer": Kind(('SEND:peer="unix:@faulty-*":error=EPIPE',), ("send",), f"1:{-errno.EPIPE} \n"),
    "another peer": Kind(('SEND:peer="unix:@other-*":error=EPIPE',), ("send",), "1:1 \n"),
    "user_data": Kind(("NOP:user_data=2..3:retval=7",), ("nops:4",), "1:0 2:7 3:7 4:0 \n"),
    "fd": Kind(("WRITE,NOP:fd=0..1000:error=EIO",), ("nops:1", "write:8:0"), f"1:0 \n1:{-errno.EIO} \n"),
    "steps": Kind(("NOP:when=1..5+2:retval=7",), ("nops:6",), "1:7 2:0 3:7 4:0 5:7 6:0 \n"),
    "never by chance": Kind(("NOP:probability=0%:retval=7",), ("nops:2",), "1:0 2:0 \n"),
    "always by chance": Kind(("NOP:probability=100%:retval=7",), ("nops:2",), "1:7 2:7 \n"),
    "overflow": Kind(
        ("NOP:overflow:times=1",), ("quiet:2",), "enter 2, ready 0, overflowed 1, lost 0\n1:0 2:0 \n"
    ),
    "lose": Kind(("NOP:lose:times=1",), ("quiet:2",), "enter 2, ready 1, overflowed 0, lost 1\n2:0 \n"),
    "late": Kind(("ASYNC_CANCEL:late",), ("cancel",), f"2:{-errno.EALREADY} 1:1 \n"),
    "nomore": Kind(("POLL_ADD:nomore",), ("multishot:1",), "1:1 \n"),
    "no nomore": Kind((), ("multishot:2",), "1:1+ \n1:1+ \n"),
    "hidemore": Kind(("POLL_ADD:hidemore",), ("multishot:2",), "1:1 \n1:1 \n"),
    "hidemore once": Kind(("POLL_ADD:hidemore=1",), ("multishot:2",), "1:1 \n1:1+ \n"),
    "nobufs": Kind(("READ:nobufs",), ("buffers",), f"1:0 2:{-errno.ENOBUFS} \n"),
    "delay_enter": Kind(("NOP:delay_enter=100ms",), ("slow:100",), "1:0 \nslow\n"),
    "delay_exit": Kind(("NOP:delay_exit=100ms..120ms",), ("slow:100",), "1:0 \nslow\n"),
    "stall": Kind(("NOP:stall=100ms:times=1",), ("slow:100", "nops:1"), "1:0 \nslow\n1:0 \n"),
    "hold": Kind(("NOP:user_data=1:hold=exit:expires=2s",), ("nops:1",), "1:0 \n"),
    "enter busy": Kind(
        ("enter:error=EBUSY:when=1",), ("quiet:1",), "enter -16, ready 0, overflowed 0, lost 0\n\n"
    ),
    "short enter": Kind(("enter:short=1:times=1",), ("nops:2",), "enter 1\n1:0 \n"),
    "enter again": Kind(
        ("enter:error=EAGAIN:when=1",), ("quiet:1",), "enter -11, ready 0, overflowed 0, lost 0\n\n"
    ),
    "no register": Kind((), ("register",), f"register {-errno.ENXIO}\n"),
    "register": Kind(("register:error=ENOMEM",), ("register",), f"register {-errno.ENOMEM}\n"),
    "setup": Kind(("setup:error=ENOMEM",), (), f"setup {-errno.ENOMEM}\n"),
    "setup refused": Kind(("setup:error=EPERM",), (), f"setup {-errno.EPERM}\n"),
    "kill": Kind(("WRITE:signal=KILL",), ("write:8:0",), "", status=-signal.SIGKILL),
    "kill after": Kind(
        ("WRITE:signal=KILL:after",), ("write:8:0",), "", B8 + ORIGINAL[8:], status=-signal.SIGKILL
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", KINDS)
def test_kinds(mount: Mount, programs: Programs, file: Path, kind: str, door: str) -> None:
    wanted = KINDS[kind]
    done = broken(mount, programs, door, file, list(wanted.rules), *wanted.steps)
    assert done == Done(wanted.status, wanted.said, wanted.data)


UNSYNCED = {
    "overwritten": (("write:8:0",), ORIGINAL),
    "longer": (("write:8:300",), ORIGINAL),
    "twice": (("write:8:0", "write:12:4"), ORIGINAL),
    "synced": (("write:8:0", "write:8:252", "fsync"), B8 + ORIGINAL[8:252] + B8),
    "behind a sync": (("write:8:252", "fsync", "write:8:0", "write:8:260"), ORIGINAL[:252] + B8),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", UNSYNCED)
def test_what_is_not_synced_is_lost(mount: Mount, programs: Programs, file: Path, case: str, door: str) -> None:
    """When the program has ended, and all that it had written could be read until then."""
    steps, left = UNSYNCED[case]
    with Faults(mount.path).injected(f"WRITE:path={file}:unsynced") as rule:
        done = broken(mount, programs, door, file, [], *steps, "read:4:0")
        until(lambda: not rule.unsynced, "unsynced writes to be lost")
        assert rule.injected == sum(step.startswith("write") for step in steps)
    assert done.said.endswith("BBBB\n" if "write:8:0" in steps else "0000\n")
    assert file.read_bytes() == left


@pytest.mark.parametrize("door", DOORS)
def test_an_interrupted_enter_has_done_nothing(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    """The next finds the request that this has left, too."""
    done = broken(mount, programs, door, file, ["enter:error=EINTR:when=2"], "nops:1", "nops:1", "nops:1")
    assert done.said == f"1:0 \nenter {-errno.EINTR}\n\n1:0 \n"


@pytest.mark.parametrize("door", DOORS)
def test_a_signal_to_the_caller(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    done = broken(mount, programs, door, file, ["NOP:signal=USR1"], "quiet:1")
    assert f"signal {int(signal.SIGUSR1)}\n" in done.said
    assert done.said.endswith("1:0 \n")


@pytest.mark.parametrize("door", DOORS)
def test_corruption(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    done = broken(mount, programs, door, file, ["WRITE:corrupt=2"], "write:64:0")
    assert done.said == "1:64 \n"
    assert sum(byte != ord("B") for byte in done.data[:64]) == 2
    assert done.data[64:] == ORIGINAL[64:]


@pytest.mark.parametrize("door", DOORS)
def test_another_order(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    done = broken(mount, programs, door, file, ["NOP:reorder=8"], *["nops:8"] * 4)
    orders = [re.findall(r"(\d+):0", line) for line in done.said.splitlines()]
    in_order = [str(number) for number in range(1, 9)]
    assert [sorted(order) for order in orders] == [in_order] * 4
    assert any(order != in_order for order in orders)


@pytest.mark.parametrize("door", DOORS)
def test_released_by_hand_and_by_a_rule(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    faults = Faults(mount.path)
    with (
        faults.injected("NOP:user_data=2:hold") as held,
        faults.injected(f"NOP:user_data=3:release={held.id}"),
    ):
        done = broken(mount, programs, door, file, [], "nops:3")
        assert done.said == "1:0 3:0 2:0 \n"
        assert (held.matched, held.injected, held.waiting) == (1, 1, 0)


@pytest.mark.parametrize("door", DOORS)
def test_a_stall_is_released_by_hand(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    """Until then nothing of its ring begins, nor completes."""
    faults = Faults(mount.path)
    with faults.injected("NOP:user_data=2:stall:times=1") as rule, ThreadPoolExecutor(1) as pool:
        running = pool.submit(broken, mount, programs, door, file, [], "nops:3", "write:8:0")
        until(lambda: rule.injected, "the ring to stall")
        assert not running.done()
        assert rule.waiting >= 1
        assert file.read_bytes() == ORIGINAL
        rule.release()
        assert running.result() == Done(0, "1:0 2:0 3:0 \n1:8 \n", B8 + ORIGINAL[8:])


@pytest.mark.parametrize("door", DOORS)
def test_requests_of_a_process(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    """A program is of its parents, too."""
    faults = Faults(mount.path)
    with subprocess.Popen(["sleep", "inf"]) as other:
        with (
            faults.injected(f"NOP:pid={other.pid}:retval=7") as none,
            faults.injected(f"NOP:pid={os.getpid()}:retval=8") as all_,
        ):
            assert broken(mount, programs, door, file, [], "nops:2").said == "1:8 2:8 \n"
            assert (none.matched, all_.injected) == (0, 2)
        other.kill()


@pytest.mark.parametrize("door", DOORS)
def test_requests_of_a_ring(mount: Mount, programs: Programs, file: Path, door: str) -> None:
    """By its name, if it has one, or its number."""
    faults = Faults(mount.path)
    with Ring(mount / "named", 8) as ring:
        number = os.fstat(ring.fileno()).st_ino
        with (
            faults.injected(f"NOP:ring=#{number}:user_data=1:retval=7"),
            faults.injected("NOP:ring=name*:user_data=2:retval=8"),
            faults.injected("NOP:ring=*:user_data=3:retval=9"),
        ):
            assert broken(mount, programs, door, file, [], "nops:3").said == "1:0 2:0 3:9 \n"
            for user_data in (1, 2, 3):
                ring.queue(nop(user_data))
            ring.submit(wait=3)
            assert [cqe.res for cqe in ring.reap()] == [7, 8, 9]
    os.unlink(mount / "named")


def test_what_a_private_instance_is_given(programs: Programs, file: Path) -> None:
    done = run("--inject", "WRITE:error=EIO:when=2", "--", programs.calls, file, "write:8:0", "write:8:8")
    assert (done.stdout, done.stderr) == (f"1:8 \n1:{-errno.EIO} \n", "")
    assert file.read_bytes() == B8 + ORIGINAL[8:]


@pytest.mark.parametrize("private", [True, False], ids=["private", "mounted"])
@pytest.mark.parametrize(
    "words", ["probability=50%", "error=EIO:probability=99%", "delay_exit=1us..2ms", "reorder=4"]
)
def test_the_seed_is_said_if_it_plays_a_role(
    mount: Mount, programs: Programs, file: Path, private: bool, words: str
) -> None:
    """Given once more, it does the same."""
    Faults(mount.path).clear()
    where = () if private else ("--mount", mount.path)
    rule = f"NOP:delay_exit=1us:{words}" if words.startswith("prob") else f"NOP:{words}"
    done = run(*where, "--inject", rule, "--", programs.calls, file, "nops:4")
    said = re.fullmatch(r"uringfs run: --seed (\d+)\n", done.stderr)
    assert said is not None
    assert run(*where, "--seed", said[1], "--inject", rule, "--", programs.calls, file).stderr == ""
    Faults(mount.path).clear()


def test_the_seed_of_a_run(programs: Programs, file: Path) -> None:
    orders = []
    for seed in (1, 1, 2):
        words = ("--seed", seed, "--inject", "NOP:reorder=8", "--", programs.calls, file, "nops:8", "nops:8")
        done = run(*words)
        assert done.stderr == ""
        orders.append(done.stdout)
    assert orders[0] == orders[1] != orders[2]


def test_a_wrong_rule_is_said_before_anything_runs(programs: Programs, file: Path) -> None:
    done = run("--inject", "WRITE:eror=EIO", "--", programs.calls, file, "write:8:0")
    assert done.returncode == 2
    assert "column 7: 'eror' is no word of a rule (perhaps 'error'); what fits:" in done.stderr
    assert file.read_bytes() == ORIGINAL


def test_rules_of_a_run_end_with_the_program(mount: Mount, programs: Programs, file: Path) -> None:
    faults = Faults(mount.path)
    assert broken(mount, programs, "trap", file, ["WRITE:error=EIO"], "write:8:0").said == f"1:{-errno.EIO} \n"
    until(lambda: all(rule["expired"] for rule in faults.rules()), "the rule to expire")
    faults.clear()


def test_a_rule_of_a_run_is_about_that_program_alone(mount: Mount, programs: Programs, file: Path) -> None:
    with Ring(mount / "new", 4) as ring:
        done = run("--mount", mount.path, "--inject", "NOP:retval=9", "--", "sleep", "0")
        assert done.returncode == 0
        ring.queue(nop(1))
        ring.submit(wait=1)
        assert [cqe.res for cqe in ring.reap()] == [0]
    Faults(mount.path).clear()


# -- text


def test_text_on_a_ring(mount: Mount, name: str) -> None:
    ring = mount / name
    ring.write_text("setup 8\ninject NOP:user_data=2:retval=9\nnop user_data=1\nnop user_data=2\nenter\n")
    shown = ring.read_text()
    number = re.search(r"^  rule:(\d+), user_data:2, NOP:user_data=2:retval=9$", shown, re.MULTILINE)
    assert number is not None, shown
    assert "Injected:\t1\n" in shown
    assert "    1: user_data:2, res:9, flag:0" in shown
    with Ring(mount / "new", 4) as other:  # the rule is that ring's
        other.queue(nop(2))
        other.submit(wait=1)
        assert [cqe.res for cqe in other.reap()] == [0]
    ring.write_text("faults\n")
    assert "NOP:user_data=2:retval=9\tinjected 1 of 1 that match" in ring.read_text()
    ring.write_text(f"uninject {number[1]}\nfaults\n")
    assert "LastMessage:\tno rules\n" in ring.read_text()
    with pytest.raises(OSError, match="Invalid argument"):
        ring.write_text("inject NOP:retvl=9\n")
    assert "column 5: 'retvl' is no word" in ring.read_text()


def test_the_control_file(mount: Mount) -> None:
    control = mount / ".control"
    assert control.read_text() == "no rules\n"
    control.write_text("# a comment\ninject NOP:user_data=4711:retval=9\n")
    assert "NOP:user_data=4711:retval=9\tnothing has matched" in control.read_text()
    with open(control, "r+b", buffering=0) as opened:
        opened.write(b"inject WRITE:path=/a b/*:error=EIO")
        said = opened.read(4096)
        assert re.fullmatch(rb"inject: rule \d+\n", said)
        with pytest.raises(OSError, match="Invalid argument"):
            opened.write(b"inject WRITE:wen=3")
        assert b"column 7: 'wen' is no word of a rule (perhaps 'when')" in opened.read(4096)
        with pytest.raises(OSError, match="Invalid argument"):
            opened.write(b"setup 8")
        opened.write(b"uninject all")
    assert control.read_text() == "no rules\n"
    assert ".control" not in os.listdir(mount.path)
    assert os.listxattr(control) == []


def test_the_control_file_stays(mount: Mount, name: str) -> None:
    (mount / name).touch()
    for call in (
        lambda: os.unlink(mount / ".control"),
        lambda: os.rename(mount / name, mount / ".control"),
        lambda: os.rename(mount / ".control", mount / "other"),
    ):
        with pytest.raises(PermissionError):
            call()
    with pytest.raises(FileExistsError):
        os.open(mount / ".control", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert os.stat(mount / ".control").st_mode & 0o777 == 0o666


def test_from_python(mount: Mount) -> None:
    faults = Faults(mount.path)
    with faults.injected("NOP:retval=9:when=2") as rule, Ring(mount / "new", 4) as ring:
        for number in range(3):
            ring.queue(nop(number))
        ring.submit(wait=3)
        assert [cqe.res for cqe in ring.reap()] == [0, 9, 0]
        assert (rule.matched, rule.injected, rule.expired) == (3, 1, False)
    assert rule.injected == 1
    assert faults.rules() == []
    with pytest.raises(FaultError, match="column 5: 'retvl' is no word") as raised:
        faults.inject("NOP:retvl=9")
    assert raised.value.errno == errno.EINVAL
    with pytest.raises(FaultError, match="no rule 999") as raised:
        faults.release(999)
    assert raised.value.errno == errno.ENOENT


def test_the_command(mount: Mount) -> None:
    def said(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*URINGFS, "inject", "--mount", str(mount.path), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)

    number = said("NOP:hold").stdout.strip()
    assert number.isdecimal()
    assert "nothing has matched" in said("--list").stdout
    assert f'"id": {number}' in said("--json").stdout
    assert said("--release", number).stdout == "0\n"
    assert said("--remove", number, "--list").stdout == "no rules\n"
    assert "no rule 999" in said("--release", "999").stderr
    assert said("NOP:x=1").returncode == 2
    assert said().returncode == 2


def test_what_text_has_queued_is_held_though_its_file_is_closed(mount: Mount) -> None:
    ring = mount.path / f"held-{os.getpid()}"
    ring.touch()
    with Faults(mount.path).injected("NOP:user_data=77:hold") as held:
        for line in ("setup 4", "nop user_data=77", "enter"):
            ring.write_text(f"{line}\n")
        assert "Pending:\t1\n" in ring.read_text()
        held.release()
    assert "user_data:77, res:0," in ring.read_text()
    ring.unlink()


def test_rules_from_the_start(directory: Path) -> None:
    with (
        Mount(directory, "--inject", "setup:error=EPERM:times=1", "--seed", "7") as mount,
        pytest.raises(PermissionError),
        Ring(mount / "new", 4),
    ):
        pass
    assert "seed 7, rule 1:" in mount.log()


# -- an older kernel

AS = {
    "5.5": f"1:{-errno.EINVAL} \n",
    "5.6": "1:8 \n",
}


@pytest.mark.parametrize("version", AS)
@pytest.mark.parametrize("mode", ["trap", "notify"])
@pytest.mark.parametrize("private", [True, False], ids=["private", "mounted"])
def test_as_an_older_kernel(
    mount: Mount, programs: Programs, file: Path, version: str, mode: str, private: bool
) -> None:
    where = () if private else ("--mount", mount.path)
    words = (*where, "--as-kernel", version, "--mode", mode, "--", programs.calls, file)
    done = run(*words, "write:8:0")
    assert (done.stdout, done.stderr) == (AS[version], "")
    assert run(*words, "nops:1").stdout == "1:0 \n"


def test_others_find_the_mounts_kernel(mount: Mount, programs: Programs, file: Path) -> None:
    run("--mount", mount.path, "--as-kernel", "5.5", "--", programs.calls, file, "nops:1")
    assert broken(mount, programs, "control", file, [], "write:8:0").said == "1:8 \n"


def test_a_kernel_that_is_none(programs: Programs, file: Path) -> None:
    done = run("--as-kernel", "5.0", "--", programs.calls, file)
    assert done.returncode == 2
    assert "'5.0' is no kernel from 5.1 to 6.18" in done.stderr


def test_a_mount_of_an_older_kernel(directory: Path, programs: Programs, file: Path) -> None:
    with Mount(directory, "--as-kernel", "5.5") as mount:
        assert broken(mount, programs, "control", file, [], "write:8:0").said == AS["5.5"]
        with pytest.raises(OSError, match="Invalid argument"):
            Ring(mount / "new", 4, flags=1 << 10)  # SQE128


def test_text_sets_up_a_ring_of_an_older_kernel(mount: Mount, name: str, file: Path) -> None:
    ring = mount / name
    ring.write_text("setup 8 kernel=5.5\nread fd=0 user_data=1\nenter\nreap\n")
    assert f"user_data:1, res:{-errno.EINVAL}" in ring.read_text()
    with pytest.raises(OSError, match="Invalid argument"):
        (mount / f"{name}.other").write_text("setup 8 kernel=4.19\n")
    os.unlink(mount / f"{name}.other")
