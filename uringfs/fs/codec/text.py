"""The text control language: one command a line, for shells. docs/text-commands.md describes it.

parse() knows words and numbers; what they do is in ringfile.
"""

import errno
from typing import NamedTuple, overload

from uringfs.abi.constants import IORING_SETUP_SQPOLL, SETUP_FLAGS, SQE_FLAGS
from uringfs.abi.kernels import Kernel, kernel
from uringfs.abi.numbers import U32, U64
from uringfs.errors import UringError
from uringfs.fs.codec import faulttext, sqetext
from uringfs.fs.codec.faulttext import FaultCommand
from uringfs.fs.codec.sqetext import SqeCommand
from uringfs.ops.table import OPS
from uringfs.watch import arguments

MAX_LINE = 4096
MAX_READ = 1 << 20


class SetupCommand(NamedTuple):
    """setup ENTRIES [cq=N] [flags=A|B] [kernel=VERSION]"""

    entries: int
    cq: int | None
    flags: int
    kernel: Kernel | None = None


class NopCommand(NamedTuple):
    """nop [user_data=N] [flags=A|B]"""

    user_data: int
    flags: int


class ReadvCommand(NamedTuple):
    """readv path=PATH len=N [off=N] [user_data=N] [flags=A|B]"""

    path: str
    len: int
    off: int
    user_data: int
    flags: int


class EnterCommand(NamedTuple):
    """enter [N] [wait=N]: N SQEs, by default all that are queued"""

    to_submit: int | None
    wait: int


class ParamsCommand(NamedTuple):
    """params: what a program needs that maps the ring"""


class HelpCommand(NamedTuple):
    """help [COMMAND]"""

    message: str


class LaneCommand(NamedTuple):
    """lane on, lane off: clients may take requests themselves"""

    on: bool


class ReapCommand(NamedTuple):
    """reap [N]: take N CQEs off the CQ, by default all"""

    most: int | None


def acts(command: "Command") -> bool:
    """True if the command names a path or descriptors, or executes what is queued, now or by a poller: in the
    name of who writes it."""
    polls = isinstance(command, SetupCommand) and bool(command.flags & IORING_SETUP_SQPOLL)
    return polls or isinstance(command, ReadvCommand | SqeCommand | EnterCommand | LaneCommand)


Command = (
    SetupCommand
    | NopCommand
    | ReadvCommand
    | SqeCommand
    | EnterCommand
    | ReapCommand
    | LaneCommand
    | ParamsCommand
    | HelpCommand
    | FaultCommand
)
HELP = {
    "setup": "setup ENTRIES [cq=N] [flags=A|B] [kernel=VERSION]: io_uring_setup(2)",
    "nop": "nop [user_data=N] [flags=A|B]: queue a NOP",
    "readv": "readv path=PATH [len=N] [off=N] [user_data=N] [flags=A|B]: queue a read of a file, kept for `cat`",
    "sqe": "sqe op=OPCODE [FIELD=N ...] [data=TEXT] [room=N] [flags=A|B]: queue any request; or OPCODE FIELD=N",
    "enter": "enter [N] [wait=N]: submit N requests, or all, then wait until N completions are ready",
    "reap": "reap [N]: take N completions, or all",
    "lane": "lane on|off: clients may perform requests themselves, or not",
    "params": "params: sizes and offsets, for a program that maps the ring",
    "help": "help [COMMAND]",
    **faulttext.HELP,
}


def parse(data: bytes) -> list[Command]:
    """The commands of a write; blank lines and what follows a '#' are ignored. EINVAL says what is wrong."""
    if b"\0" in data:
        raise UringError(errno.EINVAL, "text commands hold no NUL; binary messages start with a command word")
    commands: list[Command] = []
    for raw in data.split(b"\n"):
        if len(raw) > MAX_LINE:
            raise UringError(errno.EINVAL, f"a line of {len(raw)} bytes; at most {MAX_LINE}")
        line = raw.decode("utf-8", "surrogateescape")
        words = sqetext.words(line)
        fault = faulttext.parse(line)
        if fault is not None:
            commands.append(fault)
        elif words and not words[0].startswith("#"):
            commands.append(_command(words[0], words[1:]))
    return commands


def _command(verb: str, words: list[str]) -> Command:
    fields = _Fields(verb, words)
    command: Command
    match verb:
        case "setup":
            entries = fields.bare("entries")
            if entries is None:
                raise UringError(errno.EINVAL, "setup needs a number of entries: setup 8")
            flags = fields.bits("flags", SETUP_FLAGS, "IORING_SETUP_")
            command = SetupCommand(entries, fields.number("cq", None), flags, fields.kernel())
        case "nop" if not fields.beyond("user_data", "flags"):
            command = NopCommand(fields.number("user_data", 0), fields.bits("flags", SQE_FLAGS, "IOSQE_"))
        case "readv" if not fields.has("fd"):
            command = ReadvCommand(
                fields.word("path"),
                fields.number("len", 4096, MAX_READ),
                fields.number("off", 0, U64 >> 1),
                fields.number("user_data", 0),
                fields.bits("flags", SQE_FLAGS, "IOSQE_"),
            )
        case "enter":
            command = EnterCommand(fields.bare("count"), fields.number("wait", 0, U32))
        case "reap":
            command = ReapCommand(fields.bare("count"))
        case "lane":
            command = LaneCommand(_on(fields.bare_word()))
        case "params":
            command = ParamsCommand()
        case "help":
            command = HelpCommand(_help(fields.bare_word()))
        case _:
            command = _sqe(verb, fields)
    fields.end()
    return command


