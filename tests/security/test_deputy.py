"""A program with more rights than the user who started it writes to a ring file, in place of the standard error
output, what the user wants written there. A control write acts in the name of who writes: it must be refused."""

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attack import (
    SECRET,
    SECRETS_GROUP,
    SPARE_AT,
    USER,
    VICTIM_FD,
    VICTIM_PAGE,
    Arena,
    as_user,
    become,
)

from tests.support.children import Child, in_child
from uringfs.abi import control as abi
from uringfs.abi.constants import IOSQE_FIXED_FILE, OPCODES
from uringfs.abi.structs import Sqe
from uringfs.client import Ring, nop

KINDS = ("setuid", "setgid", "caps")
PAYLOAD_AT = VICTIM_PAGE + SPARE_AT + 512
"""What stands behind the message in the input of a copier."""
READ_FIXED, WRITE_FIXED, OPENAT = (OPCODES.index(name) for name in ("READ_FIXED", "WRITE_FIXED", "OPENAT"))
REGISTER_BUFFERS, REGISTER_FILES, REGISTER_PERSONALITY = 0, 2, 9
SETUP_SQPOLL = 1 << 1
AT_FDCWD = -100

SHELL = """
touch "$1"; echo 'setup 8' >"$1"
"$2" "$3" 2>"$1"; echo "status $?"
cat "$1"
"""


