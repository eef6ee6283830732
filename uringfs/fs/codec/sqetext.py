"""Requests of any opcode in text: `OPCODE field=value ...`, fields as in struct io_uring_sqe.

What is in memory stands in the text, in quotes, or is room that is kept for `cat`. May live here: words and
numbers. May not: whose request it becomes (textmemory, ringfile).
"""

import errno
import re
from typing import NamedTuple

from uringfs.abi.constants import OPCODES
from uringfs.abi.numbers import U32
from uringfs.abi.structs import TIMESPEC, Sqe
from uringfs.errors import UringError

MAX_ROOM = 1 << 20
AT_FDCWD = -100
WIDTHS = {"off": 64, "addr": 64, "addr3": 64, "pad2": 64, "len": 32, "rw_flags": 32, "file_index": 32, "fd": 32}
WIDTHS |= {"user_data": 64, "ioprio": 16, "buf_index": 16}
"""Bits of the fields that text may name; personality is not among them."""
ALIASES = {
    **dict.fromkeys(("addr2", "cmd_op"), "off"),
    **dict.fromkeys(("splice_off_in", "level"), "addr"),
    **dict.fromkeys(
        ("fsync_flags", "poll32_events", "sync_range_flags", "msg_flags", "timeout_flags"), "rw_flags"
    ),
    **dict.fromkeys(("accept_flags", "cancel_flags", "open_flags", "statx_flags", "fadvise_advice"), "rw_flags"),
    **dict.fromkeys(("splice_flags", "rename_flags", "unlink_flags", "hardlink_flags", "xattr_flags"), "rw_flags"),
    **dict.fromkeys(("msg_ring_flags", "uring_cmd_flags", "waitid_flags", "futex_flags"), "rw_flags"),
    **dict.fromkeys(("install_fd_flags", "nop_flags", "pipe_flags"), "rw_flags"),
    **dict.fromkeys(("splice_fd_in", "optlen", "zcrx_ifq_idx"), "file_index"),
    **dict.fromkeys(("attr_ptr", "optval"), "addr3"),
    "attr_type_mask": "pad2",
    "buf_group": "buf_index",
}
QUOTED = {"addr": "addr", "addr2": "off", "addr3": "addr3", "path": "addr", "newpath": "off", "name": "addr"}
QUOTED |= {"data": "addr", "value": "off", "iov": "addr", "msg": "addr"}
"""Words that take "text", and the field that becomes its address."""
ROOMS = {"room": "addr", "room2": "off", "iovroom": "addr", "msgroom": "addr"}
"""Words that take a number of bytes to be kept."""
SIZED = ("data", "value", "room")
"""What sets len."""
_ESCAPES = {"n": 10, "t": 9, "r": 13, "0": 0, "\\": 92, '"': 34}
_ESCAPE = re.compile(rb'\\(x[0-9a-fA-F]{2}|[0-7]{3}|[ntr0\\"])')
_WORD = re.compile(r'[^\s="]+="(?:[^"\\]|\\.)*"(?=\s|$)|\S+')


class SqeMemory(NamedTuple):
    """Memory of a request."""

    field: str
    data: bytes
    """Zeros for what is kept."""
    kept: bool
    shape: str
    """iovec, msghdr: what stands between, with one buffer; or ''."""


class SqeCommand(NamedTuple):
    """OPCODE [field=value ...]. The addresses of pieces are not in the SQE yet."""

    sqe: Sqe
    pieces: tuple[SqeMemory, ...]


def words(line: str) -> list[str]:
    """Split at blanks that are not in quotes."""
    return _WORD.findall(line)


def opcode(word: str) -> int | None:
    """The opcode of a name, with IORING_OP_ or without, in any case."""
    name = word.upper().removeprefix("IORING_OP_")
    return OPCODES.index(name) if name in OPCODES else None


