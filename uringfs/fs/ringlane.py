"""The lane of a ring file (docs/lane.md), as its clients ask for it: to take part, and to poll."""

import errno

from uringfs.abi import control as abi
from uringfs.abi.kernels import CURRENT
from uringfs.abi.lane import (
    ANSWER,
    FLAGS_IN_MEMORY,
    FLAGS_IN_PAGE_CACHE,
    URINGFS_LANE_POLLERS,
    URINGFS_LANE_VERSION,
    LaneAnswer,
)
from uringfs.engine.context import Context
from uringfs.errors import UringError
from uringfs.host.protocols import Caller
from uringfs.ops.table import LANE_OPS


async def attach(context: Context, caller: Caller, message: abi.LaneAttach) -> int:
    """URINGFS_CMD_LANE. EINVAL, EFAULT, and what Sharing.attach() raises."""
    version = message.version & ~URINGFS_LANE_POLLERS
    if not version:
        raise UringError(errno.EINVAL, "no lane has version 0")
    if context.poller is not None and version == message.version:
        raise UringError(errno.EOPNOTSUPP, "a client that knows no polled rings")
    if context.ring.geometry.kernel != CURRENT:
        raise UringError(errno.EOPNOTSUPP, "clients perform requests as today's kernel does")
    lane = await context.sharing.attach(caller, LANE_OPS)
    geometry = context.ring.geometry
    answer = LaneAnswer(
        min(version, URINGFS_LANE_VERSION),
        lane.attach(caller),
        geometry.flags,
        geometry.sq_entries,
        geometry.cq_entries,
        geometry.sq_array,
        lane.generation,
        FLAGS_IN_MEMORY if context.ring.memory.backing_id else FLAGS_IN_PAGE_CACHE,
    )
    caller.memory.write(message.answer, ANSWER.pack(*answer)[: message.room])
    return 0


async def poll(context: Context, caller: Caller, message: abi.LanePoll) -> int:
    """URINGFS_CMD_LANE_POLL: what was submitted. EINVAL if nobody polls; and what SqPoller.serve() raises."""
    if context.poller is None:
        raise UringError(errno.EINVAL, "a ring without IORING_SETUP_SQPOLL")
    return await context.poller.serve(caller, message.to_submit)
