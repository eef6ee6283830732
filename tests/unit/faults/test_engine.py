"""What rules do to requests: results, transfers, and who is matched."""

import errno
import signal

import pytest

from tests.fakehost.files import RegularFile
from tests.unit.faults.conftest import AT, ROOT, Inject, differences, read, run, rw, write
from tests.unit.support import Bench, nop
from uringfs.abi import constants as abi
from uringfs.abi.structs import Sqe
from uringfs.errors import UringError
from uringfs.faults.engine import FaultEngine
from uringfs.faults.given import MOST_OF_A_USER, RuleGiver

LINK = abi.IOSQE_IO_LINK


async def test_a_failed_write_has_not_written(bench: Bench, file: RegularFile, inject: Inject) -> None:
    before = file.data
    rule = inject("WRITE:error=EIO")
    assert await run(bench, write(8, user_data=1)) == [(1, -errno.EIO)]
    assert file.data == before
    assert (rule.matched, rule.injected) == (1, 1)


async def test_after_it_has_written(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("WRITE:error=EIO:after")
    assert await run(bench, write(8, user_data=1)) == [(1, -errno.EIO)]
    assert file.data[:8] == b"A" * 8


async def test_a_failure_breaks_the_chain(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("READ:error=EIO:after")
    assert await run(bench, read(8, user_data=1, flags=LINK), nop(2)) == [(1, -errno.EIO), (2, -errno.ECANCELED)]


async def test_a_good_result_holds_the_chain(bench: Bench, inject: Inject) -> None:
    inject("WRITE:retval=8:after")
    assert await run(bench, write(8, user_data=1, flags=LINK), nop(2)) == [(1, 8), (2, 0)]


async def test_any_result(bench: Bench, inject: Inject) -> None:
    inject("NOP:retval=4711")
    assert await run(bench, nop(1)) == [(1, 4711)]


async def test_short_reads_and_writes(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("READ,WRITE:short=3")
    assert await run(bench, write(8, user_data=1, flags=LINK), nop(2)) == [(1, 3), (2, -errno.ECANCELED)]
    assert file.data[:8] == b"AAA" + bytes(range(3, 8))
    assert await run(bench, read(8, user_data=3)) == [(3, 3)]
    assert bench.thread.memory.read(AT, 8) == file.data[:3] + b"AAAAA"
    assert await run(bench, read(2, user_data=4, flags=LINK), nop(5)) == [(4, 2), (5, 0)]


async def test_a_short_readv(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("READV:short=5")
    bench.thread.memory.put(AT + 512, b"".join(v.to_bytes(8, "little") for v in (AT, 4, AT + 8, 4)))
    sqe = rw(abi.IORING_OP_READV, 3, 2, addr=AT + 512, user_data=1)
    assert await run(bench, sqe) == [(1, 5)]
    assert bench.thread.memory.read(AT, 12) == bytes(range(4)) + b"AAAA" + b"\x04AAA"


async def test_the_end_of_the_file(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("READ:short=0")
    assert await run(bench, read(8, user_data=1)) == [(1, 0)]


async def test_a_torn_write_says_that_it_is_whole(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("WRITE:torn=3")
    assert await run(bench, write(8, user_data=1, flags=LINK), nop(2)) == [(1, 8), (2, 0)]
    assert file.data[:8] == b"AAA" + bytes(range(3, 8))


async def test_a_torn_write_that_fails_says_so(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("WRITE:torn=3")
    file.writable = False
    assert await run(bench, write(8, user_data=1)) == [(1, -errno.EBADF)]


async def test_a_misdirected_write(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("WRITE:misdirect=+16")
    assert await run(bench, write(4, off=8, user_data=1)) == [(1, 4)]
    assert differences(file.data, bytes(range(64))) == [24, 25, 26, 27]


async def test_no_misdirection_at_the_current_position(bench: Bench, file: RegularFile, inject: Inject) -> None:
    rule = inject("WRITE:misdirect=+16")
    assert await run(bench, write(4, off=(1 << 64) - 1, user_data=1)) == [(1, 4)]
    assert rule.injected == 0


async def test_corrupt_bytes_of_a_read(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("READ:corrupt=2")
    assert await run(bench, read(32, user_data=1)) == [(1, 32)]
    assert len(differences(bench.thread.memory.read(AT, 32), bytes(range(32)))) == 2
    assert file.data == bytes(range(64))


async def test_corrupt_bytes_of_a_write(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("WRITE:corrupt=5..6")
    assert await run(bench, write(32, user_data=1)) == [(1, 32)]
    assert differences(file.data[:32], b"A" * 32) == [5, 6]
    assert bench.thread.memory.read(AT, 32) == b"A" * 32


async def test_the_seed_says_which_bytes(bench: Bench, file: RegularFile, nursery: object) -> None:
    seen = []
    for seed in ("1", "1", "2"):
        faults = FaultEngine(bench.nursery, bench.tctx.hooks, seed=seed)
        rule = faults.inject("READ:corrupt=3", ROOT)
        await run(bench, read(64))
        seen.append(bench.thread.memory.read(AT, 64))
        faults.remove(rule.id, ROOT)
    assert seen[0] == seen[1] != seen[2]


async def test_two_rules_for_one_request(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("READ:short=16")
    inject("READ:corrupt=0..0")
    assert await run(bench, read(32, user_data=1)) == [(1, 16)]
    assert differences(bench.thread.memory.read(AT, 16), bytes(range(16))) == [0]


MATCHES = [
    ("NOP:user_data=2:retval=9", [0, 9, 0]),
    ("NOP:user_data=2..3:retval=9", [0, 9, 9]),
    ("NOP:when=2:retval=9", [0, 9, 0]),
    ("NOP:when=2+:retval=9", [0, 9, 9]),
    ("NOP:when=1+2:retval=9", [9, 0, 9]),
    ("NOP:times=2:retval=9", [9, 9, 0]),
    ("NOP:probability=0:retval=9", [0, 0, 0]),
    ("NOP:pid=100:retval=9", [9, 9, 9]),
    ("NOP:pid=7:retval=9", [9, 9, 9]),
    ("NOP:pid=8:retval=9", [0, 0, 0]),
    ("NOP:ring=ring5:retval=9", [9, 9, 9]),
    ("NOP:ring=ring*:retval=9", [9, 9, 9]),
    ("NOP:ring=#5:retval=9", [9, 9, 9]),
    ("NOP:ring=other:retval=9", [0, 0, 0]),
    ("NOP:chain=0:retval=9", [9, 9, 9]),
    ("NOP:chain=1:retval=9", [0, 0, 0]),
    ("!NOP:retval=9", [0, 0, 0]),
    ("NOP:fd=3:retval=9", [0, 0, 0]),
    ("%write:retval=9", [0, 0, 0]),
]


@pytest.mark.parametrize(("text", "results"), MATCHES, ids=lambda value: str(value))
async def test_what_matches(bench: Bench, inject: Inject, text: str, results: list[int]) -> None:
    bench.ring.number = 5
    inject(text)
    assert [res for _, res in await run(bench, nop(1), nop(2), nop(3))] == results


async def test_positions_in_a_chain(bench: Bench, inject: Inject) -> None:
    rule = inject("NOP:chain=2:retval=9")
    found = await run(bench, nop(1, LINK), nop(2, LINK), nop(3), nop(4))
    assert sorted(found) == [(1, 0), (2, 9), (3, 0), (4, 0)]
    assert rule.matched == 1


async def test_flags(bench: Bench, inject: Inject) -> None:
    inject("NOP:flags=ASYNC:retval=9")
    assert await run(bench, nop(1), nop(2, abi.IOSQE_ASYNC)) == [(1, 0), (2, 9)]


async def test_paths_of_descriptors(bench: Bench, file: RegularFile, inject: Inject) -> None:
    missing = inject("READ:path=/nowhere/*:error=EIO")
    assert await run(bench, read(4, user_data=1)) == [(1, 4)]
    assert missing.matched == 0
    assert "nothing has matched" in missing.describe()
    inject("READ:path=*:error=EIO")
    assert await run(bench, read(4, user_data=2)) == [(2, -errno.EIO)]


async def test_paths_that_requests_name(bench: Bench, inject: Inject) -> None:
    bench.thread.memory.map(AT, 4096)
    bench.thread.memory.put(AT, b"/data/wal\0")
    inject("%path:path=/data/*:error=ENOSPC")
    sqe = Sqe(abi.IORING_OP_UNLINKAT, fd=-100, addr=AT, user_data=1)
    assert await run(bench, sqe) == [(1, -errno.ENOSPC)]
    bench.thread.memory.put(AT, b"/Data")
    bench.thread.answers["unlinkat"] = errno.EXDEV
    assert await run(bench, sqe) != [(1, -errno.ENOSPC)]


async def test_ranges_of_bytes(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("READ:range=16..31:error=EIO")
    sqes = [read(8, off=off, user_data=off) for off in (8, 12, 24, 32)]
    assert dict(await run(bench, *sqes)) == {8: 8, 12: -errno.EIO, 24: -errno.EIO, 32: 8}


async def test_signals(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("NOP:signal=USR1")
    assert await run(bench, nop(1)) == [(1, 0)]
    assert bench.thread.signals == [signal.SIGUSR1]


async def test_who_is_killed_before_has_not_written(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("WRITE:signal=KILL")
    before = file.data
    await run(bench, write(8, user_data=1))
    assert bench.thread.signals == [signal.SIGKILL]
    assert file.data == before


async def test_who_is_killed_after_has(bench: Bench, file: RegularFile, inject: Inject) -> None:
    inject("WRITE:signal=KILL:after")
    await run(bench, write(8, user_data=1))
    assert bench.thread.signals == [signal.SIGKILL]
    assert file.data[:8] == b"A" * 8


async def test_calls(bench: Bench, inject: Inject) -> None:
    inject("enter:error=EINTR:when=2")
    bench.client.push(nop(1), nop(2))
    assert await bench.enter(1) == 1
    with pytest.raises(UringError) as raised:
        await bench.enter(1)
    assert raised.value.errno == errno.EINTR
    assert bench.ring.sq.pending() == 1
    assert await bench.enter(1) == 1


async def test_an_enter_that_takes_less(bench: Bench, inject: Inject) -> None:
    inject("enter:short=1:times=1")
    bench.client.push(nop(1), nop(2))
    assert await bench.enter(2, wait=2) == 1
    assert await bench.enter(1, wait=2) == 1
    assert bench.client.results() == [(1, 0), (2, 0)]


async def test_cat_and_who_watches_are_told(bench: Bench, inject: Inject) -> None:
    rule = inject("NOP:retval=9")
    await run(bench, nop(41))
    assert bench.ring.injected == [f"rule:{rule.id}, user_data:41, NOP:retval=9"]
    assert bench.ring.counters.injected == 1


async def test_without_rules_nobody_is_asked(bench: Bench, faults: FaultEngine) -> None:
    assert not bench.tctx.hooks
    rule = faults.inject("NOP:retval=9", ROOT)
    assert bench.tctx.hooks.breaker is faults
    faults.remove(rule.id, ROOT)
    assert not bench.tctx.hooks
    assert bench.tctx.hooks.breaker is None
    assert await run(bench, nop(1)) == [(1, 0)]


async def test_a_rule_that_has_expired_costs_nothing(bench: Bench, faults: FaultEngine) -> None:
    rule = faults.inject("NOP:retval=9:times=1", ROOT)
    assert await run(bench, nop(1), nop(2)) == [(1, 9), (2, 0)]
    assert not bench.tctx.hooks
    assert faults.given(ROOT) == [rule]
    assert "expired" in rule.describe()


async def test_others_rules_are_others(bench: Bench, faults: FaultEngine) -> None:
    opener = bench.host.opener(100)
    mine, stranger = RuleGiver(1000, opener), RuleGiver(1001, opener)
    rule = faults.inject("NOP:retval=9", mine)
    theirs = faults.inject("NOP:retval=8", stranger)
    assert await run(bench, nop(1)) == [(1, 9)]
    assert theirs.matched == 0
    assert faults.given(stranger) == [theirs]
    assert faults.given(ROOT) == [rule, theirs]
    with pytest.raises(UringError, match="no rule") as raised:
        faults.remove(rule.id, stranger)
    assert raised.value.errno == errno.ENOENT
    with pytest.raises(UringError, match="no rule"):
        faults.inject(f"NOP:release={rule.id}", stranger)


async def test_no_right_is_gained(bench: Bench, faults: FaultEngine) -> None:
    """The ring is the rule's user's, but the program that enters it may do more than the rule's writer."""
    opener = bench.host.opener(200)
    opener.refused.add(bench.thread.tid)
    rule = faults.inject("NOP:retval=9", RuleGiver(1000, opener))
    assert await run(bench, nop(1)) == [(1, 0)]
    assert rule.matched == 0


async def test_a_user_has_so_many_rules(faults: FaultEngine) -> None:
    for _ in range(64):
        faults.inject("NOP:retval=9", ROOT)
    with pytest.raises(UringError) as raised:
        faults.inject("NOP:retval=9", ROOT)
    assert raised.value.errno == errno.EAGAIN
    assert faults.remove_all(ROOT) == 64
    assert faults.given(ROOT) == []


async def test_a_wrong_rule(faults: FaultEngine) -> None:
    with pytest.raises(UringError, match="column 5: 'eror' is no word") as raised:
        faults.inject("NOP:eror=EIO", ROOT)
    assert raised.value.errno == errno.EINVAL


async def test_what_has_expired_makes_room_and_nothing_else_does(faults: FaultEngine, bench: Bench) -> None:
    given = [faults.inject("NOP:retval=1", ROOT) for _ in range(MOST_OF_A_USER - 2)]
    over = [faults.inject("NOP:user_data=7:retval=2:times=1", ROOT) for _ in range(2)]
    faults.inject("NOP:retval=3", RuleGiver(1000))
    with pytest.raises(UringError) as raised:
        faults.inject("NOP:retval=4", ROOT)
    assert raised.value.errno == errno.EAGAIN
    assert await run(bench, nop(7)) == [(7, 1)]
    assert [rule.expired for rule in over] == [True, True]
    new = [faults.inject("NOP:retval=4", ROOT) for _ in range(2)]
    assert faults.given(ROOT)[:-3] == given
    assert faults.given(ROOT)[-2:] == new
