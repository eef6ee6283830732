"""`uringfs run`: programs that know nothing of uringfs, on the kernel and under the launcher."""

import contextlib
import os
import pty
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mounting import AS_NOBODY, DEADLINE, ROOT, URINGFS, Mount, open_directory, until
from tests.support.probe import BEHAVIOURS, build, held, held_sockets, warm
from uringfs.cli.run import environment, library

COMMAND = (*URINGFS, "run")


@pytest.fixture(scope="session")
def probe() -> Iterator[Path]:
    """run_probe.c, where other users may run it."""
    with open_directory() as directory:
        yield build(directory / "probe")


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """`uringfs run WORDS`"""
    command = [*COMMAND, *map(str, words)]
    given: dict[str, object] = {
        "stdin": subprocess.DEVNULL,
        "capture_output": True,
        "text": True,
        "timeout": DEADLINE,
    }
    return subprocess.run(command, **(given | options))  # type: ignore[call-overload,no-any-return]


def trapped(mount: Mount) -> dict[bytes, bytes]:
    """The environment that `uringfs run --mount` gives a program."""
    return environment(str(mount.path), library())


# -- what programs do


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_as_on_the_kernel(probe: Path, mount: Mount, behaviour: str) -> None:
    kernel = subprocess.run([probe, behaviour], capture_output=True, text=True, timeout=DEADLINE)
    ours = run("--mount", mount.path, "--", probe, behaviour)
    assert kernel.returncode == 0, kernel.stderr
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, kernel.stdout, kernel.stderr)


def test_the_probe_runs_on_the_mount(probe: Path, mount: Mount) -> None:
    """Without this the tests above would compare the kernel with itself."""
    done = run("--mount", mount.path, "--trace-calls", "--", probe, "one_nop")
    assert re.search(r"^\[\d+\] io_uring_setup\(4, 0x[0-9a-f]+\) = \d+$", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^\[\d+\] io_uring_enter\(\d+, 1, 1, 0x1, 0x0, 8\) = 1$", done.stderr, re.MULTILINE), (
        done.stderr
    )
    with Mount(mount.path.with_name("gone")) as other:
        gone = str(other.path)
        env = trapped(other)
    refused = subprocess.run([probe, "one_nop"], env=env, capture_output=True, text=True)
    assert refused.returncode == 1, f"{gone}: {refused.stdout}"
    assert "Function not implemented" in refused.stderr


