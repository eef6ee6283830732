#!/usr/bin/env python3
"""`make bench`: the same C program against every backend this machine can run, in one table.

Columns: kernel (io_uring's own system calls), run (the same program by `uringfs run`), trap (with --no-patch),
lane (uringfs.h with URINGFS_LANE), uringfs (a mount of this checkout, by control writes), notify (`uringfs run
--mode notify`), gVisor (runsc), and the floor (the write round trip of a bare C libfuse daemon). Each runs
twice: client and daemon on the same CPU, and on two CPUs. Then fio, on the kernel and under `uringfs run`. The
interpreter that runs this file also runs mount.py.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import fio
from daemons import Unavailable, client, daemon, last_line
from report import ACROSS, NO_OPCODE, SAME, Result, of_the_kernel, ratio_lines, ratios, summarise, table

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
BENCH, DYNAMIC, FLOOR = OUT / "bench", OUT / "bench-dynamic", OUT / "floor"
MOUNT = HERE.parent.parent / "mount.py"
RUNSC = ["runsc", "--platform=ptrace", "--network=none", "--ignore-cgroups"]
READ_FILE_SIZE = 1 << 20
NR_ROWS = 32


class Plan:
    """How long and where: shared by all columns."""

    def __init__(self, budget: float, repetitions: int, cpus: Sequence[int], data: Path) -> None:
        self.budget, self.repetitions, self.cpus, self.data = budget, repetitions, cpus, data

    @property
    def seconds(self) -> float:
        """Seconds that all repetitions of the row took."""
        return self.budget * self.repetitions

    @property
    def pinnings(self) -> dict[str, tuple[int, int]]:
        """name -> (the client's CPU, the daemon's)."""
        first = self.cpus[0]
        pins = {SAME: (first, first)}
        if len(self.cpus) > 1:
            pins[ACROSS] = (first, self.cpus[1])
        return pins

    def command(self, backend: str, path: Path | None = None) -> list[str]:
        where = [] if path is None else ["-p", str(path)]
        timing = ["-t", str(self.budget), "-n", str(self.repetitions)]
        return [str(BENCH), backend, "-f", str(self.data), *where, *timing]

    def measure(
        self, column: str, pin: str, command: Sequence[str], cpu: int, traced_cpu: int | None = None
    ) -> list[Result]:
        limit = 20 + 2 * NR_ROWS * (self.repetitions + 1) * self.budget
        out, trouble = client(command, [cpu], limit, traced_cpu)
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{") and line.endswith("}")]
        if not lines or all(line["error"] for line in lines):
            raise Unavailable(lines[0]["error"] if lines else trouble)
        if trouble.startswith("timeout"):
            print(f"{column}, {pin}: {trouble}", file=sys.stderr)
        return [summarise(line, column, pin) for line in lines]


def build(target: Path) -> None:
    command = ["make", "-s", "-C", str(HERE), str(target.relative_to(HERE))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unavailable(f"cannot build {target.name}: {exc}") from exc
    if done.returncode:
        raise Unavailable(f"cannot build {target.name}: {last_line(done.stderr)}")


def run_kernel(plan: Plan, pin: str) -> list[Result]:
    return plan.measure("kernel", pin, plan.command("kernel"), plan.cpus[0])


def run_daemon(plan: Plan, column: str, pin: str, command: list[str], file: str) -> list[Result]:
    client_cpu, daemon_cpu = plan.pinnings[pin]
    with daemon(command, [daemon_cpu]) as mountpoint:
        return plan.measure(column, pin, plan.command(column, mountpoint / file), client_cpu)


def uringfs() -> list[str]:
    if not MOUNT.exists():
        raise Unavailable("no mount.py in this checkout")
    return [sys.executable, str(MOUNT)]


def run_uringfs(plan: Plan, pin: str) -> list[Result]:
    return run_daemon(plan, "uringfs", pin, uringfs(), "new")


def run_lane(plan: Plan, pin: str) -> list[Result]:
    return run_daemon(plan, "lane", pin, uringfs(), "new")


def by_run(mountpoint: Path, *options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("uringfs")), "run", "--mount", str(mountpoint), *options, "--"]


def measure_by_run(plan: Plan, pin: str, column: str, *options: str) -> list[Result]:
    build(DYNAMIC)
    client_cpu, daemon_cpu = plan.pinnings[pin]
    with daemon(uringfs(), [daemon_cpu]) as mountpoint:
        command = [*by_run(mountpoint, *options), str(DYNAMIC), *plan.command("kernel")[1:]]
        return plan.measure(column, pin, command, client_cpu)


def run_run(plan: Plan, pin: str) -> list[Result]:
    return measure_by_run(plan, pin, "run")


def run_trap(plan: Plan, pin: str) -> list[Result]:
    return measure_by_run(plan, pin, "trap", "--no-patch")


def run_notify(plan: Plan, pin: str) -> list[Result]:
    return measure_by_run(plan, pin, "notify", "--mode", "notify")


def fio_kernel(plan: Plan, pin: str) -> list[Result]:
    with fio_data(plan) as data:
        return fio.measure("kernel", pin, [], plan.cpus[0], data, plan.seconds)


def fio_run(plan: Plan, pin: str) -> list[Result]:
    client_cpu, daemon_cpu = plan.pinnings[pin]
    with fio_data(plan) as data, daemon(uringfs(), [daemon_cpu]) as mountpoint:
        return fio.measure("run", pin, by_run(mountpoint), client_cpu, data, plan.seconds)


@contextlib.contextmanager
def fio_data(plan: Plan) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="uringfs-bench-", suffix=".fio", dir=OUT) as file:
        fio.write_data(Path(file.name), plan.seconds)
        yield Path(file.name)


def run_gvisor(plan: Plan, pin: str) -> list[Result]:
    """The sentry is the daemon, the process it traces the client."""
    if shutil.which("runsc") is None:
        raise Unavailable("runsc is not installed (Debian: apt-get install runsc)")
    if os.geteuid() != 0:
        raise Unavailable("runsc needs root")
    client_cpu, daemon_cpu = plan.pinnings[pin]
    flags = subprocess.run(["runsc", "flags"], capture_output=True, text=True)
    switch = ["--iouring"] if "-iouring" in flags.stdout + flags.stderr else []  # off by default since 2023
    return plan.measure("gVisor", pin, [*RUNSC, *switch, "do", *plan.command("gvisor")], daemon_cpu, client_cpu)


def run_floor(plan: Plan, pin: str) -> list[Result]:
    build(FLOOR)
    return run_daemon(plan, "floor", pin, [str(FLOOR)], "floor")


Columns = dict[str, Callable[[Plan, str], list[Result]]]
COLUMNS: Columns = {
    "kernel": run_kernel,
    "run": run_run,
    "lane": run_lane,
    "uringfs": run_uringfs,
    "trap": run_trap,
    "notify": run_notify,
    "gVisor": run_gvisor,
    "floor": run_floor,
}
# The floor right before uringfs, whose first row is compared with it: a noisy machine is noisy for both.
ORDER = ("kernel", "run", "trap", "lane", "gVisor", "floor", "uringfs", "notify")
FIO: Columns = {"kernel": fio_kernel, "run": fio_run}


def run(
    plan: Plan, names: Sequence[str], columns: Columns, what: str = ""
) -> tuple[list[Result], dict[str, str | None]]:
    """The results, and for each column the reason why it did not run, or None."""
    results: list[Result] = []
    reasons: dict[str, str | None] = dict.fromkeys(names)
    for pin in plan.pinnings:
        for name in ORDER:
            if name not in names or reasons[name] is not None or (name == "kernel" and pin != SAME):
                continue  # the kernel has no daemon: one pinning says it all
            print(f"measuring {what}{name}, {pin} ...", file=sys.stderr, flush=True)
            try:
                results += columns[name](plan, pin)
            except Unavailable as exc:
                reasons[name] = str(exc)
    ran = [name for name in names if reasons[name] is None]
    results = [r for r in results if r["column"] in ran]
    results.sort(key=lambda r: ran.index(r["column"]))
    return results, reasons


def show_errors(results: list[Result], reasons: dict[str, str | None], what: str = "") -> None:
    for name, reason in reasons.items():
        if reason is not None:
            print(f"no {what}column {name}: {reason}")
    for r in results:
        where = f"{what}{r['column']}, {r['pinning']}, {r['row']}"
        if r["error"] not in (None, NO_OPCODE):
            print(f"{where}: {r['error']}")
        if r.get("missing_completions"):
            print(f"{where}: {r['missing_completions']} completions missing")


def show(results: list[Result], reasons: dict[str, str | None], plan: Plan) -> None:
    budget = f"median of {plan.repetitions}, {plan.budget:g} s each"
    print(f"\nLinux {platform.release()}, CPUs {list(plan.cpus)}, {budget}")
    if len(plan.cpus) < 2:
        print("one CPU only: nothing runs across CPUs")
    print(f"\n{table(results)}\n")
    show_errors(results, reasons)
    print(ratio_lines(ratios(results)))


def show_fio(results: list[Result], reasons: dict[str, str | None]) -> None:
    if reasons:
        print(f"\n{table(results, 'fio: IOPS, us of latency', 'us')}\n")
        print(ratio_lines(of_the_kernel(results, {"run": fio.AIMS})))
        show_errors(results, reasons, "fio ")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    def columns(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in COLUMNS:
                raise argparse.ArgumentTypeError(f"no column {name!r}; there are {', '.join(COLUMNS)}")
        return names

    parser = argparse.ArgumentParser(description="Measure rings: kernel, uringfs, gVisor, the floor.")
    parser.add_argument("--quick", action="store_true", help="one repetition of 0.05 s a row")
    parser.add_argument("--columns", type=columns, default=list(COLUMNS), help="comma-separated; default all")
    parser.add_argument("--budget", type=float, help="seconds of one repetition (0.3)")
    parser.add_argument("--json", type=Path, default=OUT / "bench.json", help="where the figures go")
    return parser.parse_args(argv)


def on_sigterm(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)  # unwinds: daemons end, mounts go


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    signal.signal(signal.SIGTERM, on_sigterm)
    cpus = sorted(os.sched_getaffinity(0))[:2]
    try:
        build(BENCH)
    except Unavailable as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    with tempfile.NamedTemporaryFile(prefix="uringfs-bench-", suffix=".data") as data:
        data.write(os.urandom(READ_FILE_SIZE))
        data.flush()
        budget = args.budget or (0.05 if args.quick else 0.3)
        plan = Plan(budget, 1 if args.quick else 5, cpus, Path(data.name))
        results, reasons = run(plan, args.columns, COLUMNS)
        names = [name for name in args.columns if name in FIO and reasons[name] is None]
        fio_results, fio_reasons = run(plan, names, FIO, "fio ")
    show(results, reasons, plan)
    show_fio(fio_results, fio_reasons)
    report: dict[str, Any] = {
        "kernel_release": platform.release(),
        "cpus": cpus,
        "budget_s": budget,
        "repetitions": plan.repetitions,
        "columns": {name: {"ran": reason is None, "reason": reason} for name, reason in reasons.items()},
        "results": results,
        "ratios": ratios(results),
        "fio": {
            "reasons": fio_reasons,
            "results": fio_results,
            "ratios": of_the_kernel(fio_results, {"run": fio.AIMS}),
        },
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nJSON: {args.json}")
    return 0 if any(reason is None for reason in reasons.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
