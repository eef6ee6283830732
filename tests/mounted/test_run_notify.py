"""`uringfs run --mode notify`: the daemon answers the system calls of programs nothing is preloaded into."""

import errno
import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_run import COMMAND, refused, run

from tests.support.mounting import AS_NOBODY, DEADLINE, Mount, open_directory, until
from tests.support.probe import BEHAVIOURS, build, held, warm
from uringfs.abi.machine import NR
from uringfs.abi.seccomp import NR_IO_URING_REGISTER, NR_IO_URING_SETUP
from uringfs.cli import notify

NO_MMAP = "rings_in_the_programs_memory"
NO_CALL = {
    "a_poller_that_opens_and_closes",
    "a_poller_whose_table_is_full",
    "accepts_while_it_polls",
    "an_open_that_lasts_while_it_polls",
    "a_child_that_ends_while_it_polls",
}
"""They need a thread in the program: SECCOMP_IOCTL_NOTIF_ADDFD takes a call that is under way."""


@pytest.fixture(scope="session")
def static() -> Iterator[Path]:
    with open_directory() as directory:
        yield build(directory / "static", "-static")


@pytest.fixture(scope="session")
def dynamic() -> Iterator[Path]:
    with open_directory() as directory:
        yield build(directory / "dynamic")


def supervised(program: Path, behaviour: str, mount: Mount, **options: object) -> "subprocess.Popen[str]":
    """As `uringfs run` starts it, without a Python of its own."""
    return subprocess.Popen(
        [program, behaviour],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: notify.supervise(str(mount.path), trace=False),
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("behaviour", [name for name in BEHAVIOURS if name not in NO_CALL | {NO_MMAP}])
@pytest.mark.parametrize("link", ["static", "dynamic"])
def test_as_on_the_kernel(request: pytest.FixtureRequest, mount: Mount, link: str, behaviour: str) -> None:
    program: Path = request.getfixturevalue(link)
    kernel = subprocess.run([program, behaviour], capture_output=True, text=True, timeout=DEADLINE)
    ours = run("--mount", mount.path, "--mode", "notify", "--", program, behaviour)
    assert kernel.returncode == 0, kernel.stderr
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, kernel.stdout, kernel.stderr)


def test_a_ring_in_the_programs_memory_is_refused(static: Path, mount: Mount) -> None:
    done = run("--mount", mount.path, "--", static, NO_MMAP)
    assert (done.returncode, done.stdout) == (1, "")
    assert "fd is -22" in done.stderr


def test_static_programs_are_supervised_without_being_asked(static: Path, mount: Mount, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{static} one_nop\n")
    script.chmod(0o755)
    for program in ([static, "one_nop"], [script]):
        done = run("--mount", mount.path, "--trace-calls", "--", *program)
        words = r"\[\d+\] io_uring_setup\(4, 0x[0-9a-f]+\) = \d+\n"
        words += r"\[\d+\] io_uring_enter\(\d+, 1, 1, 0x1, 0x0, 8\) = 1\n"
        if program == [static, "one_nop"]:
            assert (done.returncode, done.stdout) == (0, "a nop\n"), done.stderr
            assert re.fullmatch(words, done.stderr), done.stderr
        else:  # the probe takes one argument, and the kernel adds the script's name: it says how it is used
            assert done.returncode == 2
            assert "usage" in done.stderr


def test_a_trace_that_nobody_reads(static: Path, mount: Mount) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*COMMAND, "--mount", mount.path, "--trace-calls", "--", static, "one_nop"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, text=True, timeout=DEADLINE)
    os.close(write)
    assert (done.returncode, done.stdout) == (0, "a nop\n")


def test_dynamic_programs_are_not(dynamic: Path, mount: Mount) -> None:
    done = run("--mount", mount.path, "--", "sh", "-c", "echo $URINGFS_TRAP_MOUNT")
    assert done.stdout == f"{mount.path}\n"
    done = run("--mount", mount.path, "--mode", "notify", "--", "sh", "-c", "echo $URINGFS_TRAP_MOUNT $LD_PRELOAD")
    assert done.stdout == "\n"