def told(arena: Arena, kind: str, path: Path, text: str) -> tuple[int, str]:
    """Status of a deputy that complains about a text, to a ring of the user's; and what the ring then shows."""
    words = [arena.mount / "complaints", arena.directory / f"deputy.{kind}", text]
    command = [*as_user(), "sh", "-c", SHELL, "sh", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    status, _, shown = done.stdout.partition("\n")
    return int(status.removeprefix("status ")), shown


def text_to_read(path: Path) -> str:
    return f"#\nreadv path={path} len=64 user_data=7\nenter wait=1\n#"


def test_a_program_of_the_same_rights_may(arena: Arena, scratch: Path) -> None:
    own = scratch / "own"
    own.write_text("my own words")
    status, shown = told(arena, "plain", own, text_to_read(own))
    assert status == 0
    assert "my own words" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_text(arena: Arena, kind: str) -> None:
    secret = arena.directory / "secret"
    status, shown = told(arena, kind, secret, text_to_read(secret))
    assert SECRET.strip() not in shown
    assert status == errno.EACCES


@pytest.mark.parametrize("text", ["enter", "nop", "fsync", "setup 8", "setup 8 flags=SQPOLL", "reap", "x", "#"])
def test_text_of_any_kind(arena: Arena, text: str) -> None:
    """Not only what is a command: whoever writes here is not who should."""
    assert told(arena, "setuid", arena.directory / "secret", text)[0] == errno.EACCES


# -- binary messages


def message(cmd: int, body: bytes) -> bytes:
    return abi.HEADER.pack(cmd, abi.HEADER.size + len(body)) + body


def entering(count: int) -> bytes:
    return message(abi.URINGFS_CMD_ENTER, abi.ENTER.pack(PAYLOAD_AT + 256, count, 0, 0, 0, 0, 0))


def registering(opcode: int, arg: int, nr_args: int) -> bytes:
    return message(abi.URINGFS_CMD_REGISTER, abi.REGISTER.pack(PAYLOAD_AT + 256, opcode, nr_args, arg))


def copied(arena: Arena, kind: str, ring: int, words: bytes, payload: bytes = b"") -> int:
    """Status of a copier that writes those words to a ring."""
    command = [arena.directory / f"copier.{kind}", arena.directory / "secret", str(len(words))]
    data = words.ljust(512, b"\0") + payload
    return subprocess.run(command, input=data, stdout=subprocess.DEVNULL, stderr=ring, timeout=60).returncode


class Thief:
    """A ring of the user's, and memory of the user's that is its buffer 0."""

    def __init__(self, arena: Arena) -> None:
        self.ring = Ring(arena.mount / "new", 8)
        self.loot = ctypes.create_string_buffer(64)

    def own_buffer(self) -> None:
        vector = (ctypes.c_uint64 * 2)(ctypes.addressof(self.loot), 64)
        self.ring.register(REGISTER_BUFFERS, ctypes.addressof(vector), 1)

    def read_fixed(self, fd: int, flags: int = 0) -> None:
        sqe = Sqe(READ_FIXED, flags, fd=fd, addr=ctypes.addressof(self.loot), len=64)
        self.ring.queue(sqe)

    def finish(self) -> int:
        self.ring.submit(wait=1)
        return self.ring.wait().res


Attack = Callable[[Thief, Arena, str], int]


def enter(thief: Thief, arena: Arena, kind: str) -> int:
    """The descriptor of that number is the writer's."""
    thief.own_buffer()
    thief.read_fixed(VICTIM_FD)
    return copied(arena, kind, thief.ring.fd, entering(1))


def register_files(thief: Thief, arena: Arena, kind: str) -> int:
    """The writer's descriptor becomes one of the ring's."""
    thief.own_buffer()
    words = registering(REGISTER_FILES, PAYLOAD_AT, 1)
    status = copied(arena, kind, thief.ring.fd, words, VICTIM_FD.to_bytes(4, "little"))
    if status == 0:
        thief.read_fixed(0, IOSQE_FIXED_FILE)
        thief.finish()
    return status


def register_buffers(thief: Thief, arena: Arena, kind: str) -> int:
    """The writer's memory becomes the ring's."""
    vector = VICTIM_PAGE.to_bytes(8, "little") + (64).to_bytes(8, "little")
    words = registering(REGISTER_BUFFERS, PAYLOAD_AT, 1)
    command = [arena.directory / f"copier.{kind}", arena.directory / "secret", str(len(words))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=thief.ring.fd) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(words.ljust(512, b"\0") + vector)
        process.stdin.flush()
        assert process.stdout.read(1) == b"."
        read, write = os.pipe()
        thief.ring.queue(Sqe(WRITE_FIXED, fd=write, addr=VICTIM_PAGE, len=64))
        if thief.finish() > 0:
            thief.loot.raw = os.read(read, 64)
    return process.returncode


def register_personality(thief: Thief, arena: Arena, kind: str) -> int:
    """The writer's credentials become the ring's to use."""
    thief.own_buffer()
    status = copied(arena, kind, thief.ring.fd, registering(REGISTER_PERSONALITY, 0, 0))
    if status == 0:
        slots = (ctypes.c_int32 * 1)(-1)
        thief.ring.register(REGISTER_FILES, ctypes.addressof(slots), 1)
        path = ctypes.create_string_buffer(os.fsencode(arena.directory / "secret"))
        sqe = Sqe(OPENAT, fd=AT_FDCWD, addr=ctypes.addressof(path), file_index=1, personality=1)
        thief.ring.queue(sqe)
        thief.finish()
        thief.read_fixed(0, IOSQE_FIXED_FILE)
        thief.finish()
    return status


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", [enter, register_files, register_buffers, register_personality])
def test_binary(arena: Arena, attack: Attack, kind: str) -> None:
    def attacker(_: Child) -> None:
        become()
        thief = Thief(arena)
        status = attack(thief, arena, kind)
        assert thief.loot.raw.find(SECRET.strip().encode()) < 0, "the secret"
        assert status == errno.EACCES

    with in_child(attacker):
        pass


MESSAGES = {
    "setup": message(abi.URINGFS_CMD_SETUP, abi.SETUP.pack(PAYLOAD_AT + 256, 8, 0, PAYLOAD_AT)),
    "enter": entering(0),
    "register": registering(REGISTER_FILES, PAYLOAD_AT, 1),
    "fetch": message(abi.URINGFS_CMD_FETCH, abi.FETCH.pack(PAYLOAD_AT + 256, PAYLOAD_AT, 0, 1, 0, 1)),
    "supervise": message(abi.URINGFS_CMD_SUPERVISE, abi.SUPERVISE.pack(PAYLOAD_AT + 256, 0, -1)),
    "agent": message(abi.URINGFS_CMD_AGENT, abi.AGENT.pack(PAYLOAD_AT + 256, 0, 0)),
    "lane_wake": message(abi.URINGFS_CMD_LANE_WAKE, abi.LANE_WAKE.pack(PAYLOAD_AT + 256, 0, 0)),
    "lane_poll": message(abi.URINGFS_CMD_LANE_POLL, abi.LANE_POLL.pack(PAYLOAD_AT + 256, 8, 0)),
    "none": b"\1\0\0\0",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_any_message(arena: Arena, name: str) -> None:
    def attacker(_: Child) -> None:
        become()
        path = arena.mount / "new"
        ring = os.open(path, os.O_RDWR) if name == "setup" else Ring(path, 8).fd
        params = bytes(8) + SETUP_SQPOLL.to_bytes(4, "little")  # of io_uring_params: flags come third
        assert copied(arena, "setuid", ring, MESSAGES[name], params) == errno.EACCES

    with in_child(attacker):
        pass


# -- who is more than the opener, in any one way


def opened_as(arena: Arena, groups: Sequence[int] = (), gid: int = USER, uid: int = USER) -> Ring:
    """Set up by them; this process stays root."""
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        return Ring(arena.mount / "new", 8)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


def uses(ring: Ring) -> int:
    """errno of an enter with a request."""
    ring.queue(nop(1))
    try:
        ring.submit(wait=1)
    except OSError as error:
        return error.errno or -1
    return 0


def in_root(code: Callable[[], None]) -> None:
    with in_child(lambda _: code()):
        pass


@pytest.mark.parametrize(
    ("groups", "gid", "uid"),
    [([SECRETS_GROUP], USER, USER), ([], SECRETS_GROUP, USER), ([], USER, USER + 1), ([], 0, 0)],
    ids=["groups", "gid", "uid", "root"],
)
def test_a_writer_who_is_more(arena: Arena, groups: list[int], gid: int, uid: int) -> None:
    def code() -> None:
        ring = opened_as(arena)
        become(uid, gid, groups)
        assert uses(ring) == errno.EACCES

    in_root(code)


@pytest.mark.parametrize("groups", [[], [SECRETS_GROUP]])
def test_who_drops_rights_goes_on(arena: Arena, groups: list[int]) -> None:
    """Opened and set up by root, by a user in a group: whoever is less may still write."""

    def of_root() -> None:
        ring = Ring(arena.mount / "new", 8)
        become(USER, USER, groups)
        assert uses(ring) == 0

    def of_user() -> None:
        ring = opened_as(arena, groups)
        become()
        assert uses(ring) == 0

    in_root(of_root)
    in_root(of_user)


def test_rights_that_are_dropped_and_taken_again(arena: Arena) -> None:
    """By root, for whom it was opened: seteuid(2) to and fro, as servers do."""

    def code() -> None:
        ring = Ring(arena.mount / "new", 8)
        os.seteuid(USER)
        assert uses(ring) == 0
        os.seteuid(0)
        assert uses(ring) == 0

    in_root(code)
