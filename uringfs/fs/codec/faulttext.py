"""Text commands about faults (docs/faults.md): `inject RULE`, `uninject ID|all`, `release ID`, `faults [json]`. A
rule is the rest of its line, blanks and all."""

import errno
from typing import NamedTuple

from uringfs.abi.kernels import Kernel, kernel
from uringfs.abi.numbers import decimal
from uringfs.errors import UringError


class InjectCommand(NamedTuple):
    """inject RULE"""

    rule: str


class UninjectCommand(NamedTuple):
    """uninject ID, or all"""

    number: int | None


class ReleaseCommand(NamedTuple):
    """release ID"""

    number: int


class FaultsCommand(NamedTuple):
    """faults [json]: the rules"""

    json: bool


class KernelCommand(NamedTuple):
    """kernel VERSION pid=N"""

    kernel: Kernel
    pid: int


FaultCommand = KernelCommand | InjectCommand | UninjectCommand | ReleaseCommand | FaultsCommand
HELP = {
    "inject": "inject RULE: break requests (docs/faults.md); answers with the rule's id",
    "uninject": "uninject ID|all: remove a rule; what it holds goes on",
    "release": "release ID: what a rule holds goes on",
    "kernel": "kernel VERSION pid=N: the rings of a process are of an older kernel",
    "faults": "faults [json]: the rules, and what they have matched",
}


def parse(line: str) -> FaultCommand | None:
    """None for a line about something else. EINVAL says what is wrong."""
    verb, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    if verb == "inject":
        return InjectCommand(rest)
    if verb == "uninject":
        return UninjectCommand(None if rest == "all" else _number(verb, rest, "an id, or all"))
    if verb == "release":
        return ReleaseCommand(_number(verb, rest, "an id"))
    if verb == "kernel":
        return _kernel(rest)
    if verb == "faults":
        if rest not in ("", "json"):
            raise UringError(errno.EINVAL, f"faults: what is {rest!r}? It takes nothing, or json")
        return FaultsCommand(rest == "json")
    return None


def _kernel(rest: str) -> KernelCommand:
    version, _, pid = rest.partition(" pid=")
    try:
        return KernelCommand(kernel(version.strip()), _number("kernel", pid, "pid=N"))
    except ValueError as error:
        raise UringError(errno.EINVAL, f"kernel: {error}") from None


def _number(verb: str, word: str, fits: str) -> int:
    number = decimal(word)
    if number is None:
        raise UringError(errno.EINVAL, f"{verb} needs {fits}, not {word!r}")
    return number
