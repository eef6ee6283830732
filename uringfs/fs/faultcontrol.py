"""What text commands about faults do, written to a ring or to `.control`."""

import errno
import json

from uringfs.errors import UringError
from uringfs.faults.engine import FaultEngine
from uringfs.faults.given import Given, RuleGiver
from uringfs.faults.kernels import Kernels
from uringfs.fs.codec import faulttext
from uringfs.fs.codec.faulttext import FaultCommand
from uringfs.fs.specials import Session, Special
from uringfs.host.protocols import Caller, Opener


def perform(faults: FaultEngine, kernels: Kernels, command: FaultCommand, who: RuleGiver, ring: int = 0) -> str:
    """What the command has to say. ring: the inode of the file it was written to, 0 for none. EINVAL, ENOENT,
    EAGAIN."""
    match command:
        case faulttext.KernelCommand():
            kernels.set(command.pid, command.kernel, who)
            return f"kernel: {command.kernel} for process {command.pid}"
        case faulttext.InjectCommand():
            return f"inject: rule {faults.inject(command.rule, who, ring).id}"
        case faulttext.UninjectCommand(None):
            return f"uninject: {faults.remove_all(who, ring)} removed"
        case faulttext.UninjectCommand(int(number)):
            faults.remove(number, who)
            return f"uninject: rule {number} removed"
        case faulttext.ReleaseCommand():
            return f"release: {faults.release(command.number, who)} go on"
        case faulttext.FaultsCommand():
            found = [given for given in faults.given(who) if ring in (0, given.ring)]
            return as_json(found) if command.json else listing(found)
    raise UringError(errno.EINVAL)


def listing(rules: list[Given]) -> str:
    """A line a rule."""
    return "\n".join(given.describe() for given in rules) if rules else "no rules"


def as_json(rules: list[Given]) -> str:
    """A list of objects."""
    return json.dumps(
        [
            {
                "id": given.id,
                "rule": given.rule.text,
                "matched": given.matched,
                "injected": given.injected,
                "hits": given.hits,
                "waiting": len(given.waiting),
                "unsynced": given.unsynced,
                "unable": given.unable,
                "expired": given.expired,
                "user": given.who.uid,
                "ring": given.ring,
            }
            for given in rules
        ]
    )


class ControlFile(Special):
    """`.control`: rules for all rings of a user, and root's for everybody's."""

    mode = 0o666

    def __init__(self, faults: FaultEngine, kernels: Kernels) -> None:
        self._faults = faults
        self._kernels = kernels

    def text(self, session: Session) -> str:
        """Before anything is written: the rules of who has opened it."""
        return listing(self._faults.given(RuleGiver(session.uid)))

    def write(self, data: bytes, caller: Caller, opener: Opener) -> str:
        replies = []
        for line in data.decode("utf-8", "surrogateescape").splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            command = faulttext.parse(line)
            if command is None:
                words = "; ".join(faulttext.HELP.values())
                raise UringError(errno.EINVAL, f"unknown command {line.split()[0]!r}: {words}")
            replies.append(perform(self._faults, self._kernels, command, RuleGiver(caller.uid, opener)))
        return "\n".join(replies)