def _sqe(verb: str, fields: "_Fields") -> SqeCommand:
    name = fields.word("op") if verb == "sqe" else verb
    number = sqetext.opcode(name)
    if number is None and verb == "sqe":
        raise UringError(errno.EINVAL, f"sqe: no opcode {name!r}")
    if number is None:
        raise UringError(errno.EINVAL, f"unknown command {verb!r}: {', '.join(HELP)}, or an opcode")
    flags = fields.bits("flags", SQE_FLAGS, "IOSQE_")
    return sqetext.parse(verb, number, flags, fields.rest())


def _on(word: str | None) -> bool:
    if word not in ("on", "off"):
        raise UringError(errno.EINVAL, "lane: on or off?")
    return word == "on"


def _help(of: str | None) -> str:
    if of is None:
        return "; ".join(HELP.values())
    number = sqetext.opcode(of)
    if number is not None and of not in HELP:
        op = OPS[number]
        note = f" ({op.note})" if op.note else ""
        fields = " ".join(field for field, _ in arguments.of(number))
        return f"{op.name}: opcode {number}, {op.support}{note}; fields {fields}; {HELP['sqe']}"
    if of not in HELP:
        raise UringError(errno.EINVAL, f"help: no command {of!r}: {', '.join(HELP)}")
    return HELP[of]


class _Fields:
    """The words of one command, taken one by one; what is left over is an error."""

    def __init__(self, verb: str, words: list[str]) -> None:
        self._verb = verb
        self._bare = [word for word in words if "=" not in word]
        self._named: dict[str, str] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if equals and name in self._named:
                raise UringError(errno.EINVAL, f"{verb}: {name} is given twice")
            if equals:
                self._named[name] = value

    def bare(self, name: str) -> int | None:
        return self._integer(name, self._bare.pop(0), U32) if self._bare else None

    def has(self, name: str) -> bool:
        return name in self._named

    def beyond(self, *names: str) -> bool:
        """There are other named words."""
        return bool(set(self._named) - set(names))

    def rest(self) -> dict[str, str]:
        """All named words that are left."""
        taken, self._named = self._named, {}
        return taken

    def bare_word(self) -> str | None:
        return self._bare.pop(0) if self._bare else None

    def word(self, name: str) -> str:
        value = self._named.pop(name, "")
        if value.startswith('"'):
            value = sqetext.unquoted(self._verb, name, value).decode("utf-8", "surrogateescape")
        if not value:
            raise UringError(errno.EINVAL, f"{self._verb} needs {name}=")
        return value

    @overload
    def number(self, name: str, default: int, most: int = U64) -> int: ...

    @overload
    def number(self, name: str, default: None, most: int = U64) -> int | None: ...

    def number(self, name: str, default: int | None, most: int = U64) -> int | None:
        value = self._named.pop(name, None)
        return default if value is None else self._integer(name, value, most)

    def bits(self, name: str, names: list[str], prefix: str) -> int:
        """Flags joined by '|', with or without the header's prefix, or as numbers."""
        value = self._named.pop(name, "")
        bits = 0
        for word in value.split("|") if value else []:
            word = word.removeprefix(prefix)
            if word in names:
                bits |= 1 << names.index(word)
            elif word[:1].isdigit():
                bits |= self._integer(name, word, U32)
            else:
                raise UringError(errno.EINVAL, f"{self._verb}: unknown flag {word!r}: one of {' '.join(names)}")
        return bits

    def kernel(self) -> Kernel | None:
        """The value of kernel=, None without one."""
        value = self._named.pop("kernel", None)
        if value is None:
            return None
        try:
            return kernel(value)
        except ValueError as error:
            raise UringError(errno.EINVAL, f"{self._verb}: kernel={error}") from None

    def _integer(self, name: str, value: str, most: int) -> int:
        try:
            number = int(value, 0)
        except ValueError:
            raise UringError(errno.EINVAL, f"{self._verb}: {name} is no number: {value!r}") from None
        if not 0 <= number <= most:
            raise UringError(errno.EINVAL, f"{self._verb}: {name} {number} is not within 0..{most}")
        return number

    def end(self) -> None:
        left = [*self._bare, *(f"{name}={value}" for name, value in self._named.items())]
        if left:
            raise UringError(errno.EINVAL, f"{self._verb}: what is {left[0]!r}?")
