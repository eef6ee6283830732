/* SPDX-License-Identifier: Apache-2.0 */
/* A LINK_TIMEOUT that has run out when it starts: what is complete by then it does not find (ENOENT), what waits
 * it cancels. Both orders of the CQEs are right where a worker is in between. Not here, since the kernel itself does now
 * this, now that: RECV with IORING_RECVSEND_POLL_FIRST; a READ that blocks in a worker, which may not end at all. */
#include "events.h"

#include <sys/stat.h>

static int p[2], s[2], file;
static char buf[16];

static void start(struct ring *r)
{
	make_pipe(p);
	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	file = make_file(16);
	ring_init(r, 8, 0);
}

static struct io_uring_sqe *into_buf(struct ring *r, unsigned op, int fd, unsigned flags)
{
	struct io_uring_sqe *sqe = queue(r, op, 1, LINK | flags);

	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)buf;
	sqe->len = 4;
	return sqe;
}

static void against_it(struct ring *r)
{
	link_timeout(r, &now, 0, 2, 0);
	EXPECT_EQ(ring_submit(r), 2);
	wait_for(r, 2);
}

static void against_it_in_a_worker(struct ring *r)
{
	link_timeout(r, &now, 0, 2, 0);
	EXPECT_EQ(ring_submit(r), 2);
	wait_sorted(r, 2);
}

TEST(complete_at_once)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	against_it(&r);
	nop(&r, 1, LINK | IOSQE_ASYNC);
	against_it_in_a_worker(&r);
	fails(&r, 1, LINK);
	against_it(&r);
	timeout(&r, &now, 0, 0, 1, LINK);
	against_it_in_a_worker(&r);
}

TEST(never_begun)
{
	struct ring r;

	start(&r);
	invalid(&r, 1, LINK);
	link_timeout(&r, &now, 0, 2, 0);
	ring_submit(&r);
	wait_for(&r, 2);
	fails(&r, 7, LINK);
	nop(&r, 1, LINK);
	link_timeout(&r, &now, 0, 2, 0);
	ring_submit(&r);
	wait_for(&r, 3);
}

TEST(an_absolute_time_that_has_passed)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &soon, IORING_TIMEOUT_ABS, 2, 0);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_for(&r, 2);
	poll_add(&r, p[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &soon, IORING_TIMEOUT_ABS | IORING_TIMEOUT_REALTIME, 2, 0);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_for(&r, 2);
}

/* The file, unless it would be a worker's to read (FMODE_NOWAIT: a tmpfs has none). */
static int read_at_once(void)
{
	struct iovec iov = {buf, 4};

	if (preadv2(file, &iov, 1, 0, RWF_NOWAIT) == 4)
		return file;
	EXPECT_EQ(errno, EOPNOTSUPP);
	return (int)OK(open("/dev/zero", O_RDONLY | O_CLOEXEC));
}

TEST(ready)
{
	struct ring r;

	start(&r);
	into_buf(&r, IORING_OP_READ, read_at_once(), 0);
	against_it(&r);
	EXPECT_EQ(write(p[1], "abcdefgh", 8), 8);
	into_buf(&r, IORING_OP_READ, p[0], 0);
	against_it(&r);
	EXPECT_EQ(write(s[1], "abcd", 4), 4);
	into_buf(&r, IORING_OP_RECV, s[0], 0);
	against_it(&r);
	poll_add(&r, p[1], POLLOUT, 0, 1, LINK);
	against_it(&r);
	poll_add(&r, p[0], POLLIN, 0, 1, LINK);
	against_it(&r);
}

TEST(not_ready)
{
	struct ring r;

	start(&r);
	into_buf(&r, IORING_OP_READ, p[0], 0);
	against_it(&r);
	into_buf(&r, IORING_OP_RECV, s[0], 0);
	against_it(&r);
	poll_add(&r, p[0], POLLIN, 0, 1, LINK);
	against_it(&r);
	timeout(&r, &never, 0, 0, 1, LINK);
	against_it(&r);
	EXPECT_EQ(write(p[1], "x", 1), 1);
	note("not eaten: %zd", read(p[0], buf, 8));
}

/* What a worker does is done before the timer starts. */
TEST(in_a_worker)
{
	static char stx[256];
	struct io_uring_sqe *sqe;
	struct ring r;

	start(&r);
	sqe = queue(&r, IORING_OP_STATX, 1, LINK);
	sqe->fd = AT_FDCWD;
	sqe->addr = (uint64_t)(uintptr_t) "/";
	sqe->off = (uint64_t)(uintptr_t)stx;
	sqe->len = 0x7ff; /* STATX_BASIC_STATS */
	against_it_in_a_worker(&r);
	sqe = queue(&r, IORING_OP_MKDIRAT, 1, LINK);
	sqe->fd = AT_FDCWD;
	sqe->addr = (uint64_t)(uintptr_t) "/";
	sqe->len = 0777;
	against_it_in_a_worker(&r);
	sqe = queue(&r, IORING_OP_OPENAT, 1, LINK);
	sqe->fd = AT_FDCWD;
	sqe->addr = (uint64_t)(uintptr_t) "/nonexistent";
	against_it_in_a_worker(&r);
	queue(&r, IORING_OP_FSYNC, 1, LINK)->fd = file;
	against_it_in_a_worker(&r);
}

TEST(behind_others_in_a_chain)
{
	struct ring r;

	start(&r);
	nop(&r, 7, LINK);
	poll_add(&r, p[1], POLLOUT, 0, 1, LINK);
	link_timeout(&r, &now, 0, 2, LINK);
	nop(&r, 8, LINK);
	nop(&r, 9, 0);
	EXPECT_EQ(ring_submit(&r), 5);
	wait_sorted(&r, 5);
	nop(&r, 7, LINK);
	poll_add(&r, p[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &now, 0, 2, LINK);
	nop(&r, 8, 0);
	EXPECT_EQ(ring_submit(&r), 4);
	wait_sorted(&r, 4);
}
