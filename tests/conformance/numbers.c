/* SPDX-License-Identifier: Apache-2.0 */
/* New descriptors, and rings by an index, where RLIMIT_NOFILE leaves few numbers free. */
#include "net.h"
#include "paths.h"

/* So many are free from now on, and the first of them. */
static int leave_numbers(unsigned count)
{
	struct rlimit limit;
	int fd = (int)OK(open("/dev/null", O_RDONLY)), next;

	while ((next = (int)OK(dup(fd))) < 40)
		;
	OK(close(next));
	OK(close(fd));
	OK(dup2(next - 1, fd));
	OK(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = (rlim_t)next + count;
	OK(setrlimit(RLIMIT_NOFILE, &limit));
	return next;
}

static int run_dev_null(struct ring *r, int flags)
{
	return run_open(r, AT_FDCWD, "/dev/null", flags, 0);
}

TEST(openat_takes_the_last)
{
	struct rlimit before, after;
	struct ring r;
	int last;

	ring_init(&r, 8, 0);
	last = leave_numbers(1);
	OK(getrlimit(RLIMIT_NOFILE, &before));
	EXPECT_EQ(run_dev_null(&r, O_RDONLY), last);
	run_dev_null(&r, O_RDONLY);
	OK(close(last));
	EXPECT_EQ(run_dev_null(&r, O_RDONLY | O_CLOEXEC), last);
	note("descriptor flags %d", fcntl(last, F_GETFD));
	OK(getrlimit(RLIMIT_NOFILE, &after));
	EXPECT(before.rlim_cur == after.rlim_cur && before.rlim_max == after.rlim_max);
}

TEST(socket_takes_the_last)
{
	struct ring r;
	int last;

	ring_init(&r, 8, 0);
	last = leave_numbers(1);
	for (int i = 0; i < 2; i++) {
		struct io_uring_sqe sqe = sqe_of(45 /* SOCKET */, AF_UNIX, NULL, 0);

		sqe.off = SOCK_STREAM;
		EXPECT_EQ(run_new(&r, sqe), i ? -EMFILE : last);
	}
}

TEST(accept_takes_the_last)
{
	struct sockaddr_in a;
	int l = tcp_listener(&a), c = (int)OK(socket(AF_INET, SOCK_STREAM, 0)), last;
	struct ring r;

	ring_init(&r, 8, 0);
	OK(connect(c, (struct sockaddr *)&a, sizeof(a)));
	last = leave_numbers(1);
	EXPECT_EQ(run_new(&r, sqe_of(IORING_OP_ACCEPT, l, NULL, 0)), last);
}

TEST(several_in_one_submission)
{
	struct ring r;

	ring_init(&r, 8, 0);
	leave_numbers(2);
	for (unsigned i = 1; i <= 4; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&r);

		open_sqe(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0);
		sqe->user_data = i;
	}
	EXPECT_EQ(ring_submit(&r), 4);
	for (unsigned i = 0; i < 4; i++)
		note_new(&r);
}

TEST(pipe_needs_two)
{
	int fds[2] = {-1, -1}, last;
	struct io_uring_sqe sqe = sqe_of(62 /* PIPE */, 0, fds, 0);
	struct ring r;

	ring_init(&r, 8, 0);
	last = leave_numbers(1);
	run_new(&r, sqe);
	note("%d %d", fds[0], fds[1]);
	EXPECT_EQ(run_dev_null(&r, O_RDONLY), last);
	OK(close(last));
}

/* ---- rings by an index ---- */

struct rsrc_update {
	uint32_t offset, resv;
	uint64_t data;
};

/* On a mount a control write names the ring by its descriptor. */
static int enter_by(struct ring *r, unsigned index)
{
	ring_nop(r, 1);
	ring_store_tail(r);
	return enter(on_uringfs() ? r->fd : (int)index, 1, 1, GETEVENTS | IORING_ENTER_REGISTERED_RING);
}

static unsigned register_ring(struct ring *r)
{
	struct rsrc_update up = {UINT32_MAX, 0, (uint64_t)r->fd};

	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_RING_FDS, &up, 1), 1);
	return up.offset;
}

TEST(an_index_outlives_close_range)
{
	unsigned index;
	struct ring r;

	ring_init(&r, 8, 0);
	index = register_ring(&r);
	EXPECT_EQ(enter_by(&r, index), 1);
	OK(close_range((unsigned)r.fd + 1, ~0U, 0));
	EXPECT_EQ(enter_by(&r, index), 1);
	EXPECT_EQ(enter_by(&r, index), 1);
	EXPECT_EQ(ring_ready(&r), 3);
}

TEST(close_range_closes_the_rest)
{
	static const int numbers[] = {40, 500, 959, 1000, 1023};
	struct ring r;

	ring_init(&r, 8, 0);
	register_ring(&r);
	for (unsigned i = 0; i < 5; i++)
		if (fcntl(numbers[i], F_GETFD) < 0)
			OK(dup2(r.fd, numbers[i]));
	OK(close_range((unsigned)r.fd + 1, ~0U, 0));
	for (unsigned i = 0; i < 5; i++)
		note("%d: %d", numbers[i], fcntl(numbers[i], F_GETFD) >= 0);
	EXPECT_EQ(close_range(10, 9, 0), -1);
	EXPECT_EQ(errno, EINVAL);
	EXPECT_EQ(close_range(10, 20, 1U << 9), -1);
	EXPECT_EQ(errno, EINVAL);
}

TEST(registered_with_no_number_free)
{
	unsigned index;
	struct ring r;

	ring_init(&r, 8, 0);
	leave_numbers(0);
	index = register_ring(&r);
	EXPECT_EQ(index, 0);
	EXPECT_EQ(register_ring(&r), 1);
	EXPECT_EQ(enter_by(&r, index), 1);
	EXPECT_EQ(dup(r.fd), -1);
	EXPECT_EQ(errno, EMFILE);
}