def killed_at_some_point(probe: Path, behaviour: str, mount: Mount, dice: random.Random) -> None:
    with subprocess.Popen([probe, behaviour], env=trapped(mount), stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        for _ in range(dice.randrange(1, 6)):
            assert victim.stdout.read(1) == b"."
        victim.kill()
        assert victim.wait(DEADLINE) == -signal.SIGKILL


@pytest.mark.parametrize(("behaviour", "times"), [("busy", 900), ("busy_poller", 100)])
def test_sigkill_at_any_point_leaves_nothing_in_the_daemon(
    probe: Path, mount: Mount, behaviour: str, times: int
) -> None:
    dice = random.Random(4711)
    for _ in range(20):
        killed_at_some_point(probe, behaviour, mount, dice)
    until(lambda: held(mount)[1] == 0, "the memory of the dead to be freed")
    warm(mount)
    before, sockets = held(mount), held_sockets(mount)
    for _ in range(times):
        killed_at_some_point(probe, behaviour, mount, dice)
    until(lambda: held(mount) <= before, f"the daemon to let go of what the dead had: {before}")
    # helpers come and go, one socket each: not as many as there were dead
    until(lambda: held_sockets(mount) < sockets + 20, f"the sockets of the dead to be closed: {sockets}")


@contextlib.contextmanager
def under(program: str, probe: Path, mount: Mount, cwd: Path) -> Iterator["subprocess.Popen[str]"]:
    """A program that is ready for what is to happen to the mount."""
    try:
        with subprocess.Popen(
            [probe, program],
            env=trapped(mount),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=cwd,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        assert process.returncode == 0
    finally:
        mount.stop()


def kill(mount: Mount) -> None:
    mount.process.kill()


def abort(mount: Mount) -> None:
    """It is busy, so it stays, and its connection does not."""
    subprocess.run(["umount", "-f", mount.path], capture_output=True)


@pytest.mark.parametrize("end", [kill, abort])
@pytest.mark.parametrize(
    "behaviour", ["until_refused", "polls_until_refused", "writes_until_refused", "a_poller_until_refused"]
)
def test_the_daemon_dies_under_the_program(
    probe: Path, directory: Path, tmp_path: Path, behaviour: str, end: Callable[[Mount], None]
) -> None:
    mount = Mount(directory)
    with under(behaviour, probe, mount, tmp_path) as program:
        if behaviour == "writes_until_refused":
            until(lambda: (tmp_path / "written").stat().st_size > 1 << 20, "some writes")
        end(mount)
        out, _ = program.communicate(timeout=DEADLINE)
    first, second, third, *written = out.splitlines()
    assert first in (f"enter: {os.strerror(code)}" for code in (5, 103, 107)), out
    assert second in (f"enter: {os.strerror(code)}" for code in (103, 107)), out
    assert third == f"setup: {os.strerror(38)}"
    assert all(int(count) > 200 for count in written)


def test_the_mount_goes_under_the_program(probe: Path, directory: Path, tmp_path: Path) -> None:
    """Lazily: what is open works, there is nothing new, and the daemon ends with the last ring."""
    mount = Mount(directory)
    with under("across_an_unmount", probe, mount, tmp_path) as program:
        subprocess.run(["umount", "-l", mount.path], check=True)
        out, _ = program.communicate("\n", timeout=DEADLINE)
        assert out == f"setup: {os.strerror(38)}\n"
        assert mount.process.wait(DEADLINE) == 0
    mount.assert_clean_log()


def test_a_program_that_refuses_io_uring_to_itself(probe: Path, mount: Mount) -> None:
    """The one thing in which its own filter loses: TRAP comes before ERRNO (docs/run.md)."""
    program = [probe, "refuses_io_uring_to_itself"]
    kernel = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE)
    assert (kernel.returncode, kernel.stdout) == (0, f"setup: {os.strerror(1)}\n")
    assert run("--mount", mount.path, "--", *program).stdout == "setup: Success\n"


# -- programs that never use io_uring


def test_one_filter_however_many_execs(mount: Mount) -> None:
    shell = "exec sh -c 'exec env -i sh -c \"grep Seccomp_filters /proc/self/status\"'"
    bare = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    ours = run("--mount", mount.path, "--", "sh", "-c", shell, check=True)
    assert int(ours.stdout.split()[1]) == int(bare.stdout.split()[1]) + 1


def test_a_static_program_that_needs_no_ring_may_be_executed(mount: Mount, tmp_path: Path) -> None:
    source = tmp_path / "static.c"
    source.write_text(
        '#include <unistd.h>\nint main(void) { return execl("/bin/echo", "echo", "static", NULL); }\n'
    )
    static = tmp_path / "static"
    subprocess.run(["cc", "-static", "-o", static, source], check=True)
    done = run("--mount", mount.path, "--", "sh", "-c", f"{static}; echo $?")
    assert (done.stdout, done.stderr) == ("static\n0\n", "")


SETUP = """\
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) { char p[120]; memset(p, 0, sizeof(p)); return syscall(425, 4, p) < 0; }
"""


def setup_program(directory: Path, *options: str) -> Path:
    """One that sets a ring up."""
    source, target = directory / "setup.c", directory / "setup"
    source.write_text(SETUP)
    subprocess.run(["cc", *options, "-o", target, source], check=True)
    return target


@pytest.mark.parametrize("kind", ["static", "setgid"])
def test_who_cannot_be_helped_is_told(mount: Mount, tmp_path: Path, kind: str) -> None:
    target = setup_program(tmp_path, *(["-static"] if kind == "static" else []))
    if kind == "setgid":
        os.chown(target, -1, 65534)
        target.chmod(0o2755)
    spawn = f"import os; print(os.waitpid(os.posix_spawn({str(target)!r}, ['x'], {{}}), 0)[1] & 127 | 128)"
    for command in (("sh", "-c", f"{target}; echo $?"), ("python3", "-c", spawn)):
        done = run("--mount", mount.path, "--", *command)
        assert done.stdout == "159\n"
        assert f"nothing can be preloaded into {target} (static, setuid or setgid)" in done.stderr
        assert "--mode notify" in done.stderr


def test_what_system_and_popen_execute_after_clearenv(mount: Mount, tmp_path: Path) -> None:
    target, source, clears = setup_program(tmp_path), tmp_path / "clears.c", tmp_path / "clears"
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        f'int main(void) {{ clearenv(); int a = system("{target}"), b = pclose(popen("{target}", "r"));'
        ' printf("%d %d %s\\n", a, b, getenv("LD_PRELOAD") ? "set" : "clear"); }\n'
    )
    subprocess.run(["cc", "-o", clears, source], check=True)
    done = run("--mount", mount.path, "--", clears)
    assert (done.stdout, done.stderr) == ("0 0 clear\n", "")


