"""What a runtime sends to a listenerPath: in pieces, with descriptors, and not always well."""

import array
import json
import os
import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from uringfs.cli import oci

STATE = {
    "ociVersion": "1.0.2",
    "fds": ["other", "seccompFd"],
    "pid": 4422,
    "metadata": "",
    "state": {"ociVersion": "1.0.2", "id": "box", "status": "creating", "pid": 4420, "bundle": "/bundle"},
}


class Runtime:
    """The container runtime, at the other end."""

    def __init__(self) -> None:
        self.mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.theirs = trio.socket.from_stdlib_socket(theirs)
        self.pipe = os.pipe()

    def send(self, data: bytes, *fds: int) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        self.mine.sendmsg([data], [rights] if fds else [])

    def close(self) -> None:
        self.mine.close()
        self.theirs.close()
        for end in self.pipe:
            os.close(end)


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    """After the test no descriptor is left that it has not made."""
    made = Runtime()
    before = len(os.listdir("/proc/self/fd"))
    yield made
    assert len(os.listdir("/proc/self/fd")) == before
    made.close()


async def refusal(runtime: Runtime) -> str:
    with pytest.raises(oci.StateError) as caught:
        async with oci.received(runtime.theirs):
            pass
    return str(caught.value)


async def test_in_pieces_and_not_closed(runtime: Runtime, nursery: trio.Nursery) -> None:
    data = json.dumps(STATE).encode()
    receive, send = runtime.pipe

    async def rest() -> None:
        for at in range(5, len(data), 50):
            await trio.testing.wait_all_tasks_blocked()
            runtime.send(data[at : at + 50])

    runtime.send(data[:5], receive, send)
    nursery.start_soon(rest)
    async with oci.received(runtime.theirs) as container:
        assert (container.id, container.pid) == ("box", 4422)
        os.write(container.listener, b"the second one")
        assert not os.get_inheritable(container.listener)
    assert os.read(receive, 100) == b"the second one"


@pytest.mark.parametrize(
    "change",
    [
        {"fds": []},
        {"fds": ["seccompFd"] * 3, "state": {"id": "box"}, "pid": "x"},
        {"fds": ["a", "b", "c", "seccompFd"]},
        {"fds": None},
        {"state": []},
        {"pid": None},
    ],
)
async def test_states_that_make_no_sense(runtime: Runtime, change: dict[str, object]) -> None:
    runtime.send(json.dumps(STATE | change).encode(), *runtime.pipe)
    assert "not a container process state" in await refusal(runtime)


async def test_what_is_no_state(runtime: Runtime) -> None:
    runtime.send(b'{"fds": ["seccompFd"', *runtime.pipe)
    runtime.mine.shutdown(socket.SHUT_WR)
    assert "not JSON" in await refusal(runtime)


async def test_what_is_nested_too_deeply(runtime: Runtime) -> None:
    runtime.send(b"[" * 60_000 + b"{}", *runtime.pipe)
    runtime.mine.shutdown(socket.SHUT_WR)
    assert "not JSON" in await refusal(runtime)


async def test_too_many_descriptors(runtime: Runtime) -> None:
    runtime.send(b"{", *runtime.pipe * oci.MOST_FDS)
    assert "too many descriptors" in await refusal(runtime)


async def test_too_slow(runtime: Runtime, autojump_clock: MockClock) -> None:
    runtime.send(b"{", *runtime.pipe)
    assert "within 10 s" in await refusal(runtime)


async def test_too_long(runtime: Runtime, nursery: trio.Nursery) -> None:
    nursery.start_soon(trio.to_thread.run_sync, runtime.mine.sendall, b"[" * (oci.MOST + 4096))
    assert "too long" in await refusal(runtime)
