"""The control codec: what a write to a ring file says. Binary messages as in contrib/uringfs.h, or text."""

import errno
from collections.abc import Callable
from struct import Struct

from uringfs.abi import control as abi
from uringfs.errors import UringError

Message = (
    abi.Setup
    | abi.Enter
    | abi.Register
    | abi.Fetch
    | abi.Supervise
    | abi.Agent
    | abi.LaneAttach
    | abi.LaneWake
    | abi.LanePoll
)

_MESSAGES: dict[int, tuple[Struct, Callable[..., Message]]] = {
    abi.URINGFS_CMD_SETUP: (abi.SETUP, abi.Setup),
    abi.URINGFS_CMD_ENTER: (abi.ENTER, abi.Enter),
    abi.URINGFS_CMD_REGISTER: (abi.REGISTER, abi.Register),
    abi.URINGFS_CMD_FETCH: (abi.FETCH, abi.Fetch),
    abi.URINGFS_CMD_SUPERVISE: (abi.SUPERVISE, abi.Supervise),
    abi.URINGFS_CMD_AGENT: (abi.AGENT, abi.Agent),
    abi.URINGFS_CMD_LANE: (abi.LANE, abi.LaneAttach),
    abi.URINGFS_CMD_LANE_WAKE: (abi.LANE_WAKE, abi.LaneWake),
    abi.URINGFS_CMD_LANE_POLL: (abi.LANE_POLL, abi.LanePoll),
}


def is_text(data: bytes) -> bool:
    """Text starts with a printable character, a blank or a newline; a message with a byte from 1 to 8, or 14."""
    return data[:1].isspace() or data[:1] >= b" "


def decode(data: bytes) -> Message:
    """One whole message. EINVAL for a size that does not match, ENOTTY for an unknown cmd."""
    if len(data) < abi.HEADER.size:
        raise UringError(errno.EINVAL, f"a control message has at least {abi.HEADER.size} bytes, not {len(data)}")
    cmd, size = abi.HEADER.unpack_from(data)
    if cmd not in _MESSAGES:
        raise UringError(errno.ENOTTY, f"unknown control command {cmd:#x}: see contrib/uringfs.h")
    body, make = _MESSAGES[cmd]
    if size != len(data) or size != abi.HEADER.size + body.size:
        raise UringError(errno.EINVAL, f"control command {cmd:#x}: size {size} with {len(data)} bytes written")
    return make(*body.unpack_from(data, abi.HEADER.size))