def test_a_private_instance_goes_with_it(static: Path, tmp_path: Path) -> None:
    done = run(static, "one_nop", env=os.environ | {"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "a nop\n", "")
    until(lambda: not os.listdir(tmp_path), "the private instance to be taken down")


def test_as_another_user(static: Path, mount: Mount) -> None:
    command = [*AS_NOBODY, *COMMAND, "--mount", mount.path, "--", static, "one_nop"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a nop\n", "")


# -- as if it ran directly


def test_exit_status_standard_files_and_death_by_a_signal(mount: Mount) -> None:
    shell = ("--mount", mount.path, "--mode", "notify", "--", "sh", "-c")
    done = run(*shell, "cat; echo error >&2; exit 7", stdin=None, input="to stdin\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "to stdin\n", "error\n")
    assert run(*shell, "kill -USR1 $$").returncode == -signal.SIGUSR1


def test_signals_reach_the_program(static: Path, mount: Mount) -> None:
    """SIGTERM and SIGQUIT of a program that waits and catches neither; SIGSTOP, which it cannot."""
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL):
        with supervised(static, "until_refused", mount) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            program.send_signal(signal.SIGSTOP)
            os.waitpid(program.pid, os.WUNTRACED)
            program.send_signal(signal.SIGCONT)
            program.send_signal(number)
            assert program.wait(DEADLINE) == -number


# -- ends


def test_sigkill_at_any_point_leaves_nothing_in_the_daemon(static: Path, mount: Mount) -> None:
    dice = random.Random(4711)

    def kill_one() -> None:
        with supervised(static, "busy", mount) as victim:
            assert victim.stdout is not None
            for _ in range(dice.randrange(1, 40)):
                assert victim.stdout.read(1) == "."
            victim.kill()
            assert victim.wait(DEADLINE) == -signal.SIGKILL

    for _ in range(10):
        kill_one()
    until(lambda: held(mount)[1] == 0, "the memory of the dead to be freed")
    warm(mount)
    before = held(mount)
    threads = len(os.listdir(f"/proc/{mount.pid}/task"))
    for _ in range(60):
        kill_one()
    until(lambda: held(mount) <= before, f"the daemon to let go of what the dead had: {before}")
    assert len(os.listdir(f"/proc/{mount.pid}/task")) < threads + 10  # a thread a listener, and they are reused


def test_the_daemon_dies_under_the_program(static: Path, directory: Path) -> None:
    mount = Mount(directory)
    try:
        with supervised(static, "until_refused", mount) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            mount.process.kill()
            out, _ = program.communicate(timeout=DEADLINE)
    finally:
        mount.stop()
    assert out.splitlines() == [f"{call}: {os.strerror(errno.ENOSYS)}" for call in ("enter", "enter", "setup")]
    assert program.returncode == 0


# -- clear errors


def test_one_supervisor_is_all_there_can_be(mount: Mount) -> None:
    notified = ("--mount", str(mount.path), "--mode", "notify", "--")
    done = run(*notified, *COMMAND, *notified, "true")
    assert done.returncode == 125
    assert "a seccomp listener already" in done.stderr


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """strict FIRST LAST PROGRAM...: under a filter that answers EPERM to these system calls."""
    source, program = tmp_path / "strict.c", tmp_path / "strict"
    source.write_text(
        """
        #include <linux/filter.h>
        #include <linux/seccomp.h>
        #include <stddef.h>
        #include <stdlib.h>
        #include <sys/prctl.h>
        #include <unistd.h>
        int main(int argc, char **argv)
        {
            struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, atoi(argv[1]), 0, 2),
                BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, atoi(argv[2]), 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            };
            struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            if (argc < 4 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
                return 1;
            return execvp(argv[3], argv + 3);
        }
        """
    )
    subprocess.run(["cc", "-o", program, source], check=True)
    return program


def refusal_below(strict: Path, mount: Mount, first: int, last: int) -> str:
    command = [strict, str(first), str(last), *COMMAND, "--mount", mount.path, "--mode", "notify", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (125, "")
    return done.stderr


def test_where_a_stricter_filter_refuses_io_uring(mount: Mount, strict: Path) -> None:
    """As the default profiles of container engines do."""
    assert refusal_below(strict, mount, NR_IO_URING_SETUP, NR_IO_URING_REGISTER) == (
        "uringfs run: another seccomp filter here refuses io_uring first (Operation not permitted): "
        "use --mode trap\n"
    )


def test_where_seccomp_is_refused(mount: Mount, strict: Path) -> None:
    number = NR["seccomp"]
    assert refusal_below(strict, mount, number, number) == (
        "uringfs run: this machine refuses a seccomp filter with a listener: Operation not permitted\n"
    )


def test_what_trap_refuses(mount: Mount, tmp_path: Path) -> None:
    image = bytearray(Path("/bin/true").read_bytes())
    image[4] = 1  # ELFCLASS32
    program = tmp_path / "program"
    program.write_bytes(image)
    program.chmod(0o755)
    refused(125, "32-bit", "--mode", "notify", program)
    refused(125, "no uringfs is mounted there", "--mode", "notify", "--mount", tmp_path, "true")
