/* SPDX-License-Identifier: Apache-2.0 */
/* What a task that exits leaves behind on a ring that others hold (io_uring_files_cancel()). */
#include "events.h"

static struct __kernel_timespec later = {0, 500000000};

/* Who serves the timeout has seen the exit, too. */
static void seen(void)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &soon, 0, 0, 0, 0);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	ring_close(&r);
}

/* A child, with the same descriptors and a copy of the memory: submits what is queued, and is gone. */
static void submitted_by_who_exits(struct ring *r)
{
	unsigned queued = ring_queued(r);
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0)
		_exit(ring_submit(r) != (int)queued);
	expect_child_ok(pid);
	seen();
}

static void give(int fd)
{
	OK(write(fd, "x", 1));
}

TEST(a_timeout_runs_out)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &later, 0, 0, 1, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	wait_for(&r, 1);
}

TEST(what_is_linked_behind_a_timeout)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &later, 0, IORING_TIMEOUT_ETIME_SUCCESS, 1, LINK);
	nop(&r, 2, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	wait_for(&r, 2);
}

TEST(a_multishot_timeout_goes_on)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &later, 2, IORING_TIMEOUT_MULTISHOT, 1, 0);
	submitted_by_who_exits(&r);
	wait_for(&r, 2);
}

TEST(a_timeout_that_counts)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 1, 0, 1, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	nop(&r, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
}

TEST(a_poll_is_cancelled_by_what_it_waits_for)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 1, 0);
	poll_add(&r, fds[0], EPOLLIN, IORING_POLL_ADD_MULTI, 2, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	give(fds[1]);
	wait_sorted(&r, 2);
	EXPECT_EQ(ring_ready(&r), 0);
}

TEST(what_is_linked_behind_a_poll)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 1, LINK);
	nop(&r, 2, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	give(fds[1]);
	wait_for(&r, 2);
}

TEST(a_link_timeout)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 1, LINK);
	link_timeout(&r, &later, 0, 2, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	wait_for(&r, 1);
	note("%u", ring_ready(&r));
	give(fds[1]);
	wait_for(&r, 1);
}

TEST(others_can_cancel_it)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 1, 0);
	timeout(&r, &never, 0, 0, 2, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	cancel(&r, 1, 0, 3);
	cancel(&r, 2, 0, 4);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_sorted(&r, 4);
}

TEST(a_chain_with_a_ring_in_it_goes_at_once)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, r.fd, EPOLLIN, 0, 1, LINK);
	nop(&r, 2, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 3, 0);
	submitted_by_who_exits(&r);
	wait_for(&r, 2);
	note("%u", ring_ready(&r));
	give(fds[1]);
	wait_for(&r, 1);
}

TEST(a_drain)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 1, 0);
	nop(&r, 2, DRAIN);
	nop(&r, 3, 0);
	submitted_by_who_exits(&r);
	note("%u", ring_ready(&r));
	give(fds[1]);
	wait_sorted(&r, 3);
}

static void *submit_in_thread(void *r)
{
	return (void *)(intptr_t)ring_submit(r);
}

static void submitted_by_a_thread(struct ring *r, int n)
{
	pthread_t thread;
	void *ret;

	EXPECT_EQ(pthread_create(&thread, NULL, submit_in_thread, r), 0);
	EXPECT_EQ(pthread_join(thread, &ret), 0);
	EXPECT_EQ((intptr_t)ret, n);
	seen();
}

TEST(a_thread_leaves_the_same)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 1, 0);
	timeout(&r, &later, 0, 0, 2, 0);
	submitted_by_a_thread(&r, 2);
	wait_for(&r, 1);
	give(fds[1]);
	wait_for(&r, 1);
}

TEST(writes_of_threads_that_exit)
{
	static char bytes[8][512];
	struct ring r;
	int fd = make_file(4096);

	ring_init(&r, 8, 0);
	for (int i = 0; i < 8; i++) {
		struct io_uring_sqe *sqe = queue(&r, IORING_OP_WRITE, (uint64_t)i, 0);

		sqe->fd = fd;
		sqe->addr = (uint64_t)(uintptr_t)bytes[i];
		sqe->len = 512;
		sqe->off = (uint64_t)i * 512;
		submitted_by_a_thread(&r, 1);
	}
	wait_sorted(&r, 8);
}