def test_under_valgrind_it_keeps_out_of_the_way(mount: Mount, tmp_path: Path) -> None:
    # a library that is called so is all that is seen of it
    (tmp_path / "vgpreload_core.so").symlink_to(library())
    shell = f'LD_PRELOAD="$LD_PRELOAD:{tmp_path}/vgpreload_core.so" exec true'
    done = run("--mount", mount.path, "--", "sh", "-c", shell)
    assert done.stderr == "uringfs: under valgrind nothing is trapped: uringfs run --mode notify\n"
    assert done.returncode == 0


def test_python_and_its_children(mount: Mount) -> None:
    code = "import subprocess, threading; subprocess.run(['echo', 'child'], check=True, env={})"
    done = run("--mount", mount.path, "--", sys.executable, "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\n", "")


def test_a_program_with_another_libc(mount: Mount, tmp_path: Path) -> None:
    """One library serves glibc and musl."""
    source, program = tmp_path / "musl.c", tmp_path / "musl"
    source.write_text(
        """
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        int main(int argc, char **argv)
        {
            char params[120] = {0}, *again[] = {argv[0], "again", 0}, *none[] = {0};
            sigset_t all;
            sigfillset(&all);
            sigprocmask(SIG_BLOCK, &all, 0);
            printf("%ld", syscall(425, 4L, params));
            printf(" %ld\\n", syscall(426, 3L, 0L, 0L, 1L, 0L, 8L));
            fflush(stdout);
            return argc == 1 ? execve(argv[0], again, none) : 0;
        }
        """
    )
    subprocess.run(["musl-gcc", "-o", program, source], check=True)
    done = run("--mount", mount.path, "--trace-calls", "--", program)
    assert (done.returncode, done.stdout) == (0, "3 0\n3 0\n")
    assert len(re.findall(r"^\[\d+\] io_uring_setup\(4, \w+\) = 3$", done.stderr, re.MULTILINE)) == 2


# -- as if it ran directly


