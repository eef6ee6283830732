"""A container's seccomp policy (LinuxSeccomp of NRI's api.proto), with io_uring answered by a listener."""

from uringfs.abi.machine import MACHINE
from uringfs.nri.proto import Message

CALLS = ("io_uring_setup", "io_uring_enter", "io_uring_register")
DEFAULT_ACTION, ARCHITECTURES, LISTENER_PATH, SYSCALLS = 1, 3, 5, 7
NAMES, ACTION = 1, 2
"""Fields of a rule, LinuxSyscall."""

_NATIVE = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}


class PolicyError(ValueError):
    """A container that cannot have the listener."""


def listening(policy: Message | None, path: str) -> Message:
    """This policy, but that io_uring's system calls are answered at path. policy None: all calls are allowed.
    PolicyError, ProtoError"""
    policy = _unconfined() if policy is None or not policy.string(DEFAULT_ACTION) else policy
    if policy.string(LISTENER_PATH) not in ("", path):
        raise PolicyError(f"its seccomp profile has a listener of its own, {policy.string(LISTENER_PATH)}")
    made = policy.without(SYSCALLS).without(LISTENER_PATH).add(LISTENER_PATH, path)
    for rule in map(Message.parse, policy.all(SYSCALLS)):
        if (kept := _without_io_uring(rule)) is not None:
            made.add(SYSCALLS, kept)
    return made.add(SYSCALLS, _with_names(CALLS).add(ACTION, "SCMP_ACT_NOTIFY"))


def _unconfined() -> Message:
    """A filter kills what calls by an architecture that it does not name."""
    made = Message().add(DEFAULT_ACTION, "SCMP_ACT_ALLOW")
    for name in _NATIVE.get(MACHINE, ()):
        made.add(ARCHITECTURES, name)
    return made


def _without_io_uring(rule: Message) -> Message | None:
    """None: it was about nothing else."""
    names = [name for name in rule.strings(NAMES) if name not in CALLS]
    if not names:
        return None
    return Message(*_with_names(names).fields, *rule.without(NAMES).fields)


def _with_names(names: "list[str] | tuple[str, ...]") -> Message:
    made = Message()
    for name in names:
        made.add(NAMES, name)
    return made
