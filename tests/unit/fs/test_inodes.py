"""Inodes: numbers, names, counts; a random walk beside a model."""

import errno
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from uringfs.errors import UringError
from uringfs.fs.inodes import NEW, Inode, InodeTable

CHANGES = st.sampled_from(["look", "forget", "open", "close"])
NAMES = st.sampled_from([b"a", b"b", b"c", NEW])


def refusal(call: Callable[[], object]) -> int:
    with pytest.raises(UringError) as caught:
        call()
    return caught.value.errno


@pytest.fixture
def dropped() -> list[list[int]]:
    return []


@pytest.fixture
def table(dropped) -> InodeTable[list[int]]:
    return InodeTable(4, lambda number, uid: [], dropped.append)


def test_numbers_are_never_used_again(table) -> None:
    seen = set()
    for _ in range(100):
        inode = table.create(b"x", 0o600, 1, 2)
        assert inode.number not in seen
        seen.add(inode.number)
        table.unlink(b"x")
    assert len(table) == 0
    assert refusal(lambda: table[inode.number]) == errno.ESTALE


def test_each_kind_of_reference_keeps_an_inode(table, dropped) -> None:
    inode = table.create(b"x", 0o600, 0, 0)
    inode.lookups, inode.opens = 3, 1
    table.unlink(b"x")
    table.forget(inode.number, 2)
    table.forget(inode.number, 1)
    assert dropped == []
    inode.opens = 0
    table.release(inode)
    table.release(inode)
    table.forget(inode.number, 1)
    assert dropped == [inode.payload]


def test_the_limit(table) -> None:
    for name in (b"1", b"2", b"3", b"4"):
        table.create(name, 0, 0, 0)
    assert refusal(lambda: table.create(b"5", 0, 0, 0)) == errno.ENOSPC
    assert refusal(lambda: table.allocate(0, 0, 0)) == errno.ENOSPC
    assert refusal(lambda: table.find(b"5")) == errno.ENOENT
    table.unlink(b"2")
    table.create(b"5", 0, 0, 0)


def test_names_that_are_refused(table) -> None:
    long = b"x" * 256
    table.create(b"a", 0, 0, 0)
    assert refusal(lambda: table.create(b"a", 0, 0, 0)) == errno.EEXIST
    assert refusal(lambda: table.create(NEW, 0, 0, 0)) == errno.EEXIST
    assert refusal(lambda: table.create(long, 0, 0, 0)) == errno.ENAMETOOLONG
    assert refusal(lambda: table.find(long)) == errno.ENAMETOOLONG
    assert refusal(lambda: table.rename(b"a", long)) == errno.ENAMETOOLONG
    assert refusal(lambda: table.unlink(NEW)) == errno.EPERM
    assert refusal(lambda: table.rename(b"a", NEW)) == errno.EPERM
    assert refusal(lambda: table.rename(NEW, b"b")) == errno.EPERM
    assert refusal(lambda: table.rename(b"z", b"b")) == errno.ENOENT
    table.create(b"x" * 255, 0, 0, 0)


def test_rename_over_another_drops_it_once_unreferenced(table, dropped) -> None:
    kept, gone = table.create(b"a", 0, 0, 0), table.create(b"b", 0, 0, 0)
    assert refusal(lambda: table.rename(b"a", b"b", noreplace=True)) == errno.EEXIST
    table.rename(b"a", b"b")
    assert table.find(b"b") is kept
    assert dropped == [gone.payload]
    table.rename(b"b", b"b")
    assert table.find(b"b") is kept


def test_exchange(table, dropped) -> None:
    one, two = table.create(b"a", 0, 0, 0), table.create(b"b", 0, 0, 0)
    table.rename(b"a", b"b", exchange=True)
    assert (table.find(b"a"), table.find(b"b")) == (two, one)
    assert refusal(lambda: table.rename(b"a", b"z", exchange=True)) == errno.ENOENT
    assert dropped == []


def test_an_inode_is_a_regular_file_of_its_maker(table) -> None:
    inode = table.create(b"a", 0o7644, 12, 34)
    assert (inode.mode, inode.uid, inode.gid, inode.names) == (0o107644, 12, 34, 1)


class Walk(RuleBasedStateMachine):
    """Any sequence of calls, beside a dict of names and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[object] = []
        self.table: InodeTable[object] = InodeTable(5, lambda number, uid: object(), self.dropped.append)
        self.names: dict[bytes, Inode[object]] = {}
        self.alive: list[Inode[object]] = []

    def attempt(self, allowed: bool, call: Callable[[], object]) -> object:
        if allowed:
            return call()
        with pytest.raises(UringError):
            call()
        return None

    @rule(name=NAMES)
    def create(self, name: bytes) -> None:
        allowed = name != NEW and name not in self.names and len(self.alive) < 5
        inode = self.attempt(allowed, lambda: self.table.create(name, 0o600, 0, 0))
        if isinstance(inode, Inode):
            self.names[name] = inode
            self.alive.append(inode)

    @rule()
    def allocate(self) -> None:
        inode = self.attempt(len(self.alive) < 5, lambda: self.table.allocate(0o600, 0, 0))
        if isinstance(inode, Inode):
            inode.lookups = 1
            self.alive.append(inode)

    @rule(name=NAMES)
    def unlink(self, name: bytes) -> None:
        self.attempt(name in self.names, lambda: self.table.unlink(name))
        self.names.pop(name, None)

    @rule(old=NAMES, new=NAMES, flags=st.sampled_from([{}, {"noreplace": True}, {"exchange": True}]))
    def rename(self, old: bytes, new: bytes, flags: dict[str, bool]) -> None:
        allowed = old in self.names and new != NEW
        allowed = allowed and not (flags.get("noreplace") and new in self.names and new != old)
        allowed = allowed and not (flags.get("exchange") and new not in self.names)
        self.attempt(allowed, lambda: self.table.rename(old, new, **flags))
        if allowed and flags.get("exchange"):
            self.names[old], self.names[new] = self.names[new], self.names[old]
        elif allowed:
            self.names[new] = self.names.pop(old)

    @rule(pick=st.integers(0, 4), change=CHANGES, count=st.integers(1, 3))
    def refer(self, pick: int, change: str, count: int) -> None:
        if pick >= len(self.alive):
            return
        inode = self.alive[pick]
        match change:
            case "look":
                self.table.looked_up(inode)
            case "forget":
                self.table.forget(inode.number, count)
            case "open":
                inode.opens += 1
            case "close" if inode.opens:
                inode.opens -= 1
                self.table.release(inode)

    @invariant()
    def same_as_the_model(self) -> None:
        gone = [
            inode for inode in self.alive if not (inode in self.names.values() or inode.lookups or inode.opens)
        ]
        self.alive = [inode for inode in self.alive if inode not in gone]
        for inode in gone:
            assert self.dropped.count(inode.payload) == 1
        assert len(self.table) == len(self.alive)
        for inode in self.alive:
            assert self.table[inode.number] is inode
            assert inode.payload not in self.dropped
            assert inode.names == list(self.names.values()).count(inode)
        for name in (b"a", b"b", b"c"):
            if name in self.names:
                assert self.table.find(name) is self.names[name]
            else:
                assert refusal(lambda name=name: self.table.find(name)) == errno.ENOENT


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