def test_exit_status_and_standard_files() -> None:
    done = run("--", "sh", "-c", "cat; echo error >&2; exit 7", stdin=None, input="to stdin\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "to stdin\n", "error\n")


def test_death_by_a_signal() -> None:
    assert run("--", "sh", "-c", "kill -USR1 $$").returncode == -signal.SIGUSR1


def test_signals_reach_the_program() -> None:
    """The launcher has become it: pid and all."""
    shell = 'trap "echo term; exit 3" TERM; echo $$; while :; do read line || exit 4; done'
    with subprocess.Popen([*COMMAND, "sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert int(program.stdout.readline()) == program.pid
        program.send_signal(signal.SIGTERM)
        assert program.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the trap has ended it already
            os.write(program.stdin.fileno(), b"\n")
        assert program.stdout.read() == b"term\n"
        assert program.wait(DEADLINE) == 3


def test_the_terminal_is_the_programs() -> None:
    """One interrupt, when cat is known to read. The shell ends only when what it said has been read: the end of a
    session's leader throws away what is still on its way through the terminal (drivers/tty/pty.c,
    pty_flush_buffer())."""
    trap = 'trap "echo interrupted; read heard; exit 5" INT'
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(COMMAND[0], [*COMMAND, "sh", "-c", f"{trap}; test -t 0 && stty -echo && echo ok; cat"])

    def expect(words: bytes) -> None:
        seen = b""
        while not seen.endswith(words + b"\r\n"):
            seen += os.read(terminal, 100)

    expect(b"ok")
    os.write(terminal, b"back\n")
    expect(b"back")
    os.write(terminal, b"\x03")
    expect(b"interrupted")
    os.write(terminal, b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(terminal)


def test_environment_directory_and_descriptors_are_kept(tmp_path: Path) -> None:
    """In the C locale Python would add LC_CTYPE."""
    receive, send = os.pipe()
    env = {"PATH": os.environ["PATH"], "MINE": "a=b"}
    done = run("env", env=env, cwd=tmp_path)
    lines = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert lines - {"PWD", "_"} == {"PATH", "MINE", "LD_PRELOAD", "URINGFS_TRAP_MOUNT"}, done.stdout
    shell = f"echo through >/dev/fd/{send}; pwd; grep -c . /proc/self/limits; grep SigIgn: /proc/self/status"
    done = run("sh", "-c", shell, cwd=tmp_path, pass_fds=[send])
    bare = subprocess.run(
        ["sh", "-c", shell],
        cwd=tmp_path,
        pass_fds=[send],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.stdout == bare.stdout
    os.close(send)
    with open(receive) as pipe:
        assert pipe.read() == "through\nthrough\n"  # and nobody else holds the other end


# -- the private instance


def test_it_goes_with_the_program(probe: Path, tmp_path: Path) -> None:
    done = run(probe, "one_nop", env=os.environ | {"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "a nop\n", "")
    until(lambda: not os.listdir(tmp_path), "the private instance to be taken down")


def test_it_goes_with_a_program_that_is_killed(probe: Path, tmp_path: Path) -> None:
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([*COMMAND, probe, "busy"], env=env, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.read(3) == b"..."
        (directory,) = tmp_path.iterdir()
        assert os.path.ismount(directory / "mnt")
        program.kill()
    until(lambda: not os.listdir(tmp_path), "the private instance to be taken down")


def test_it_serves_a_program_that_becomes_another_user(probe: Path) -> None:
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", probe, "one_nop")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a nop\n", "")


def installed(home: Path) -> list[str]:
    """The command, of a copy of the package there."""
    shutil.copytree(ROOT / "uringfs", home / "uringfs", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"import sys; sys.path.insert(0, {str(home)!r}); from uringfs.__main__ import main; sys.exit(main())"
    return [sys.executable, "-c", code]


def test_where_another_user_cannot_read_the_library(probe: Path, tmp_path: Path) -> None:
    """Installed in root's home, say."""
    uringfs = installed(tmp_path / "home")
    (tmp_path / "home").chmod(0o700)
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = subprocess.run(
        [*uringfs, "run", *user, probe, "one_nop"], capture_output=True, text=True, timeout=DEADLINE
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "a nop\n", "")


def test_a_library_with_a_blank_in_its_path(probe: Path, mount: Mount, tmp_path: Path) -> None:
    """Installed in a place with a blank: beside a mount of the program's own there is a copy."""
    uringfs = installed(tmp_path / "an odd:place")
    done = subprocess.run([*uringfs, "run", probe, "one_nop"], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a nop\n", "")
    of_others = [*uringfs, "run", "--mount", mount.path, probe, "one_nop"]
    done = subprocess.run(of_others, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.endswith("LD_PRELOAD takes no path with blanks or colons: --mode notify\n")


# -- clear errors


def refused(status: int, words: str, *command: object, **options: object) -> None:
    done = run(*command, **options)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("uringfs run: ")


def test_no_program() -> None:
    refused(2, "no PROGRAM")
    refused(127, "nowhere-at-all: not found", "nowhere-at-all")
    refused(126, "Permission denied", "/etc/passwd")


def test_a_static_program(tmp_path: Path) -> None:
    source, program = tmp_path / "static.c", tmp_path / "static"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-static", "-o", program, source], check=True)
    refused(125, "statically linked", "--mode", "trap", program)
    script = tmp_path / "script"
    script.write_text(f"#!{program}\n")
    script.chmod(0o755)
    refused(125, "statically linked", "--mode", "trap", script)


def test_programs_of_other_machines(tmp_path: Path) -> None:
    image = bytearray(Path("/bin/true").read_bytes())
    program = tmp_path / "program"
    image[18] = 8  # e_machine: MIPS
    program.write_bytes(image)
    program.chmod(0o755)
    refused(125, "another machine", program)
    image[4] = 1  # ELFCLASS32
    program.write_bytes(image)
    refused(125, "32-bit", program)


def test_a_setuid_program_of_another_user(probe: Path) -> None:
    setuid = probe.with_name("setuid")
    setuid.write_bytes(probe.read_bytes())
    setuid.chmod(0o755 | stat.S_ISUID)
    done = subprocess.run([*AS_NOBODY, *COMMAND, setuid, "one_nop"], capture_output=True, text=True)
    assert done.returncode == 125
    assert "setuid" in done.stderr


def test_not_a_mount(tmp_path: Path) -> None:
    refused(125, "no uringfs is mounted there", "--mount", tmp_path, "true")


def test_a_machine_without_fuse() -> None:
    """Where /dev/fuse is something else the private instance cannot be mounted."""
    shell = 'mount --bind /dev/null /dev/fuse && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", shell, "sh", *COMMAND, "true"], capture_output=True, text=True
    )
    assert done.returncode == 125
    assert done.stderr.startswith("uringfs run: cannot mount a ring filesystem: "), done.stderr
