"""Tasks run in the order they were scheduled in: in a process of its own, for it is trio's whole scheduler."""

import subprocess
import sys

import pytest

TASKS = """
import trio
from uringfs.host.events.scheduling import in_order

async def main():
    in_order()
    for _ in range(20):
        seen = []
        async def task(number):
            seen.append(number)
            await trio.lowlevel.checkpoint()
            seen.append(number + 4)
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(task, number)
        assert seen == list(range(8)), seen

trio.run(main)
"""
ARMED = """
import trio
import trio.testing
from uringfs.host.events.scheduling import in_order
from uringfs.engine.waitqueue import LastFirst

async def main():
    in_order()
    order, seen, ready = LastFirst(), [], trio.Event()

    async def wait(name, key, event):
        with order.arm(key) as armed:
            await event.wait()
            await armed.go_on(trio.lowlevel.checkpoint_if_cancelled)
            seen.append(name)

    async with trio.open_nursery() as nursery:
        for name in ("a1", "b1", "a2", "c", "a3"):
            nursery.start_soon(wait, name, name[0], ready)
        late = trio.Event()
        nursery.start_soon(wait, "a4", "a", late)
        await trio.testing.wait_all_tasks_blocked()
        ready.set()
        late.set()
    assert sorted(seen) == ["a1", "a2", "a3", "a4", "b1", "c"], seen
    assert [name for name in seen if name[0] == "a"] == ["a4", "a3", "a2", "a1"], seen

trio.run(main)
"""
HAPPENED = """
import trio
from uringfs.host.events.scheduling import in_order
from uringfs.engine.waitqueue import LastFirst

async def main():
    in_order()
    for _ in range(20):
        order, seen, ready = LastFirst(), [], trio.Event()
        ready.set()
        armed = {name: order.arm(name) for name in "abc"}
        for name in "cab":
            armed[name].happened()

        async def wait(name):
            with armed[name]:
                await ready.wait()
                await armed[name].go_on(trio.lowlevel.checkpoint_if_cancelled)
                seen.append(name)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(wait, name)
        assert seen == ["c", "a", "b"], seen

trio.run(main)
"""


@pytest.mark.parametrize("program", [TASKS, ARMED, HAPPENED], ids=["tasks", "armed", "happened"])
def test_in_order(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
