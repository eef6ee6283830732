"""What one request suffers: the effects of all rules that fire for it, the first rule's of each kind."""

import errno
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from uringfs.abi import constants as abi
from uringfs.engine.cancel import finds
from uringfs.engine.request import Outcome, Request
from uringfs.errors import UringError
from uringfs.faults import sets
from uringfs.faults.corruption import Corruption
from uringfs.faults.given import Given
from uringfs.faults.matching import WITHOUT_FILE
from uringfs.ops.events.cancel import criteria
from uringfs.ops.rw.iovec import total, truncated

Perform = Callable[[Request], Outcome]
UNASSIGNED = WITHOUT_FILE | {abi.IORING_OP_CLOSE, abi.IORING_OP_EPOLL_CTL}
"""io_uring/opdef.c: no needs_file."""


class Injection:
    """What rules do to one request, from issue to completion."""

    def __init__(self, request: Request, fired: Sequence[Given]) -> None:
        self.request = request
        self.fired = tuple(fired)
        self._numbers = {given: given.matched for given in self.fired}
        self.result_seen = False
        """The request's result has been looked at."""
        given = self.by("nomore")
        self._shots = given.rule.nomore if given is not None else None
        self._posted = 0
        """CQEs with IORING_CQE_F_MORE."""
        self._asked = self._length()
        self._sqe = request.sqe
        self._cut = False

    def by(self, name: str) -> Given | None:
        """The first rule with that effect."""
        return next((given for given in self.fired if _said(getattr(given.rule, name))), None)

    def chance(self, given: Given, what: str) -> random.Random:
        """What decides about a rule's effect on this request."""
        return given.chance(self._numbers[given], what)

    def number(self, given: Given) -> int:
        """The request's number among those that match a rule."""
        return self._numbers[given]

    # -- before

    def perform(self, perform: Perform) -> Outcome:
        """The request's op, or what comes in its place."""
        self._signal(after=False)
        given = next((g for g in self.fired if g.rule.result is not None), None)
        if given is not None and not given.rule.after:
            return self._instead(given.rule.result or 0)
        if given is None:
            if self.by("nobufs"):
                self._assign_file()
                raise UringError(errno.ENOBUFS)
            if self.by("late"):
                return self._too_late()
            self._alter()
        return perform(self.request)

    def _assign_file(self) -> None:
        """io_assign_file(), which the kernel calls before any op: who watches sees what a request that is refused
        was about. A descriptor that is none is the op's to refuse."""
        if self.request.sqe.opcode not in UNASSIGNED:
            with suppress(UringError):
                self.request.file()

    def _instead(self, result: int) -> int:
        self._assign_file()
        if result < 0 and result >= -4095:
            raise UringError(-result)
        self.request.failed = self._asked is not None and 0 <= result < self._asked
        return result

    def _signal(self, after: bool) -> None:
        for given in self.fired:
            number = given.rule.signal
            if number is None or given.rule.after != after:
                continue
            ends = number == signal.SIGKILL and not after
            if ends:
                self._assign_file()  # while there is somebody who has it
            self.request.caller.signal(number)
            if ends:
                raise UringError(errno.ECANCELED, "its caller has been killed before it began")

    def _too_late(self) -> int:
        """io_async_cancel(), io_poll_remove(), io_timeout_remove(): what is being completed is beyond them."""
        request = self.request
        if request.sqe.opcode == abi.IORING_OP_ASYNC_CANCEL:
            found = finds(request.context, criteria(request))
        else:
            polls = request.sqe.opcode == abi.IORING_OP_POLL_REMOVE
            wanted = abi.IORING_OP_POLL_ADD if polls else abi.IORING_OP_TIMEOUT
            found = any(one.op.number == wanted for one in request.context.issued(request.sqe.addr))
        raise UringError(errno.EALREADY if found else errno.ENOENT)

    def _alter(self) -> None:
        cut = self.by("short") or self.by("torn")
        if cut is not None:
            self._cut = self._shorten(cut.rule.short if cut.rule.short is not None else cut.rule.torn or 0)
        given = self.by("misdirect")
        if given is not None and given.rule.misdirect is not None:
            off = self.request.sqe.off + given.rule.misdirect
            if not 0 <= off < 1 << 63:
                raise UringError(errno.EINVAL, "misdirected to before the beginning")
            self.request.sqe = self.request.sqe._replace(off=off)
        given = self.by("corrupt")
        if given is not None and given.rule.corrupt is not None:
            Corruption(given.rule.corrupt, self.chance(given, "corrupt"), self._iovecs()).alter(self.request)

    def _iovecs(self) -> list[tuple[int, int]]:
        """Where in its memory the data is; none of provided buffers."""
        if self.request.flags & abi.IOSQE_BUFFER_SELECT:
            return []
        data = self.request.data
        return data if isinstance(data, list) else list(getattr(data, "iovecs", ()))

    def _length(self) -> int | None:
        """Bytes that a transfer is to move, where that is known before."""
        request = self.request
        if request.sqe.opcode not in sets.TRANSFERS or request.sqe.opcode == abi.IORING_OP_READ_MULTISHOT:
            return None
        iovecs = request.data if isinstance(request.data, list) else self._iovecs()
        return total(iovecs) if iovecs else request.sqe.len

    def _shorten(self, count: int) -> bool:
        """True if the request is to move less than it was asked for."""
        request, data = self.request, self.request.data
        if isinstance(data, list):
            if total(data) > count:
                request.data = truncated(data, count) or [(data[0][0], 0)]
        elif data is not None:
            data.iovecs = truncated(data.iovecs, count) or [(address, 0) for address, _ in data.iovecs[:1]]
            if request.sqe.opcode in sets.RECEIVES and request.flags & abi.IOSQE_BUFFER_SELECT:
                data.length = min(data.length or count, count)
            elif request.sqe.opcode in (abi.IORING_OP_SEND, abi.IORING_OP_SEND_ZC):
                request.sqe = request.sqe._replace(len=min(request.sqe.len, count))
        return self._asked is None or self._asked > count

    # -- behind

    def more(self) -> bool:
        """True if the request may have one more CQE with IORING_CQE_F_MORE."""
        if self._shots is not None:
            self._shots -= 1
        return self._shots != 0 and not self.by("overflow") and not self.by("lose")

    def hides_more(self) -> bool:
        """True if the CQE that comes next has to be without IORING_CQE_F_MORE."""
        self._posted += 1
        given = self.by("hidemore")
        return given is not None and given.rule.hidemore in (0, self._posted)

    def waits_at_exit(self) -> Given | None:
        """The rule that has it wait with its result."""
        holds = next((given for given in self.fired if given.rule.hold == "exit"), None)
        return holds or self.by("delay_exit") or self.by("reorder")

    def forget(self) -> None:
        """The request is complete: nothing of it waits any more."""
        for given in self.fired:
            given.drop(self.request)

    def result(self, res: int, failed: bool | None) -> tuple[int, bool | None]:
        """What the request is said to have come to."""
        self.request.sqe = self._sqe._replace(user_data=self.request.sqe.user_data)
        self._signal(after=True)
        given = next((g for g in self.fired if g.rule.result is not None and g.rule.after), None)
        if given is not None:
            res = given.rule.result or 0
            short = self._asked is not None and 0 <= res < self._asked
            return res, res < 0 or short
        if self._cut and res >= 0:
            torn = self.by("torn")
            if torn is not None and res == torn.rule.torn:
                return self._asked or res, False
            return res, True if self._asked is None or res < self._asked else failed
        return res, failed


def _said(value: object) -> bool:
    """True if a rule says something by this word: 0 is something."""
    return value is not None and value is not False and value != ""
