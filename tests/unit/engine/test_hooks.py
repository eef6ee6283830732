"""The hook points of a request's way, as a subscriber sees them."""

import errno

import pytest
import trio

from tests.fakehost.files import Stream
from tests.unit.support import Bench, iovecs, nop, readv
from uringfs.abi.constants import (
    IORING_CQE_F_MORE,
    IORING_OP_POLL_ADD,
    IOSQE_CQE_SKIP_SUCCESS,
    IOSQE_IO_LINK,
)
from uringfs.abi.events import EPOLLIN, IORING_POLL_ADD_MULTI
from uringfs.abi.structs import Sqe
from uringfs.engine.context import Context
from uringfs.engine.hooks import POINTS, Hooks, Subscriber, Traced
from uringfs.host.protocols import Caller
from uringfs.ring.ring import Ring


class Witness(Subscriber):
    """Notes (point, user_data, ...)."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def io_uring_submit_req(self, request: Traced) -> None:
        self.seen.append(("submit", request.sqe.user_data))

    def io_uring_req_failed(self, request: Traced, error: int) -> None:
        self.seen.append(("failed", request.sqe.user_data, error))

    def io_issue_sqe(self, request: Traced) -> None:
        self.seen.append(("issue", request.sqe.user_data))

    def io_uring_queue_async_work(self, request: Traced) -> None:
        self.seen.append(("async", request.sqe.user_data))

    def io_uring_poll_arm(self, request: Traced, events: int) -> None:
        self.seen.append(("poll", request.sqe.user_data, bool(events & EPOLLIN)))

    def io_uring_complete(self, ring: Ring, request: Traced | None, user_data: int, res: int, cflags: int) -> None:
        assert request is None or request.sqe.user_data == user_data
        self.seen.append(("complete", user_data, res))

    def io_req_cqe_skip(self, request: Traced, res: int) -> None:
        self.seen.append(("skip", request.sqe.user_data, res))

    def io_uring_cqring_wait(self, ring: Ring, min_events: int) -> None:
        self.seen.append(("wait", min_events))

    def uringfs_inject(self, ring: Ring, request: Traced | None, rule: int, what: str) -> None:
        self.seen.append(("inject", request.sqe.user_data if request is not None else None, rule, what))


@pytest.fixture
def bench(nursery: trio.Nursery) -> Bench:
    return Bench(nursery)


@pytest.fixture
def witness(bench: Bench) -> Witness:
    found = Witness()
    bench.tctx.hooks.subscribe(found)
    return found


async def test_inline(bench: Bench, witness: Witness) -> None:
    await bench.submit(nop(1), nop(2))
    assert witness.seen == [
        *(("submit", 1), ("issue", 1), ("complete", 1, 0)),
        *(("submit", 2), ("issue", 2), ("complete", 2, 0)),
    ]


async def test_what_is_not_in_order(bench: Bench, witness: Witness) -> None:
    await bench.submit(nop(1)._replace(ioprio=1))
    assert witness.seen == [("failed", 1, -errno.EINVAL), ("complete", 1, -errno.EINVAL)]


async def test_a_chain_is_issued_one_by_one(bench: Bench, witness: Witness) -> None:
    await bench.submit(nop(1, IOSQE_IO_LINK), nop(2))
    assert witness.seen == [
        *(("submit", 1), ("submit", 2)),
        *(("issue", 1), ("complete", 1, 0), ("issue", 2), ("complete", 2, 0)),
    ]


async def test_no_cqe_no_completion(bench: Bench, witness: Witness) -> None:
    await bench.submit(nop(1, IOSQE_CQE_SKIP_SUCCESS))
    assert witness.seen == [("submit", 1), ("issue", 1), ("skip", 1, 0)]


async def test_a_read_that_waits(bench: Bench, witness: Witness, nursery: trio.Nursery) -> None:
    stream = bench.thread.fds[3] = Stream()
    bench.thread.memory.map(0x10000, 4096)
    await bench.submit(readv(3, *iovecs(bench.thread, 0x10000, [(0x10100, 1)]), 1))
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(bench.enter, 0, 1)
    await trio.testing.wait_all_tasks_blocked()
    assert witness.seen == [("submit", 1), ("issue", 1), ("poll", 1, True), ("wait", 1)]
    stream.feed(b"x")
    await trio.testing.wait_all_tasks_blocked()
    assert witness.seen[4:] == [("complete", 1, 1)]


async def test_a_poll_needs_no_task(bench: Bench, witness: Witness) -> None:
    stream = bench.thread.fds[3] = Stream()
    await bench.submit(Sqe(IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, user_data=1))
    assert witness.seen == [("submit", 1), ("issue", 1), ("poll", 1, True)]
    stream.feed(b"x")
    await bench.enter(0, wait=1)
    assert ("complete", 1, EPOLLIN) in witness.seen


async def test_completions_beside_the_requests_own(bench: Bench, witness: Witness) -> None:
    assert bench.context.post_more(7, 5, 0)
    assert witness.seen == [("complete", 7, 5)]
    assert bench.client.reap()[0].flags == IORING_CQE_F_MORE


async def test_nobody_is_told_after_the_last_has_left(bench: Bench, witness: Witness) -> None:
    assert bench.tctx.hooks
    bench.tctx.hooks.unsubscribe(witness)
    assert not bench.tctx.hooks
    await bench.submit(nop(1))
    assert witness.seen == []


async def test_one_that_raises_is_told_no_more(
    bench: Bench, witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Subscriber):
        def io_issue_sqe(self, request: Traced) -> None:
            raise ZeroDivisionError

    faulty = Faulty()
    bench.tctx.hooks.subscribe(faulty)
    await bench.submit(nop(1), nop(2))
    assert bench.client.results() == [(1, 0), (2, 0)]
    assert [subscriber for subscriber, _ in bench.tctx.hooks["io_issue_sqe"]] == [witness]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
    caplog.clear()
    assert witness.seen.count(("issue", 2)) == 1


def test_only_the_points_that_a_subscriber_defines_are_there() -> None:
    class Completions(Subscriber):
        def io_uring_complete(
            self, ring: Ring, request: Traced | None, user_data: int, res: int, cflags: int
        ) -> None:
            pass

    hooks = Hooks()
    assert not hooks
    hooks.subscribe(Completions())
    assert list(hooks) == ["io_uring_complete"]
    hooks.subscribe(Witness())
    assert "io_uring_register" not in hooks
    assert set(hooks) < set(POINTS)


async def test_a_multishot_tells_of_each_cqe(bench: Bench) -> None:
    class Points(Subscriber):
        def __init__(self) -> None:
            self.seen: list[tuple[object, ...]] = []

        def io_req_post_cqe(self, request: Traced, res: int, cflags: int) -> None:
            self.seen.append(("more", request.sqe.user_data))

        def io_uring_complete(
            self, ring: Ring, request: Traced | None, user_data: int, res: int, cflags: int
        ) -> None:
            self.seen.append((request is not None, user_data, cflags))

        def io_issue_skip_complete(self, request: Traced) -> None:
            self.seen.append(("armed", request.sqe.user_data))

        def io_submit_sqes(self, context: Context, caller: Caller) -> None:
            self.seen.append((context is bench.context, caller.tid))

        def io_ring_ctx_free(self, context: Context) -> None:
            self.seen.append(("closed",))

    points = Points()
    bench.tctx.hooks.subscribe(points)
    stream = bench.thread.fds[3] = Stream()
    await bench.submit(Sqe(IORING_OP_POLL_ADD, fd=3, rw_flags=EPOLLIN, len=IORING_POLL_ADD_MULTI, user_data=1))
    stream.feed(b"x")
    await bench.enter(0, wait=1)
    bench.context.close()
    more = ("more", 1), (False, 1, IORING_CQE_F_MORE)
    assert points.seen[:4] == [(True, 100), ("armed", 1), *more]
    assert points.seen[-1] == ("closed",)


def test_a_ring_is_watched_by_whoever_says_so() -> None:
    class Watches(Subscriber):
        def watches(self, ring: Ring) -> bool:
            return ring == "this"  # type: ignore[comparison-overlap]

    hooks, told = Hooks(), []
    hooks.changed.append(lambda: told.append(hooks.watched("this")))  # type: ignore[arg-type]
    watching = Watches()
    hooks.subscribe(watching)
    assert not hooks.watched("that")  # type: ignore[arg-type]
    hooks.unsubscribe(watching)
    assert told == [True, False]
