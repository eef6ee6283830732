"""What a ring has registered (io_uring/rsrc.c, filetable.c): the tables requests index into."""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from uringfs.abi.constants import MAX_RW_COUNT
from uringfs.abi.numbers import U32
from uringfs.engine.kbuf import Group
from uringfs.errors import UringError
from uringfs.host.protocols import File, Memory, Program

T = TypeVar("T")


class Node(Generic[T]):
    """struct io_rsrc_node: one registered thing, used by its table and by requests. When the last of them
    lets go, released is called, and a tag is posted as a CQE's user_data."""

    __slots__ = ("_post_tag", "_released", "_users", "tag", "what")

    def __init__(
        self, what: T, released: Callable[[T], None], tag: int = 0, post_tag: Callable[[int], None] | None = None
    ) -> None:
        self.what = what
        self.tag = tag
        self._released = released
        self._post_tag = post_tag
        self._users = 1

    def hold(self) -> "Node[T]":
        self._users += 1
        return self

    def close(self) -> None:
        """io_put_rsrc_node()"""
        self._users -= 1
        if self._users == 0:
            self._released(self.what)
            if self.tag and self._post_tag is not None:
                self._post_tag(self.tag)


@dataclass(slots=True)
class Table(Generic[T]):
    """A table of nodes: registered files, or registered buffers. nodes is None until one is registered."""

    nodes: list[Node[T] | None] | None = None
    _changes: int = 0
    _changed: bool = False

    def count(self) -> int:
        """How often it has changed. All since this was asked last counts as one change."""
        self._changes += self._changed
        self._changed = False
        return self._changes

    def fill(self, nodes: list[Node[T] | None]) -> None:
        """Register all; what was there is let go by others."""
        self.nodes, self._changed = nodes, True

    def node(self, index: int) -> Node[T] | None:
        """What is registered at an index, if anything."""
        return self.nodes[index] if self.nodes is not None and 0 <= index < len(self.nodes) else None

    def put(self, index: int, node: Node[T] | None) -> None:
        """Set a slot; what was there is let go."""
        assert self.nodes is not None
        old, self.nodes[index] = self.nodes[index], node
        self._changed = True
        if old is not None:
            old.close()

    def update(self, what: str, offset: int, nr: int, change: Callable[[int], None]) -> int:
        """__io_register_rsrc_update(): change(n) sets slot offset + n, for n from 0: how many slots were done, an
        error only if none was. EOVERFLOW, ENXIO, EINVAL, and what change raises. what: files or buffers."""
        if offset + nr > U32:
            raise UringError(errno.EOVERFLOW)
        if self.nodes is None:
            raise UringError(errno.ENXIO, f"no {what} are registered")
        if offset + nr > len(self.nodes):
            raise UringError(errno.EINVAL, f"{nr} slots from {offset}; there are {len(self.nodes)}")
        return as_many_as_work(nr, change)

    def clear(self) -> None:
        """Unregister all, the last first (io_rsrc_data_free())."""
        nodes, self.nodes = self.nodes or [], None
        self._changed = True
        for node in reversed(nodes):
            if node is not None:
                node.close()


def as_many_as_work(nr: int, each: Callable[[int], None]) -> int:
    """Call each(n) for n from 0, up to the first that raises: how many were done; raised only if none was."""
    for done in range(nr):
        try:
            each(done)
        except UringError:
            if not done:
                raise
            return done
    return nr


@dataclass(slots=True)
class RegisteredBuffer:
    """struct io_mapped_ubuf: a range of the memory of who registered it."""

    address: int
    length: int
    memory: Memory
    program: Program
    """The program of the thread that has registered it."""

    def validate(self, address: int, length: int) -> None:
        """validate_fixed_range(). EFAULT."""
        inside = self.address <= address and address + length <= self.address + self.length
        if not inside or length > MAX_RW_COUNT:
            raise UringError(errno.EFAULT, "not within the registered buffer")


@dataclass(slots=True)
class Restrictions:
    """struct io_restriction: what a ring is left with."""

    register_ops: set[int] = field(default_factory=set)
    sqe_ops: set[int] = field(default_factory=set)
    flags_allowed: int = 0
    flags_required: int = 0

    def admits(self, opcode: int, flags: int) -> bool:
        """io_check_restriction()"""
        missing, excess = self.flags_required & ~flags, flags & ~(self.flags_allowed | self.flags_required)
        return opcode in self.sqe_ops and not missing and not excess


@dataclass(slots=True)
class Resources:
    """One ring's tables."""

    files: Table[File] = field(default_factory=Table)
    file_alloc_range: tuple[int, int] = (0, 0)
    """(first, behind the last) slot that file_index IORING_FILE_INDEX_ALLOC may take."""
    file_alloc_hint: int = 0
    """Where the search for one begins (io_file_table.alloc_hint)."""
    buffers: Table[RegisteredBuffer] = field(default_factory=Table)
    buffer_groups: dict[int, Group] = field(default_factory=dict)
    """Provided buffers, by group id (ops/rw/provide.py, register/pbuf.py)."""
    personalities: dict[int, object] = field(default_factory=dict)
    """Credentials by id, as Caller.credentials() gave them."""
    next_personality: int = 1
    restrictions: Restrictions | None = None
    mem_region: bool = False
    """IORING_REGISTER_MEM_REGION has been called."""
    iowq_workers: tuple[int, int] | None = None
    """IORING_REGISTER_IOWQ_MAX_WORKERS: bounded, unbounded."""

    def changes(self) -> tuple[int, int]:
        """How often the files, and the buffers, have changed: once for each call, and for what requests do between
        two looks."""
        return self.files.count(), self.buffers.count()

    def file(self, index: int) -> Node[File]:
        """io_file_get_fixed(), held for the caller. EBADF."""
        node = self.files.node(index)
        if node is None:
            raise UringError(errno.EBADF, f"no file is registered at {index}")
        return node.hold()

    def buffer(self, index: int) -> Node[RegisteredBuffer]:
        """io_find_buf_node(), held for the caller. EFAULT."""
        node = self.buffers.node(index)
        if node is None:
            raise UringError(errno.EFAULT, f"no buffer is registered at {index}")
        return node.hold()

    def close(self) -> None:
        self.files.clear()
        self.buffers.clear()
        self.buffer_groups.clear()
