"""The screens of `uringfs top`, made of textual's widgets."""

import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Input, Static

from uringfs.cli import ls, show
from uringfs.watch.rings import Lists, Ring, add_rates
from uringfs.watch.values import plain

HISTORY = 16
"""Looks that a sparkline shows."""
BARS = " ▁▂▃▄▅▆▇█"
COLUMNS = "ring", "user", "pid", "command", "ops/s", "", "in flight", "p50 us", "p99 us", "errors", "waits", "file"
Key = tuple[str, int]
"""Mount and inode number of a ring."""


def key(ring: Ring) -> Key:
    return ring["mount"], ring["ring"]


def sparkline(values: deque[float]) -> str:
    """A bar a value, the highest full."""
    most = max(values, default=0.0)
    return "".join(BARS[round(value / most * 8)] if most else BARS[0] for value in values).rjust(HISTORY)


def slowest(ring: Ring, percent: int) -> float:
    """us: of the opcode whose requests take longest."""
    return max((op[f"p{percent}_ns"] for op in ring["ops"].values()), default=0) / 1000


def failed(ring: Ring) -> int:
    return sum(sum(op["errors"].values()) for op in ring["ops"].values())


SORTS = {
    "ops/s": lambda ring: -ring["ops_per_second"],
    "in flight": lambda ring: -ring["in_flight"],
    "p99": lambda ring: -slowest(ring, 99),
    "ring": lambda ring: ring["ring"],
}


class Rates:
    """What there is, with rates since the look before, and their history."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._before: list[Ring] = lists.read()
        self._at = time.monotonic()
        self.history: defaultdict[Key, deque[float]] = defaultdict(lambda: deque(maxlen=HISTORY))

    def look(self) -> list[Ring]:
        rings, now = self._lists.read(), time.monotonic()
        add_rates(self._before, rings, max(now - self._at, 1e-3))
        self._before, self._at = rings, now
        for gone in self.history.keys() - {key(ring) for ring in rings}:
            del self.history[gone]
        for ring in rings:
            self.history[key(ring)].append(ring["ops_per_second"])
        return rings

    def row(self, ring: Ring) -> tuple[str, ...]:
        return (
            *(str(ring["ring"]), ls.user(ring["uid"]), str(ring["pid"]), ring["comm"]),
            *(f"{ring['ops_per_second']:.0f}", sparkline(self.history[key(ring)]), str(ring["in_flight"])),
            *(f"{slowest(ring, 50):.1f}", f"{slowest(ring, 99):.1f}", str(failed(ring)), str(ring["waiting"])),
            ls.COLUMNS["FILE"](ring),
        )


def list_of(ring: Key) -> Lists:
    """The lists of that ring, with its requests."""
    return Lists([ring[0]], f"ring={ring[1]} stats")


class OneRing(Screen[None]):
    """A ring, its opcodes and its requests under way."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,left,q", "app.pop_screen", "back")]

    def __init__(self, ring: Key, list_: Lists, delay: float) -> None:
        super().__init__()
        self._ring = ring
        self._delay = delay
        self._list = list_

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static(id="about", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.title = f"ring {self._ring[1]}"
        self.set_interval(self._delay, self.look)
        self.look()

    def on_unmount(self) -> None:
        self._list.close()

    def look(self) -> None:
        found = self._list.read()
        text = show.about(found[0], "since somebody asked") if found else "this ring is closed"
        self.query_one("#about", Static).update(text)


class RingTable(DataTable[str]):
    """The rings. The footer says what Enter does, as long as it does."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "show")]


class Top(App[None]):
    """All rings. Enter shows one."""

    TITLE = "uringfs top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("s", "sort", "sort"),
        Binding("slash", "filter", "filter", priority=True),
    ]

    def __init__(self, lists: Lists, delay: float, list_of: Callable[[Key], Lists] = list_of) -> None:
        super().__init__()
        self._rates = Rates(lists)
        self._delay = delay
        self._list_of = list_of
        self._sort = 0
        self._wanted = ""

    def compose(self) -> ComposeResult:
        yield Header()
        yield RingTable(cursor_type="row")
        yield Input(placeholder="user, command, file ...", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        table = self.query_one(DataTable)
        table.add_columns(*COLUMNS)
        table.focus()
        self.set_interval(self._delay, self.look)
        self.look()

    def look(self) -> None:
        rings = self._rates.look()
        name = list(SORTS)[self._sort]
        shown = [(ring, self._rates.row(ring)) for ring in sorted(rings, key=SORTS[name])]
        shown = [(ring, row) for ring, row in shown if self._wanted in " ".join(row).lower()]
        self.sub_title = f"{len(shown)} of {len(rings)} rings, by {name}"
        if self.screen is not self.screen_stack[0]:
            return
        self._show(shown)

    def _show(self, shown: list[tuple[Ring, tuple[str, ...]]]) -> None:
        table = self.query_one(DataTable)
        place = table.cursor_row
        table.clear()
        for ring, row in shown:
            table.add_row(*(Text(plain(cell)) for cell in row), key=f"{ring['ring']} {ring['mount']}")
        table.move_cursor(row=min(place, max(len(shown) - 1, 0)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """False of what is about the list, while a ring is shown, and of what is text for the filter."""
        if action == "filter" and isinstance(self.focused, Input):
            return False
        return action not in ("sort", "filter") or self.screen is self.screen_stack[0]

    def action_sort(self) -> None:
        self._sort = (self._sort + 1) % len(SORTS)
        self.look()

    def action_filter(self) -> None:
        """Keys are the field's as soon as this returns, those that are typed already, too: not with focus(), which
        is later, nor without `priority`, which lets the table have some of them first."""
        field = self.query_one("#filter", Input)
        field.display = True
        self.screen.set_focus(field)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._wanted = event.value.lower()
        self.look()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.input.display = bool(event.value)
        self.query_one(DataTable).focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        number, _, mount = str(event.row_key.value).partition(" ")
        ring = mount, int(number)
        try:
            self.push_screen(OneRing(ring, self._list_of(ring), self._delay))
        except OSError as error:  # unmounted
            self.notify(f"{mount}: {error.strerror}", severity="error")