def unquoted(verb: str, name: str, value: str) -> bytes:
    r"""The bytes of "text" with \n \t \r \0 \" \\ \xHH \OOO. EINVAL."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        raise UringError(errno.EINVAL, f'{verb}: {name}= takes text in quotes: {name}="..."')
    raw = value[1:-1].encode("utf-8", "surrogateescape")
    if b"\\" in _ESCAPE.sub(b"", raw):
        raise UringError(errno.EINVAL, rf"{verb}: {name}: an escape that is none of \n \t \r \0 \" \\ \xHH \OOO")
    return _ESCAPE.sub(_unescape, raw)


def _unescape(match: "re.Match[bytes]") -> bytes:
    what = match[1].decode()
    if what in _ESCAPES:
        return bytes([_ESCAPES[what]])
    return bytes([(int(what[1:], 16) if what[0] == "x" else int(what, 8)) & 0xFF])


def parse(verb: str, number: int, flags: int, named: dict[str, str]) -> SqeCommand:
    """named: the words but flags=. EINVAL says what is wrong."""
    fields: dict[str, int] = {}
    pieces: list[SqeMemory] = []
    for name, value in named.items():
        if name in QUOTED and (value.startswith('"') or (name not in WIDTHS and name not in ALIASES)):
            pieces.append(_piece(verb, name, unquoted(verb, name, value), kept=False))
        elif name in ROOMS:
            pieces.append(_piece(verb, name, bytes(_number(verb, name, value, 0, MAX_ROOM)), kept=True))
        elif name == "ts":
            pieces.append(SqeMemory("addr", _timespec(verb, value), False, ""))
        else:
            _set(verb, fields, ALIASES.get(name, name), name, value)
    taken = [piece.field for piece in pieces]
    if len(set(taken)) < len(taken) or set(taken) & set(fields):
        raise UringError(errno.EINVAL, f"{verb}: two words for one of addr, addr2 and addr3")
    if "newpath" in named and OPCODES[number] in ("RENAMEAT", "LINKAT"):
        fields.setdefault("len", AT_FDCWD & U32)  # newdfd
    elif pieces:
        fields.setdefault("len", _length(named, pieces))
    fields.setdefault("fd", AT_FDCWD if "path" in named else -1)
    fd = fields.pop("fd") & U32
    return SqeCommand(Sqe(number, flags, fd=fd - (fd >> 31 << 32), **fields), tuple(pieces))


def _piece(verb: str, name: str, data: bytes, kept: bool) -> SqeMemory:
    shape = {"iov": "iovec", "msg": "msghdr"}.get(name[:3], "")
    return SqeMemory(QUOTED.get(name) or ROOMS[name], data, kept, shape)


def _length(named: dict[str, str], pieces: list[SqeMemory]) -> int:
    """sqe->len unless told: of the data, or of an array of one."""
    if "ts" in named or any(piece.shape for piece in pieces):
        return 1
    return next((len(piece.data) for name, piece in zip(_memory(named), pieces, strict=True) if name in SIZED), 0)


def _memory(named: dict[str, str]) -> list[str]:
    """The words that made pieces, in their order."""
    return [
        name
        for name, value in named.items()
        if name in ROOMS or name == "ts" or (name in QUOTED and value.startswith('"'))
    ]


def _timespec(verb: str, value: str) -> bytes:
    """struct __kernel_timespec of a number of seconds."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        raise UringError(errno.EINVAL, f"{verb}: ts takes seconds: ts=1.5")
    seconds, _, fraction = value.partition(".")
    return TIMESPEC.pack(int(seconds), int(fraction.ljust(9, "0")))


def _set(verb: str, fields: dict[str, int], field: str, name: str, value: str) -> None:
    if field not in WIDTHS:
        known = " ".join([*WIDTHS, *QUOTED, *ROOMS, "ts"])
        raise UringError(
            errno.EINVAL, f"{verb}: no field {name!r}: {known}, and their names in struct io_uring_sqe"
        )
    if field in fields:
        raise UringError(errno.EINVAL, f"{verb}: {field} is given twice")
    width = WIDTHS[field]
    fields[field] = _number(verb, name, value, -(1 << (width - 1)), (1 << width) - 1) & ((1 << width) - 1)


def _number(verb: str, name: str, value: str, least: int, most: int) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        raise UringError(errno.EINVAL, f"{verb}: {name} is no number: {value!r}") from None
    if not least <= number <= most:
        raise UringError(errno.EINVAL, f"{verb}: {name} {number} is not within {least}..{most}")
    return number
