"""Events as strace(1) shows system calls: one line each."""

import time
from collections.abc import Callable

from uringfs.abi.constants import (
    FEATURES,
    IORING_REGISTER_USE_REGISTERED_RING,
    REGISTER_OPCODES,
    SETUP_FLAGS,
    flag_names,
)
from uringfs.abi.structs import PARAMS, Params
from uringfs.watch import arguments
from uringfs.watch.record import LATE, How, Record, RecordKind
from uringfs.watch.registering import registered
from uringfs.watch.values import KINDS, SQE_BITS, bits, plain, result

HOW = {how.value: how.name.lower() for how in How}


def call(record: Record) -> str:
    """OPCODE(argument, ...)"""
    sqe = record.sqe
    shown = [KINDS[kind](record, getattr(sqe, field)) for field, kind in arguments.of(sqe.opcode)]
    if sqe.flags:
        shown.append(bits(SQE_BITS, sqe.flags))
    if sqe.personality:
        shown.append(f"personality={sqe.personality}")
    return f"{arguments.opcode_name(sqe.opcode)}({', '.join(filter(None, shown))})"


def _seconds(record: Record) -> str:
    """From when it was taken until it was complete; of a CQE the same."""
    if not record.taken or record.flags & LATE:
        return ""
    return f" <{(record.completed - record.taken) / 1e9:.6f}>"


def _request(record: Record) -> str:
    return f"{call(record)} = {result(record)}{_seconds(record)} {HOW[record.how]}"


def _cqe(record: Record) -> str:
    if record.id:
        return f"{call(record)} = {result(record)}{_seconds(record)}"
    return f"CQE(user_data={record.sqe.user_data:#x}) = {result(record)}"


def _setup(record: Record) -> str:
    params = ""
    if len(record.data) == PARAMS.size:
        asked = Params._make(PARAMS.unpack(record.data))
        fields = [f"flags={flag_names(SETUP_FLAGS, asked.flags)}", f"sq_entries={asked.sq_entries}"]
        fields += [f"cq_entries={asked.cq_entries}", f"features={flag_names(FEATURES, asked.features)}"]
        if asked.sq_thread_idle:
            fields.append(f"sq_thread_idle={asked.sq_thread_idle}")
        params = f", {{{', '.join(fields)}}}"
    return f"io_uring_setup({record.sqe.len}{params}) = {result(record)}"


def _register(record: Record) -> str:
    code = record.sqe.rw_flags & ~IORING_REGISTER_USE_REGISTERED_RING
    name = f"IORING_{REGISTER_OPCODES[code]}" if code < len(REGISTER_OPCODES) else str(code)
    return f"io_uring_register({name}, {registered(record)}, {record.sqe.len}) = {result(record)}"


_LINES: dict[int, Callable[[Record], str]] = {
    RecordKind.REQUEST: _request,
    RecordKind.CQE: _cqe,
    RecordKind.SETUP: _setup,
    RecordKind.REGISTER: _register,
    RecordKind.LOST: lambda record: f"+++ {record.id} events lost +++",
    RecordKind.CLOSED: lambda record: f"+++ ring {record.ring} closed +++",
    RecordKind.INJECTED: lambda record: (
        f"+++ rule {record.id} into user_data={record.sqe.user_data:#x}: {plain(record.name.decode())} +++"
    ),
}


class Lines:
    """The lines of a stream of events. More than one process, or ring, is told apart by `[pid N]`, as strace
    does, and `[ring N]`."""

    def __init__(self, *, times: bool = False, user_data: bool = False, always: bool = False) -> None:
        """times: of day, first. user_data: of each request, last. always: `[pid N]` from the start."""
        self._times = times
        self._user_data = user_data
        self._pids: set[int] = set()
        self._rings: set[int] = set()
        self._always = always
        self._offset = time.time_ns() - time.monotonic_ns()

    def line(self, record: Record) -> str:
        """'' of what is shown by no line. Ends with a newline."""
        show = _LINES.get(record.kind)
        if show is None:
            return ""
        behind = ""
        if self._user_data and record.kind in (RecordKind.REQUEST, RecordKind.CQE):
            behind = f" user_data={record.sqe.user_data:#x}"
        return f"{self._before(record)}{show(record)}{behind}\n"

    def _before(self, record: Record) -> str:
        before = ""
        if self._times and record.completed:
            ns = self._offset + record.completed
            before = f"{time.strftime('%H:%M:%S', time.localtime(ns // 10**9))}.{ns // 1000 % 10**6:06d} "
        if record.kind == RecordKind.LOST:
            return before
        self._rings.add(record.ring)
        if record.pid:
            self._pids.add(record.pid)
            before += f"[pid {record.pid}] " if self._always or len(self._pids) > 1 else ""
        return before + (f"[ring {record.ring}] " if len(self._rings) > 1 else "")
