/* SPDX-License-Identifier: Apache-2.0 */
/* IOSQE_IO_DRAIN among requests that wait, and the order in which things happen. */
#include "events.h"

static int fds[2], other[2];

static void start(struct ring *r)
{
	make_pipe(fds);
	make_pipe(other);
	ring_init(r, 32, 0);
}

static void poll_one(struct ring *r, int fd, uint64_t user_data, unsigned flags)
{
	poll_add(r, fd, POLLIN, 0, user_data, flags);
}

static void put(int fd)
{
	EXPECT_EQ(write(fd, "x", 1), 1);
}

TEST(waits_for_what_pends)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, 0);
	nop(&r, 2, DRAIN);
	nop(&r, 3, 0);
	submit(&r);
	nop(&r, 4, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 4);
}

TEST(comes_behind_its_batch)
{
	struct ring r;

	start(&r);
	nop(&r, 1, DRAIN);
	nop(&r, 2, 0);
	EXPECT_GE(ring_submit(&r), 1);
	wait_for(&r, 2);
	nop(&r, 3, 0);
	nop(&r, 4, DRAIN);
	nop(&r, 5, 0);
	EXPECT_GE(ring_submit(&r), 1);
	wait_for(&r, 3);
	nop(&r, 6, 0);
	EXPECT_GE(ring_submit(&r), 1);
	wait_for(&r, 1);
}

TEST(each_drain_for_itself)
{
	struct ring r;

	start(&r);
	nop(&r, 1, DRAIN);
	nop(&r, 2, DRAIN);
	nop(&r, 3, DRAIN);
	EXPECT_GE(ring_submit(&r), 1);
	wait_for(&r, 3);
}

TEST(a_drain_that_waits)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, DRAIN);
	nop(&r, 2, 0);
	nop(&r, 3, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 3);
}

TEST(waits_for_timeouts)
{
	struct ring r;

	start(&r);
	timeout(&r, &soon, 0, 0, 1, 0);
	nop(&r, 2, DRAIN);
	submit_for(&r, 2);
}

TEST(waits_for_a_whole_chain)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, LINK);
	poll_one(&r, other[0], 2, LINK);
	nop(&r, 3, 0);
	nop(&r, 4, DRAIN);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	put(other[1]);
	wait_for(&r, 3);
}

TEST(a_draining_chain)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, 0);
	nop(&r, 2, DRAIN | LINK);
	nop(&r, 3, LINK);
	nop(&r, 4, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 4);
}

TEST(a_drain_in_the_middle_of_a_chain)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, 0);
	nop(&r, 2, LINK);
	nop(&r, 3, LINK | DRAIN);
	nop(&r, 4, 0);
	nop(&r, 5, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 5);
}

TEST(failures_do_not_stop_it)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, LINK);
	nop(&r, 2, 0);
	fails(&r, 3, DRAIN | LINK);
	nop(&r, 4, 0);
	nop(&r, 5, DRAIN);
	submit(&r);
	cancel(&r, 1, 0, 6);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 6);
}

TEST(an_invalid_request_is_not_held_back)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, 0);
	invalid(&r, 2, DRAIN);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
}

TEST(waits_for_a_multishot)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, IORING_POLL_ADD_MULTI, 1, 0);
	nop(&r, 2, DRAIN);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	note("%u more", ring_ready(&r));
}

TEST(a_cancelled_one_lets_it_go)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, 0);
	submit(&r);
	cancel(&r, 1, 0, 2);
	nop(&r, 3, DRAIN);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_for(&r, 3);
}

TEST(a_cancel_waits_behind_it)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1, 0);
	nop(&r, 2, DRAIN);
	cancel(&r, 1, 0, 3);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 3);
}

TEST(a_hundred)
{
	struct ring r;
	struct cqe cqe;

	make_pipe(fds);
	ring_init(&r, 256, 0);
	poll_one(&r, fds[0], 0, 0);
	for (unsigned i = 1; i <= 100; i++)
		nop(&r, i, DRAIN);
	EXPECT_EQ(ring_submit(&r), 101);
	EXPECT_EQ(ring_ready(&r), 0);
	put(fds[1]);
	for (unsigned i = 0; i <= 100; i++) {
		cqe = ring_wait(&r);
		EXPECT_EQ(cqe.user_data, i);
	}
}

TEST(links_run_behind_the_batch)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	nop(&r, 2, LINK);
	nop(&r, 3, 0);
	nop(&r, 4, 0);
	nop(&r, 5, LINK);
	nop(&r, 6, 0);
	submit(&r);
}

TEST(failed_links_come_behind_the_batch)
{
	struct ring r;

	start(&r);
	fails(&r, 1, LINK);
	nop(&r, 2, LINK);
	nop(&r, 3, 0);
	nop(&r, 4, 0);
	invalid(&r, 5, LINK);
	nop(&r, 6, 0);
	nop(&r, 7, 0);
	submit(&r);
}

TEST(submit_all_within_chains)
{
	struct ring r;

	ring_init(&r, 32, IORING_SETUP_SUBMIT_ALL);
	invalid(&r, 1, 0);
	nop(&r, 2, LINK);
	invalid(&r, 3, LINK);
	nop(&r, 4, 0);
	invalid(&r, 5, LINK);
	invalid(&r, 6, 0);
	nop(&r, 7, 0);
	submit(&r);
}

TEST(a_bad_sqe_ends_the_batch)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	nop(&r, 2, LINK);
	invalid(&r, 3, 0);
	nop(&r, 4, 0);
	submit(&r);
	submit(&r);
}

TEST(skipped_failures_in_chains)
{
	struct ring r;

	start(&r);
	fails(&r, 1, LINK | SKIP);
	nop(&r, 2, LINK);
	nop(&r, 3, 0);
	nop(&r, 4, LINK | SKIP);
	fails(&r, 5, LINK);
	nop(&r, 6, LINK | SKIP);
	nop(&r, 7, 0);
	submit(&r);
}

TEST(hard_links_over_failures)
{
	struct ring r;

	start(&r);
	fails(&r, 1, HARD);
	poll_add(&r, -1, POLLIN, 0, 2, HARD);
	nop(&r, 3, LINK);
	fails(&r, 4, LINK);
	nop(&r, 5, HARD);
	nop(&r, 6, 0);
	submit(&r);
}
