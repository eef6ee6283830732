"""Programs under `uringfs run` on a mount, for tests: what they said, and what their rules have injected."""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uringfs.client.faults import Faults

TIMEOUT = 60.0
"""Seconds that a program has, unless told."""


@dataclass
class Ran:
    """A program that has ended."""

    command: list[str]
    returncode: int
    """As subprocess's: -N for signal N."""
    stdout: str
    stderr: str
    rules: list[dict[str, Any]] = field(default_factory=list)
    """The rules that were in force, and what they have matched and injected meanwhile."""

    @property
    def injected(self) -> int:
        """How many faults, of all its rules."""
        return sum(rule["injected"] for rule in self.rules)

    def __str__(self) -> str:
        """A line for the command, and one for each rule."""
        rules = (f"  {r['rule']}: injected {r['injected']} of {r['matched']} that match" for r in self.rules)
        return "\n".join([f"{shlex.join(self.command)} ended with {self.returncode}", *rules])

    def check(self) -> "Ran":
        """AssertionError, with all it said, unless it has succeeded."""
        assert self.returncode == 0, f"{self.command} ended with {self.returncode}\n{self.stdout}\n{self.stderr}"
        return self


def run(
    mount: Path,
    command: Sequence[object],
    rules: Sequence[str] = (),
    kernel: str = "",
    seed: int | None = None,
    mode: str = "auto",
    timeout: float = TIMEOUT,
    **options: Any,
) -> Ran:
    """options: of subprocess.run(). subprocess.TimeoutExpired if it does not end in time, and is killed."""
    words = [str(word) for word in command]
    given = [word for rule in rules for word in ("--inject", rule)]
    given += ["--as-kernel", kernel] if kernel else []
    given += ["--seed", str(seed)] if seed is not None else []
    faults = Faults(mount)
    before = {rule["id"]: rule for rule in faults.rules()}
    launcher = [sys.executable, "-m", "uringfs", "run", "--mount", str(mount), "--mode", mode, *given, "--"]
    settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run([*launcher, *words], **(settings | {"timeout": timeout} | options))
    _until_lost(faults, set(before))
    found = [_since(before.get(rule["id"]), rule) for rule in faults.rules()]
    for rule in found:
        if rule["id"] not in before:
            faults.remove(rule["id"])
    return Ran(words, done.returncode, done.stdout or "", done.stderr or "", found)


def _until_lost(faults: Faults, before: set[int]) -> None:
    """What the program has not synced is lost in the moment behind its end (the word `unsynced`)."""
    end = time.monotonic() + TIMEOUT
    while any(rule["unsynced"] for rule in faults.rules() if rule["id"] not in before):
        assert time.monotonic() < end, faults.listing()
        time.sleep(0.005)


def _since(before: dict[str, Any] | None, rule: dict[str, Any]) -> dict[str, Any]:
    """What it has matched and injected since then."""
    if before is None:
        return rule
    return {**rule, **{name: rule[name] - before[name] for name in ("matched", "injected")}}
