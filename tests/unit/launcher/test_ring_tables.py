"""Registered ring descriptors: the launcher's table (C, for --mode trap) and the daemon's (Python, for --mode
notify) answer equally (io_uring/tctx.c)."""

import subprocess
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakehost.files import RegularFile
from tests.unit.support import Bench
from uringfs.abi.numbers import U32
from uringfs.engine.tctx import TaskContexts
from uringfs.errors import UringError
from uringfs.host.protocols import Caller, File
from uringfs.register.registration import RegisterCall
from uringfs.register.ringfds import (
    IO_RINGFD_REG_MAX,
    RSRC_UPDATE,
    register_ring_fds,
    registered_ring,
    unregister_ring_fds,
)

RINGS = 5
"""The last of them is a file that is no ring."""
ARG = 0x10000

offsets = st.one_of(st.integers(0, 3), st.sampled_from([U32, U32, 14, 15, 16]))
seldom = st.sampled_from([0, 0, 0, 0, 1])
Update = tuple[int, int, int]
some = st.integers(1, 3)
registers = st.tuples(st.just("register"), st.lists(st.tuples(offsets, seldom, st.integers(0, RINGS)), max_size=4))
unregisters = st.tuples(st.just("unregister"), st.lists(st.tuples(offsets, seldom, seldom), max_size=4))
indices = st.tuples(st.just("index"), st.integers(0, IO_RINGFD_REG_MAX))
many = st.just(("register", [(U32, 0, 0)] * (IO_RINGFD_REG_MAX + 1)))
full = st.just(("register", [(U32, 0, 1)] * IO_RINGFD_REG_MAX))
Call = tuple[str, int | list[Update]]
calls = st.lists(st.one_of(registers, unregisters, indices, many, full), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("launcher") / "ringtables"
    source = Path(__file__).parent / "ringtables.c"
    options = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
    subprocess.run(["gcc", *options, "-o", built, source], check=True)
    return built


def in_the_launcher(program: Path, asked: list[Call]) -> list[str]:
    text = ""
    for name, what in asked:
        if isinstance(what, int):
            text += f"{name} {what}\n"
        else:
            text += f"{name} {len(what)}\n" + "".join(f"{o} {r} {d}\n" for o, r, d in what)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


class Daemon:
    """A thread that has not begun yet, and the daemon's table of its rings."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.bench = bench = Bench(nursery)
        bench.thread.memory.map(ARG, 4096)
        for fd in range(RINGS):
            file = bench.thread.fds[fd] = RegularFile(b"")
            file.inode = 10 + fd if fd < RINGS - 1 else 0
        self.tctx: TaskContexts = bench.tctx
        self.bench.context.ring_at = lambda inode: bench.context

    def caller(self) -> Caller:
        return self.bench.host.caller(100, 1000, 1000)

    def answer(self, name: str, what: int | list[Update]) -> str:
        try:
            if isinstance(what, int):
                return str(self.index(what))
            return self.call(name, what)
        except UringError as error:
            offsets = [] if name != "register" or isinstance(what, int) else [offset for offset, _, _ in what]
            return " ".join(map(str, [-error.errno, *offsets]))

    def index(self, index: int) -> int:
        program = self.caller().program
        if not self.tctx.begun(program):
            raise self.tctx.no_index(program)
        file: File = registered_ring(self.tctx.registered_rings(program), index).file
        return file.inode - 10

    def call(self, name: str, updates: list[Update]) -> str:
        memory = self.bench.thread.memory
        memory.put(ARG, b"".join(RSRC_UPDATE.pack(*update) for update in updates))
        act = register_ring_fds if name == "register" else unregister_ring_fds
        result = act(RegisterCall(self.bench.context, self.caller(), 0, ARG, len(updates)))
        left = self.caller().memory.read(ARG, RSRC_UPDATE.size * len(updates))
        after = [str(offset) for offset, _, _ in RSRC_UPDATE.iter_unpack(left)] if name == "register" else []
        return " ".join([str(result), *after])


@settings(max_examples=60, deadline=None)
@given(asked=calls)
async def test_both_answer_equally(launcher: Path, asked: list[Call]) -> None:
    async with trio.open_nursery() as nursery:
        daemon = Daemon(nursery)
        ours = [daemon.answer(*call) for call in asked]
        nursery.cancel_scope.cancel()
    assert in_the_launcher(launcher, asked) == ours
