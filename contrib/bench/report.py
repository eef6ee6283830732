"""What the measurements say: medians, the one table, and the ratios that are aimed at."""

from statistics import median
from typing import Any

Result = dict[str, Any]
SAME, ACROSS = "same CPU", "across CPUs"
CONTROL = "control write"
FLAT = (
    ("cost per NOP, 16384- / 256-entry ring", "NOP x256, ring 16384", "NOP x256, ring 256"),
    ("cost of a POLL_ADD, 10000 / 10 pending", "POLL_ADD, 10000 pending", "POLL_ADD, 10 pending"),
    ("cost of a TIMEOUT, 10000 / 10 pending", "TIMEOUT, 10000 pending", "TIMEOUT, 10 pending"),
)
"""What must not grow: name, the large row, the small one."""
OF_THE_KERNEL = {
    "run": {
        **dict.fromkeys(("NOP x32", "NOP x256", "NOP x4096", "WRITE 4K x32"), "> 1"),
        **dict.fromkeys(("READ 4K x32", "READV 4K x32", "READ_FIXED 4K x32"), "> 0.7"),
        **dict.fromkeys(("NOP x1", "READV 4K x1", "READ 4K x1", "WRITE 4K x1"), "> 0.2"),
        **dict.fromkeys(("POLL_ADD ready x32", "SEND, RECV, ready"), "> 0.5"),
        **dict.fromkeys(("OPENAT x128", "STATX x128"), "> 0.33"),
    },
    "lane": dict.fromkeys(("NOP x32", "NOP x256", "NOP x4096"), "> 1"),
}
"""Columns whose speed is compared with the kernel's, by row: the aim."""
AHEAD_OF_GVISOR = {
    "run": ("NOP x1", "NOP x32", "NOP x256", "NOP x4096", "READV 4K x1", "READV 4K x32"),
    "uringfs": ("NOP x1", "NOP x32", "NOP x256", "READV 4K x1"),
}
"""Rows that gVisor has."""
NO_OPCODE = "no such opcode"
"""bench's error where the backend lacks the row's opcode."""


def summarise(line: Result, column: str, pinning: str) -> Result:
    """One row of one column: the medians over the repetitions."""
    reps = line["reps"] if line["error"] is None else []
    ops = [rep["ops"] / rep["seconds"] for rep in reps]
    us = [rep["seconds"] / rep["enters"] * 1e6 for rep in reps]
    return {
        "row": line["row"],
        "column": column,
        "pinning": pinning,
        "entries": line["entries"],
        "batch": line["batch"],
        "repetitions": len(reps),
        "ops_per_s": median(ops) if ops else None,
        "us_per_enter": median(us) if us else None,
        "us_per_enter_range": [min(us), max(us)] if us else None,
        "second_enters": sum(rep["waits"] for rep in reps),
        "missing_completions": sum(rep["missing"] for rep in reps),
        "error": line["error"],
    }


def si(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}" if value < 1000 * size else f"{value / size:.0f}{unit}"
    return f"{value:.3g}"


def us(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def cell(result: Result | None, time: str) -> str:
    if result is None:
        return "-"
    if result["error"] == NO_OPCODE:
        return NO_OPCODE
    if result["error"] is not None or result["ops_per_s"] is None:
        return "failed"
    return f"{si(result['ops_per_s'])} {us(result[time]):>7}"


def find(results: list[Result], column: str, pinning: str, row: str) -> Result | None:
    wanted = (column, pinning, row)
    return next((r for r in results if (r["column"], r["pinning"], r["row"]) == wanted), None)


def table(results: list[Result], heading: str = "ops/s, us per enter", time: str = "us_per_enter") -> str:
    """Rows of the program in its order; a column for each pair of backend and pinning that ran."""
    rows = list(dict.fromkeys(r["row"] for r in results))
    columns = list(dict.fromkeys((r["column"], r["pinning"]) for r in results))
    lines = [["", *(column for column, _ in columns)], [heading, *(pin for _, pin in columns)]]
    lines += [[row, *(cell(find(results, column, pin, row), time) for column, pin in columns)] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def divide(a: Result | None, b: Result | None, key: str) -> float | None:
    if a is None or b is None or a[key] is None or b[key] is None:
        return None
    return float(a[key] / b[key])


def ratio(name: str, pin: str, value: float | None, aim: str | None = None) -> list[Result]:
    """name, value, and the aim where there is one: `<=` or `>` and a figure. Nothing of what was not measured."""
    if value is None:
        return []
    met = None
    if aim is not None:
        sign, bound = aim.split()
        met = value <= float(bound) if sign == "<=" else value > float(bound)
    return [{"name": name, "pinning": pin, "value": value, "aim": aim, "met": met}]


def of_the_kernel(results: list[Result], aims: dict[str, dict[str, str]]) -> list[Result]:
    """Columns as a part of the kernel's speed, wherever their daemon runs: aims by column and row."""
    out: list[Result] = []
    for pin in (SAME, ACROSS):
        for column, rows in aims.items():
            for row, aim in rows.items():
                mine, other = find(results, column, pin, row), find(results, "kernel", SAME, row)
                name = f"{row}, ops/s: {column} / kernel"
                out += ratio(name, pin, divide(mine, other, "ops_per_s"), aim)
    return out


def ratios(results: list[Result]) -> list[Result]:
    out: list[Result] = []
    for pin in (SAME, ACROSS):
        across = pin == ACROSS
        mine, floor = find(results, "uringfs", pin, CONTROL), find(results, "floor", pin, CONTROL)
        name = "control write, time: uringfs / floor"
        out += ratio(name, pin, divide(mine, floor, "us_per_enter"), "<= 1.1" if across else None)
        for column, rows in AHEAD_OF_GVISOR.items():
            for row in rows:
                mine, other = find(results, column, pin, row), find(results, "gVisor", pin, row)
                out += ratio(f"{row}, ops/s: {column} / gVisor", pin, divide(mine, other, "ops_per_s"), "> 1")
    out += of_the_kernel(results, OF_THE_KERNEL)
    for column, pin in dict.fromkeys((r["column"], r["pinning"]) for r in results):
        for name, row, small_row in FLAT:
            large, small = find(results, column, pin, row), find(results, column, pin, small_row)
            aim = "<= 1.2" if column in ("uringfs", "run") else None
            out += ratio(f"{name}: {column}", pin, divide(large, small, "us_per_enter"), aim)
    return out


def ratio_lines(found: list[Result]) -> str:
    width = max((len(r["name"]) for r in found), default=0)
    return "\n".join(
        f"{r['name']:<{width}}  {r['pinning']:<11}  {r['value']:6.2f}"
        + (f"   aim {r['aim']}: {'met' if r['met'] else 'MISSED'}" if r["aim"] else "")
        for r in found
    )
