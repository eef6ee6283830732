"""The text language from a real shell: every command, every error, and what `cat` and the tools show."""

import os
import re
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.children import Child, in_child
from tests.support.mounting import DEADLINE, Mount, until
from uringfs.client import Ring


class Shell:
    """`sh` with $r as the ring's path."""

    def __init__(self, mount: Mount, name: str) -> None:
        self.path = mount / name

    def __call__(self, script: str) -> str:
        done = self.run(script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", script],
            env={**os.environ, "r": str(self.path), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )

    def refused(self, command: str, errno_text: str, message: str) -> None:
        """echo COMMAND fails with that errno; `cat` has the message."""
        done = self.run(f"/bin/echo '{command}' > $r")  # dash's own echo says `I/O error` whatever it was
        assert done.returncode != 0, f"{command}: accepted"
        assert errno_text in done.stderr
        last = next(line for line in self("cat $r").splitlines() if line.startswith("LastMessage:"))
        assert re.search(message, last), last


@pytest.fixture
def sh(mount: Mount, name: str) -> Shell:
    return Shell(mount, name)


def lines(text: str) -> dict[str, str]:
    """NAME:<tab>VALUE lines."""
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


# -- commands


def test_a_session(sh: Shell) -> None:
    assert lines(sh("> $r; cat $r"))["State"].startswith("not set up")
    shown = lines(sh("echo setup 8 > $r; cat $r"))
    assert shown["LastMessage"] == "setup: 8 SQ entries, 16 CQ entries"
    assert (shown["SqMask"], shown["CqMask"]) == ("0x7", "0xf")
    shown = lines(sh("echo nop user_data=42 > $r; echo nop user_data=43 >> $r; cat $r"))
    assert shown["LastMessage"] == "queued user_data 43; 2 in the SQ"
    assert (shown["SqHead"], shown["SqTail"], shown["SQEs"]) == ("0", "2", "2")
    shown = lines(sh("echo enter > $r; cat $r"))
    assert shown["LastMessage"] == "enter: 2 submitted, 2 CQEs ready"
    assert (shown["SqHead"], shown["CqTail"], shown["CQEs"]) == ("2", "2", "2")
    shown = lines(sh("echo reap 1 > $r; cat $r"))
    assert shown["LastMessage"] == "reaped 1: user_data:42, res:0, flags:0"
    shown = lines(sh("echo reap > $r; cat $r"))
    assert shown["LastMessage"] == "reaped 1: user_data:43, res:0, flags:0"
    assert lines(sh("echo reap > $r; cat $r"))["LastMessage"] == "reaped 0"


def test_the_lines_of_the_kernels_fdinfo_come_first_and_in_its_order(sh: Shell) -> None:
    text = sh("echo 'setup 4\nnop user_data=7 flags=IO_LINK\nnop user_data=0x8' > $r; cat $r")
    names = [line.split(":")[0] for line in text.splitlines()]
    fdinfo = "SqMask SqHead SqTail CachedSqHead CqMask CqHead CqTail CachedCqTail SQEs".split()
    assert names[:9] == fdinfo
    assert text.splitlines()[9:11] == [
        "    0: opcode:NOP, fd:-1, flags:4, off:0, addr:0x0, rw_flags:0x0, buf_index:0 user_data:7",
        "    1: opcode:NOP, fd:-1, flags:0, off:0, addr:0x0, rw_flags:0x0, buf_index:0 user_data:8",
    ]
    rest = ["CQEs", *"SqThread SqThreadCpu SqTotalTime SqWorkTime UserFiles UserBufs PollList".split()]
    rest += ["CqOverflowList", "NAPI"]
    assert names[11 : 11 + len(rest)] == rest
    text = sh("echo enter > $r; cat $r")
    assert "\nCQEs:\t2\n    0: user_data:7, res:0, flag:0\n    1: user_data:8, res:0, flag:0\n" in text


def test_our_lines(sh: Shell, mount: Mount) -> None:
    shown = lines(sh("echo 'setup 4 cq=32 flags=CLAMP|SUBMIT_ALL' > $r; cat $r"))
    assert re.fullmatch(r"pid:\d+, uid:0", shown["Owner"])
    assert shown["Backend"] == mount.backend
    assert shown["SetupFlags"] == "CQSIZE|CLAMP|SUBMIT_ALL"
    assert shown["CqMask"] == "0x1f"
    shown = lines(sh("printf 'nop\\nnop\\nenter\\n' > $r; cat $r"))
    assert (shown["Submitted"], shown["Completed"]) == ("2", "2")


def test_several_commands_comments_and_blank_lines(sh: Shell) -> None:
    script = "# a ring\n\n   setup   4\n\tnop user_data=1\n  # twice\nnop user_data=2\nenter\nreap\n"
    sh(f"printf '{script}' > $r")
    assert "reaped 2: user_data:1, res:0, flags:0; user_data:2" in sh("cat $r")


def test_a_failing_line_ends_the_write_and_what_stood_before_it_is_done(sh: Shell) -> None:
    done = sh.run("/usr/bin/printf 'setup 4\\nnop\\nenter x\\nnop\\n' > $r")
    assert "Invalid argument" in done.stderr
    assert "State" in sh("cat $r")  # parsed as a whole: nothing was done
    sh("printf 'setup 1\\nnop\\n' > $r")
    done = sh.run("/usr/bin/printf 'enter\\nnop user_data=1\\nnop\\nreap\\n' > $r")
    assert "Resource temporarily unavailable" in done.stderr
    shown = lines(sh("cat $r"))
    assert (shown["SqTail"], shown["CQEs"]) == ("2", "1")


def test_enter_counts(sh: Shell) -> None:
    sh("printf 'setup 8\\nnop\\nnop\\nnop\\n' > $r")
    assert lines(sh("echo enter 2 > $r; cat $r"))["LastMessage"] == "enter: 2 submitted, 2 CQEs ready"
    assert lines(sh("echo enter 9 wait=3 > $r; cat $r"))["LastMessage"] == "enter: 1 submitted, 3 CQEs ready"
    assert lines(sh("echo enter wait=3 > $r; cat $r"))["LastMessage"] == "enter: 0 submitted, 3 CQEs ready"


def test_flags_by_name_and_number(sh: Shell) -> None:
    text = sh("printf 'setup 4\\nnop flags=IO_LINK|IO_DRAIN\\nnop flags=0x10\\nnop flags=ASYNC|4\\n' > $r; cat $r")
    assert re.findall(r"opcode:NOP, fd:-1, flags:(\w+)", text) == ["6", "10", "14"]


def test_readv(sh: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'line "1"\n\\\t\0\xff' + b"x" * 50)
    sh(f"printf 'setup 4\\nreadv path={tmp_path}/file len=12 user_data=43\\nenter wait=1\\nreap\\n' > $r")
    text = sh("cat $r")
    assert lines(text)["LastMessage"] == "reaped 1: user_data:43, res:12, flags:0"
    assert 'Data:\tuser_data:43, len:12, "line \\"1\\"\\n\\\\\\t\\000"\n' in text
    sh(f"printf 'readv path={tmp_path}/file len=4 off=9 user_data=44\\nenter wait=1\\nreap\\n' > $r")
    assert 'Data:\tuser_data:44, len:4, "\\\\\\t\\000\\377"' in sh("cat $r")
    sh(f"printf 'readv path={tmp_path}/none user_data=45\\nenter wait=1\\nreap\\n' > $r")
    assert "user_data:45, res:-2, flags:0" in sh("cat $r")
    sh(f"cd {tmp_path}; printf 'readv path=file len=999\\nenter wait=1\\nreap\\n' > $r")
    assert "res:63, flags:0" in sh("cat $r")  # a relative path, a short read


def as_stranger(code: Callable[[], object]) -> None:
    """In a child without a right."""

    def stranger(_: Child) -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        code()

    with in_child(stranger):
        pass


def test_readv_has_the_writers_rights(sh: Shell, tmp_path: Path, mount: Mount) -> None:
    secret = mount.path.parent / "secret"
    secret.write_text("root's alone")
    secret.chmod(0o600)
    sh("echo setup 4 > $r; chown 65534 $r; chmod 666 $r")

    as_stranger(lambda: sh(f"printf 'readv path={secret}\\nenter wait=1\\nreap\\n' > $r"))
    assert "res:-13, flags:0" in sh("cat $r")
    sh("chown 0 $r")
    sh(f"printf 'readv path={secret}\\nenter wait=1\\nreap\\n' > $r")
    assert "root's alone" in sh("cat $r")


def test_a_readv_goes_on_when_the_shell_has_gone(sh: Shell, tmp_path: Path) -> None:
    """Nobody has the ring open: the name keeps it, and the read ends when the fifo speaks."""
    os.mkfifo(tmp_path / "fifo")
    sh(f"printf 'setup 4\\nreadv path={tmp_path}/fifo user_data=5\\nenter\\n' > $r")
    assert "Pending:\t1\n  opcode:READV" in sh("cat $r")
    sh(f"echo hello > {tmp_path}/fifo")
    until(lambda: 'user_data:5, len:6, "hello\\n"' in sh("cat $r"), "the data")
    assert "user_data:5, res:6" in sh("cat $r")


def test_text_and_a_mapping_client_share_the_queues(sh: Shell) -> None:
    with Ring(sh.path, 4) as ring:
        sh("printf 'nop user_data=9\\n' > $r")
        assert ring.queued() == 1
        assert ring.submit(wait=1) == 1
        assert [cqe.user_data for cqe in ring.reap()] == [9]


def test_help_and_params(sh: Shell) -> None:
    """Flags may have the header's prefix."""
    assert "; enter [N] [wait=N]: submit" in lines(sh("echo help > $r; cat $r"))["LastMessage"]
    assert lines(sh("echo help reap > $r; cat $r"))["LastMessage"] == "reap [N]: take N completions, or all"
    sh("printf 'setup 4 flags=IORING_SETUP_CQE32|SUBMIT_ALL\\nnop flags=IOSQE_IO_LINK|ASYNC\\n' > $r")
    shown = lines(sh("echo params > $r; cat $r"))
    assert shown["SetupFlags"] == "SUBMIT_ALL|CQE32"
    with Ring(sh.path, None) as ring:
        assert (ring.params.sq_entries, ring.params.cq_entries) == (4, 8)
        array = ring._queues.array if ring._queues else 0
        said = dict(word.split("=") for word in shown["LastMessage"].split()[1:])
        assert (said["sq_entries"], said["flags"]) == ("4", "SUBMIT_ALL|CQE32")
        assert (said["sq_off.array"], said["cq_off.cqes"]) == (str(array), "64")
        assert ring.queued() == 1
        assert ring.sqes[1] == 20


# -- requests of any opcode


def reaped(text: str) -> dict[int, int]:
    """user_data: res of the last reap."""
    return {
        int(n): int(res)
        for n, res in re.findall(r"user_data:(\d+), res:(-?\d+), flags", text.split("LastMessage")[1])
    }


def test_a_write_and_a_read_on_descriptors_of_the_shell(sh: Shell, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(
        "setup 8\n"
        'write fd=3 data="hello \\"world\\"\\n" user_data=1 flags=IOSQE_IO_LINK\n'
        "sqe op=READ fd=3 off=6 room=8 user_data=2 flags=IO_LINK\n"
        "FSYNC fd=3 fsync_flags=1 user_data=3\n"
        "enter wait=3\nreap\n"
    )
    sh(f"exec 3<>{tmp_path}/file; cat {tmp_path}/script > $r")
    text = sh("cat $r")
    assert reaped(text) == {1: 14, 2: 8, 3: 0}
    assert (tmp_path / "file").read_text() == 'hello "world"\n'
    assert 'Data:\tuser_data:2, len:8, "\\"world\\"\\n"\n' in text


def test_paths_and_structs(sh: Shell, tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("x" * 7)
    (tmp_path / "script").write_text(
        "setup 16\n"
        f'mkdirat path="{tmp_path}/dir" len=0o755 user_data=1\n'
        f'renameat path="{tmp_path}/a b" newpath="{tmp_path}/dir/c" user_data=2\n'
        f'setxattr name="user.k" value="v\\x41\\101" addr3="{tmp_path}/dir/c" fd=0 user_data=3\n'
        f'getxattr name="user.k" room2=16 len=16 addr3="{tmp_path}/dir/c" fd=0 user_data=4\n'
        f'statx path="{tmp_path}/dir/c" room2=256 len=0x7ff user_data=5\n'
        "timeout ts=0.001 user_data=6\n"
    )
    sh(f"cat {tmp_path}/script > $r; for i in 1 2 3 4 5 6; do echo enter 1 wait=$i > $r; done; echo reap > $r")
    text = sh("cat $r")
    assert reaped(text) == {1: 0, 2: 0, 3: 0, 4: 3, 5: 0, 6: -62}
    assert 'user_data:4, len:3, "vAA"' in text
    assert "user_data:5, len:256, " in text
    assert os.getxattr(tmp_path / "dir/c", "user.k") == b"vAA"


def test_descriptors_are_those_of_when_it_was_written(sh: Shell, tmp_path: Path) -> None:
    """Though the writer, a cat, is gone when another enters; a ring holds itself not open."""
    (tmp_path / "script").write_text('setup 4\nwrite fd=3 data="hello" user_data=1\nfsync fd=1 user_data=2\n')
    sh(f"cat {tmp_path}/script > $r 3> {tmp_path}/file; /bin/echo enter wait=2 > $r; echo reap > $r")
    found = reaped(sh("cat $r"))
    assert found[1] == 5
    assert found[2] < 0
    assert (tmp_path / "file").read_text() == "hello"


def test_vectors_and_messages(sh: Shell) -> None:
    one, two = socket.socketpair()
    with one, two:
        os.set_inheritable(one.fileno(), True)
        script = (
            'setup 8\nsendmsg fd=FD msg="abc" user_data=1\nwritev fd=FD iov="def" user_data=2\n'
            "recvmsg fd=FD msgroom=9 user_data=3\nenter wait=3\nreap\n"
        ).replace("FD", str(one.fileno()))
        two.send(b"answer")
        subprocess.run(
            ["sh", "-c", 'cat > "$0"', sh.path], input=script, text=True, check=True, pass_fds=[one.fileno()]
        )
        assert two.recv(9) == b"abcdef"
    text = sh("cat $r")
    assert reaped(text) == {1: 3, 2: 3, 3: 6}
    assert 'user_data:3, len:6, "answer"' in text


def test_in_a_ring_of_wide_entries(sh: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    script = f'setup 4 flags=SQE128\\nopenat path="{tmp_path}/file" user_data=1 file_index=1\\n'
    script += f"readv path={tmp_path}/file user_data=2\\nnop128 user_data=3\\nenter wait=3\\nreap\\n"
    sh(f"printf '{script}' > $r")
    assert reaped(sh("cat $r")) == {1: -6, 2: 7, 3: 0}  # ENXIO: no slots


def test_it_acts_as_its_writer_whoever_enters(sh: Shell, mount: Mount, tmp_path: Path) -> None:
    """A user's text is in root's ring; root enters, and the user's rights count."""
    secret = mount.path.parent / "secret2"
    secret.write_text("root's")
    secret.chmod(0o600)
    sh("echo setup 4 > $r; chown 65534 $r; chmod 666 $r")

    as_stranger(lambda: sh(f"echo 'unlinkat path=\"{secret}\" user_data=1' > $r"))
    with Ring(sh.path, None) as ring:
        assert ring.submit(wait=1) == 1
        assert [(cqe.user_data, cqe.res) for cqe in ring.reap()] == [(1, -13)]
    assert secret.exists()


def test_only_the_owner_queues_it(sh: Shell) -> None:
    sh("echo setup 4 > $r; chown 65534 $r; chmod 666 $r")
    sh.refused("fsync fd=3", "Permission denied", "EACCES")
    assert sh("getfattr --absolute-names --only-values -n user.uring.sq_ready $r") == "0"


def test_text_requests_are_bounded(sh: Shell) -> None:
    """By their memory and by their number, until they are complete."""
    sh("echo setup 1024 > $r")
    assert sh.run("for i in 1 2 3; do echo 'recv fd=0 room=1048576' > $r || exit 1; done").returncode == 0
    sh.refused(
        "recv fd=0 room=1048576", "Resource temporarily unavailable", "EAGAIN: the ring has 3 text requests"
    )
    sh("echo enter > $r; echo reap > $r")
    (sh.path).write_text("fsync fd=0\n" * 64)
    sh.refused("fsync fd=0", "Resource temporarily unavailable", "EAGAIN: the ring has 64 text requests")


def test_help_for_an_opcode(sh: Shell) -> None:
    said = lines(sh("echo help READ > $r; cat $r"))["LastMessage"]
    assert said.startswith("READ: opcode 22, full; fields fd addr len off rw_flags; sqe op=OPCODE")
    said = lines(sh("echo help futex_wait > $r; cat $r"))["LastMessage"]
    assert "; fields addr off addr3 fd; " in said


# -- errors


@pytest.mark.parametrize(
    ("command", "errno_text", "message"),
    [
        ("hello", "Invalid argument", r"EINVAL: unknown command 'hello': setup, nop, readv, "),
        ("setup", "Invalid argument", "setup needs a number of entries: setup 8"),
        ("setup x", "Invalid argument", "setup: entries is no number: 'x'"),
        ("setup 0", "Invalid argument", "EINVAL: entries is 0"),
        ("setup 99999", "Invalid argument", "99999 is above 32768; IORING_SETUP_CLAMP clamps it"),
        ("setup 8 cq=4", "Invalid argument", "the CQ is smaller than the SQ"),
        ("setup 8 cq=0", "Invalid argument", "cq_entries is 0"),
        ("setup 8 cq=-1", "Invalid argument", r"cq -1 is not within 0\.\."),
        ("setup 8 flags=NOPE", "Invalid argument", "unknown flag 'NOPE': one of IOPOLL SQPOLL"),
        ("setup 8 flags=SQ_REWIND", "Invalid argument", "SQ_REWIND needs NO_SQARRAY"),
        ("setup 8 flags=NO_MMAP", "Invalid argument", "IORING_SETUP_NO_MMAP needs a client with memory"),
        ("setup 8 9", "Invalid argument", "setup: what is '9'"),
        ("setup 8 size=9", "Invalid argument", "setup: what is 'size=9'"),
        ("setup 8 cq=16 cq=16", "Invalid argument", "cq is given twice"),
        ("nop", "File descriptor in bad state", "EBADFD: this ring has not been set up"),
        ("help hello", "Invalid argument", "help: no command 'hello'"),
        ("params", "File descriptor in bad state", "EBADFD"),
        ("enter", "File descriptor in bad state", "EBADFD"),
        ("reap", "File descriptor in bad state", "EBADFD"),
        ("readv path=/etc/hostname", "File descriptor in bad state", "EBADFD"),
    ],
)
def test_errors_before_setup(sh: Shell, command: str, errno_text: str, message: str) -> None:
    sh.refused(command, errno_text, message)


@pytest.mark.parametrize(
    ("command", "errno_text", "message"),
    [
        ("setup 8", "Device or resource busy", "EBUSY: this ring has been set up; open another"),
        ("nop 5", "Invalid argument", "nop: what is '5'"),
        ("nop user_data=x", "Invalid argument", "user_data is no number: 'x'"),
        ("nop user_data=18446744073709551616", "Invalid argument", "is not within 0..18446744073709551615"),
        ("nop flags=IO_LINKS", "Invalid argument", "unknown flag 'IO_LINKS'"),
        ("readv len=5", "Invalid argument", "readv needs path="),
        ("readv path= len=5", "Invalid argument", "readv needs path="),
        ("readv path=/x len=1048577", "Invalid argument", r"len 1048577 is not within 0\.\.1048576"),
        ("readv path=/x off=-1", "Invalid argument", "off -1 is not within"),
        ("sqe fd=3", "Invalid argument", "sqe needs op="),
        ("sqe op=HELLO", "Invalid argument", "sqe: no opcode .HELLO"),
        ("write fd=x", "Invalid argument", "write: fd is no number"),
        ("write fd=1 data=abc", "Invalid argument", 'data= takes text in quotes: data="..."'),
        ('write fd=1 data="a', "Invalid argument", "takes text in quotes"),
        ('write fd=1 data="\\q"', "Invalid argument", "an escape that is none of"),
        ('write fd=1 data="a" addr=5', "Invalid argument", "two words for one of addr"),
        ("write fd=1 off=1 addr2=2", "Invalid argument", "off is given twice"),
        ("write fd=1 hello=2", "Invalid argument", "no field .hello"),
        ("write fd=1 personality=2", "Invalid argument", "no field .personality"),
        ("read fd=1 room=1048577", "Invalid argument", "is not within"),
        ("timeout ts=x", "Invalid argument", "ts takes seconds"),
        ("nop128", "Invalid argument", "NOP128 needs a ring with IORING_SETUP_SQE128"),
        ("enter -1", "Invalid argument", "count -1 is not within"),
        ("enter wait=x", "Invalid argument", "wait is no number"),
        ("reap x", "Invalid argument", "count is no number: 'x'"),
        ("reap 1 2", "Invalid argument", "reap: what is '2'"),
    ],
)
def test_errors_after_setup(sh: Shell, command: str, errno_text: str, message: str) -> None:
    sh("echo setup 4 > $r")
    sh.refused(command, errno_text, message)


def test_a_full_queue(sh: Shell) -> None:
    sh("printf 'setup 2\\nnop\\nnop\\n' > $r")
    sh.refused("nop", "Resource temporarily unavailable", "EAGAIN: the SQ is full .2 entries.: `enter` first")


# -- the tools


def test_ls_stat_rm_mv(sh: Shell, mount: Mount) -> None:
    sh("umask 022; echo setup 4 > $r")
    assert sh("ls -l $r").startswith("-rw-r--r-- 1 root root 0 ")
    assert sh("stat -c '%F %a %U %h' $r") == "regular empty file 644 root 1\n"
    sh("mv $r ${r}b")
    assert lines(sh("cat ${r}b"))["SqMask"] == "0x3"
    assert "No such file" in sh.run("cat $r").stderr
    sh("touch $r; mv -f ${r}b $r")
    assert lines(sh("cat $r"))["SqMask"] == "0x3"
    sh("rm $r")
    assert os.listdir(mount.path) == []
    assert "uringfs" in sh("df -i $(dirname $r)")


def test_getfattr(sh: Shell) -> None:
    """The counters, for scripts; the dump the man page of getfattr(1) shows."""
    sh("> $r")
    assert os.listxattr(sh.path) == ["user.uring.state"]
    assert os.getxattr(sh.path, "user.uring.state") == b"new"
    sh("printf 'setup 4\\nnop\\nnop\\nnop\\nenter 2\\nreap 1\\n' > $r")
    found = {name: int(os.getxattr(sh.path, name)) for name in os.listxattr(sh.path) if not name.endswith("state")}
    assert {name.removeprefix("user.uring."): value for name, value in found.items()} == {
        "sq_entries": 4,
        "cq_entries": 8,
        "sq_ready": 1,
        "cq_ready": 1,
        "backlog": 0,
        "pending": 0,
        "waiting": 0,
        "enters": 1,
        "submitted": 2,
        "completed": 2,
        "cancelled": 0,
        "overflowed": 0,
        "injected": 0,
        "sq_dropped": 0,
        "lane": 0,
        "lane_submitted": 0,
        "lane_completed": 0,
        "cq_overflow": 0,
    }
    dump = sh("getfattr --absolute-names -d -m uring $r")
    assert 'user.uring.submitted="2"\n' in dump
    assert 'user.uring.state="ready"\n' in dump
    assert sh("getfattr --absolute-names --only-values -n user.uring.cq_ready $r") == "1"
    assert "No such attribute" in sh.run("getfattr -n user.uring.none $r").stderr
    assert "Operation not permitted" in sh.run("setfattr -n user.uring.state -v x $r").stderr
    assert "Operation not permitted" in sh.run("setfattr -x user.uring.state $r").stderr


def test_cat_reads_one_consistent_text_in_small_pieces(sh: Shell) -> None:
    sh("printf 'setup 64\\n' > $r; i=0; while [ $i -lt 64 ]; do echo nop user_data=$i; i=$((i+1)); done > $r")
    whole = sh("cat $r")
    assert sh("dd if=$r bs=7 status=none") == whole
    assert whole.count("opcode:NOP") == 64
    assert stat.S_ISREG(os.stat(sh.path).st_mode)
