"""The screens of `uringfs top`, over lists that a test writes. textual's own pilot presses the keys."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from uringfs.cli.topscreen import Top
from uringfs.watch.rings import Lists


def ring(number: int, comm: str, completed: int, **more: Any) -> dict[str, Any]:
    op = {"count": 5, "total_ns": 5000, "errors": {"EIO": 2}}
    op |= {"p50_ns": 1000, "p95_ns": 2000, "p99_ns": 3000 * number}
    facts = {"ring": number, "name": comm, "uid": 0, "pid": 1, "comm": comm, "in_flight": number, "waiting": 0}
    return {**facts, "completed": completed, "ops": {"READ": op}, "requests": [], **more}


class Mount:
    """A directory with a `.rings`, which takes no words."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(ring(20, "fio", 0), ring(21, "qemu", 0))

    def write(self, *rings: dict[str, Any]) -> None:
        (self.path / ".rings").write_text("".join(json.dumps(one) + "\n" for one in rings))


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path)


Play = Callable[[Top, Pilot[None]], Awaitable[None]]


def play(mount: Mount, what: Play) -> None:
    """textual runs on asyncio."""

    async def main() -> None:
        with Lists([str(mount.path)]) as lists:
            top = Top(lists, 3600.0, lambda ring: Lists([ring[0]]))
            async with top.run_test(size=(160, 30)) as pilot:
                await pilot.pause()
                await what(top, pilot)

    asyncio.run(main())


def commands(top: Top) -> list[str]:
    table = top.query_one(DataTable)
    return [str(table.get_row_at(place)[3]) for place in range(table.row_count)]


def test_sorting(mount: Mount) -> None:
    async def what(top: Top, pilot: Pilot[None]) -> None:
        mount.write(ring(20, "fio", 100), ring(21, "qemu", 5))
        top.look()
        assert commands(top) == ["fio", "qemu"]  # ops/s
        await pilot.press("s")
        assert commands(top) == ["qemu", "fio"]  # in flight
        assert "by in flight" in top.sub_title

    play(mount, what)


def test_a_row(mount: Mount) -> None:
    async def what(top: Top, pilot: Pilot[None]) -> None:
        mount.write(ring(20, "fio", 100))
        top.look()
        row = [str(cell) for cell in top.query_one(DataTable).get_row_at(0)]
        assert row[0] == "20"
        assert float(row[4]) > 0
        assert row[5].endswith("█")
        assert row[6:10] == ["20", "1.0", "60.0", "2"]

    play(mount, what)


def test_names_are_shown_as_they_are_and_move_no_cursor(mount: Mount) -> None:
    """Any user gives them, and root looks."""

    async def what(top: Top, pilot: Pilot[None]) -> None:
        mount.write(ring(20, "[/x]\x1b[2J\n", 100, name="\x1b]0;mine\x07"))
        top.look()
        assert commands(top) == [r"[/x]\x1b[2J\n"]
        row = [str(cell) for cell in top.query_one(DataTable).get_row_at(0)]
        assert row[-1].endswith(r"/\x1b]0;mine\x07")
        await pilot.pause()

    play(mount, what)


def test_filtering(mount: Mount) -> None:
    async def what(top: Top, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"QEMU", "enter")
        assert commands(top) == ["qemu"]
        assert top.query_one("#filter", Input).display
        assert "1 of 2 rings" in top.sub_title

    play(mount, what)


def test_keys_typed_ahead_are_the_filters(mount: Mount) -> None:
    """s sorts, q ends, / opens: none of them once the filter was asked for."""

    async def what(top: Top, pilot: Pilot[None]) -> None:
        mount.write(ring(20, "fio", 0), ring(21, "sq/q", 0))
        top.look()
        for key, character in (("slash", "/"), *((one, one) for one in "sq"), ("slash", "/"), ("q", "q")):
            top.post_message(Key(key, character))
        await pilot.pause()
        assert commands(top) == ["sq/q"]
        assert "1 of 2 rings, by ops/s" in top.sub_title

    play(mount, what)


def test_one_ring_and_back(mount: Mount) -> None:
    async def what(top: Top, pilot: Pilot[None]) -> None:
        mount.write(ring(20, "fio", 7))
        await pilot.press("enter")
        await pilot.pause()
        shown = str(top.screen.query_one("#about", Static).content)
        assert "since somebody asked" in shown
        assert "READ" in shown
        await pilot.press("s", "slash", "x")  # about the list: nothing happens
        assert "by ops/s" in top.sub_title
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(top.focused, DataTable)
        assert top.query_one(DataTable).row_count == 2

    play(mount, what)


def test_a_mount_that_is_gone(mount: Mount) -> None:
    async def what(top: Top, pilot: Pilot[None]) -> None:
        mount.write()
        top.look()
        assert commands(top) == []

    play(mount, what)
