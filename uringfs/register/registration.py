"""One call of io_uring_register(2), as its handlers see it."""

import errno
from typing import NamedTuple

from uringfs.engine.request import RingContext
from uringfs.engine.resources import Resources
from uringfs.errors import UringError
from uringfs.host.protocols import Caller


class RegisterCall(NamedTuple):
    """arg is an address in the caller's memory, nr_args a count or, for some opcodes, a size."""

    ring: RingContext
    caller: Caller
    opcode: int
    arg: int
    nr_args: int

    @property
    def resources(self) -> Resources:
        return self.ring.resources

    def read(self, size: int) -> bytes:
        """size bytes at arg. EFAULT."""
        return self.caller.memory.read(self.arg, size)

    def need_nothing(self) -> None:
        """EINVAL unless arg and nr_args are 0."""
        if self.arg or self.nr_args:
            raise UringError(errno.EINVAL, "this register opcode takes no argument")

    def need_one(self) -> None:
        """EINVAL unless there is one argument, at arg."""
        if not self.arg or self.nr_args != 1:
            raise UringError(errno.EINVAL, "this register opcode takes one argument")

    def post_tag(self, tag: int) -> None:
        """What was registered with this tag is no longer in use (io_free_rsrc_node())."""
        self.ring.post_cqe(tag, 0, 0)
        self.ring.publish()
