/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_REGISTER_EVENTFD: who hears of completions, and when. */
#include "harness.h"

#include <sys/eventfd.h>

static int register_eventfd(struct ring *r, unsigned opcode, int fd)
{
	return sys_register(r->fd, opcode, &fd, 1);
}

/* The counter, and 0 for one that nobody has signalled. */
static uint64_t signals(int fd)
{
	uint64_t count = 0;
	ssize_t n = read(fd, &count, sizeof(count));

	EXPECT(n == sizeof(count) || (n < 0 && errno == EAGAIN));
	return n < 0 ? 0 : count;
}

static int make_eventfd(void)
{
	return (int)OK(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

static void submit(struct ring *r, unsigned nops)
{
	for (unsigned i = 0; i < nops; i++)
		ring_nop(r, i + 1);
	EXPECT_EQ(ring_submit(r), nops);
}

TEST(one_signal_a_batch)
{
	int fd = make_eventfd();
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	EXPECT_EQ(signals(fd), 0);
	submit(&r, 1);
	note("one: %llu", (unsigned long long)signals(fd));
	submit(&r, 4);
	note("four: %llu", (unsigned long long)signals(fd));
	submit(&r, 1);
	submit(&r, 1);
	note("two calls: %llu", (unsigned long long)signals(fd));
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	EXPECT_EQ(signals(fd), 0);
}

TEST(what_was_posted_before_is_silent)
{
	int fd = make_eventfd();
	struct ring r;

	ring_init(&r, 8, 0);
	submit(&r, 2);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	EXPECT_EQ(signals(fd), 0);
}

TEST(unregistered_it_is_silent)
{
	int fd = make_eventfd();
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), -EBUSY);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD_ASYNC, fd), -EBUSY);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_EVENTFD, NULL, 0), 0);
	submit(&r, 1);
	EXPECT_EQ(signals(fd), 0);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_EVENTFD, NULL, 0), -ENXIO);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	submit(&r, 1);
	EXPECT_EQ(signals(fd), 1);
}

TEST(what_is_refused)
{
	int fd = make_eventfd(), file = make_file(1);
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_EVENTFD, &fd, 2), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_EVENTFD, &fd, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_EVENTFD, (void *)8, 1), -EFAULT);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, file), -EINVAL);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, -1), -EBADF);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, 1 << 20), -EBADF);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_EVENTFD, &fd, 0), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_UNREGISTER_EVENTFD, NULL, 1), -EINVAL);
}

TEST(the_client_switches_it_off)
{
	int fd = make_eventfd();
	struct ring r;
	shared_u32 *flags;

	ring_init(&r, 8, 0);
	flags = (void *)(r.rings + r.p.cq_off.flags);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	atomic_store(flags, IORING_CQ_EVENTFD_DISABLED);
	submit(&r, 1);
	EXPECT_EQ(signals(fd), 0);
	atomic_store(flags, 0);
	note("enter: %llu", (unsigned long long)(enter(r.fd, 0, 0, GETEVENTS), signals(fd)));
	submit(&r, 1);
	EXPECT_EQ(signals(fd), 1);
	EXPECT_EQ(atomic_load(flags), 0);
}

TEST(asynchronous_only)
{
	int fd = make_eventfd();
	struct io_uring_sqe *sqe;
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD_ASYNC, fd), 0);
	submit(&r, 1);
	EXPECT_EQ(signals(fd), 0);
	ring_wait(&r);
	sqe = ring_sqe(&r);
	sqe->opcode = IORING_OP_NOP;
	sqe->flags = IOSQE_ASYNC;
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	OK(fcntl(fd, F_SETFL, 0));
	EXPECT_EQ(signals(fd), 1);
}

TEST(a_full_counter_blocks_nobody)
{
	uint64_t most = ~0ULL - 1;
	int fd = make_eventfd();
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	OK(fcntl(fd, F_SETFL, 0));
	EXPECT_EQ(write(fd, &most, sizeof(most)), sizeof(most));
	submit(&r, 1);
	submit(&r, 1);
	note("%llx", (unsigned long long)signals(fd));
	EXPECT_EQ(ring_ready(&r), 2);
}

TEST(a_pending_read_signals_when_it_completes)
{
	int fd = make_eventfd(), p[2];
	char byte = 'x', got = 0;
	struct iovec iov = {&got, 1};
	struct ring r;

	OK(pipe(p));
	ring_init(&r, 8, 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	ring_readv(&r, p[0], &iov, 1, 0, 7);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(signals(fd), 0);
	EXPECT_EQ(write(p[1], &byte, 1), 1);
	OK(fcntl(fd, F_SETFL, 0));
	EXPECT_EQ(signals(fd), 1);
	EXPECT_EQ(ring_wait(&r).res, 1);
}

TEST(the_ring_holds_it)
{
	int fd = make_eventfd(), other;
	struct ring r;

	ring_init(&r, 8, 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	other = (int)OK(dup(fd));
	OK(close(fd));
	submit(&r, 1);
	EXPECT_EQ(signals(other), 1);
}

TEST(overflow_and_its_flush)
{
	int fd = make_eventfd();
	struct ring r;

	ring_init(&r, 2, 0);
	EXPECT_EQ(register_eventfd(&r, IORING_REGISTER_EVENTFD, fd), 0);
	submit(&r, 2);
	submit(&r, 2);
	note("full: %llu", (unsigned long long)signals(fd));
	submit(&r, 1);
	note("overflown: %llu", (unsigned long long)signals(fd));
	while (ring_ready(&r))
		ring_wait(&r);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	note("flushed: %llu, ready %u", (unsigned long long)signals(fd), ring_ready(&r));
}

/* EPOLL_URING_WAKE: what a completion of the ring triggers is the poll's last, for it is one itself. */
TEST(a_multishot_poll_of_its_own)
{
	struct io_uring_sqe *sqe;
	int fd = (int)OK(eventfd(0, EFD_NONBLOCK));
	struct cqe cqe;
	struct ring r;

	ring_init(&r, 16, 0);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_EVENTFD, &fd, 1), 0);
	sqe = ring_sqe(&r);
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = fd;
	sqe->len = 1; /* IORING_POLL_ADD_MULTI */
	sqe->poll32_events = POLLIN;
	sqe->user_data = 1;
	EXPECT_EQ(ring_submit(&r), 1);
	ring_nop(&r, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	for (int i = 0; i < 2; i++) {
		cqe = ring_wait(&r);
		note("%llu: %d 0x%x", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	}
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(ring_wait(&r).user_data, 3);
	EXPECT_EQ(ring_ready(&r), 0);
}
