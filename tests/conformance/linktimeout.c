/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_LINK_TIMEOUT: a race between a request and the timeout linked behind it. */
#include "events.h"

static int fds[2];

static void start(struct ring *r)
{
	make_pipe(fds);
	ring_init(r, 16, 0);
}

TEST(the_timeout_is_quicker)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &soon, 0, 2, 0);
	submit_for(&r, 2);
}

TEST(the_request_is_quicker)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &never, 0, 2, 0);
	submit(&r);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	wait_for(&r, 2);
}

TEST(the_request_is_complete_at_once)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &never, 0, 2, 0);
	nop(&r, 3, 0);
	submit(&r);
}

TEST(the_request_fails_at_once)
{
	struct ring r;

	start(&r);
	fails(&r, 1, LINK);
	link_timeout(&r, &never, 0, 2, LINK);
	nop(&r, 3, 0);
	submit(&r);
}

TEST(the_request_never_began)
{
	struct ring r;

	start(&r);
	invalid(&r, 1, LINK);
	link_timeout(&r, &never, 0, 2, LINK);
	nop(&r, 3, 0);
	submit(&r);
}

TEST(the_timeout_never_began)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, NULL, 0, 2, LINK);
	nop(&r, 3, 0);
	submit(&r);
}

TEST(a_read_that_never_comes)
{
	char buf[8];
	struct iovec iov = {buf, 8};
	struct ring r;

	start(&r);
	ring_readv(&r, fds[0], &iov, 1, 0, 1);
	r.sqes[r.array[0]].flags = LINK;
	link_timeout(&r, &soon, 0, 2, 0);
	submit_for(&r, 2);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	note("not eaten: %zd", read(fds[0], buf, 8));
}

TEST(a_timeout_of_a_timeout)
{
	struct ring r;

	start(&r);
	timeout(&r, &never, 0, 0, 1, LINK);
	link_timeout(&r, &soon, 0, 2, 0);
	submit_for(&r, 2);
	timeout(&r, &soon, 0, 0, 1, LINK);
	link_timeout(&r, &never, 0, 2, 0);
	submit_for(&r, 2);
}

TEST(the_chain_goes_on_behind_it)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 1, LINK);
	link_timeout(&r, &never, 0, 2, LINK);
	nop(&r, 3, LINK);
	nop(&r, 4, 0);
	submit(&r);
}

TEST(the_chain_is_cancelled_behind_it)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &soon, 0, 2, LINK);
	nop(&r, 3, LINK);
	nop(&r, 4, 0);
	submit_for(&r, 4);
}

TEST(a_hard_link_goes_on)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, HARD);
	link_timeout(&r, &soon, 0, 2, HARD);
	nop(&r, 3, 0);
	submit_for(&r, 3);
}

TEST(in_the_middle_of_a_chain)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	poll_add(&r, fds[0], POLLIN, 0, 2, LINK);
	link_timeout(&r, &soon, 0, 3, LINK);
	nop(&r, 4, 0);
	submit_for(&r, 4);
}

TEST(each_request_with_its_own)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 1, LINK);
	link_timeout(&r, &never, 0, 2, LINK);
	poll_add(&r, fds[0], POLLIN, 0, 3, LINK);
	link_timeout(&r, &soon, 0, 4, LINK);
	nop(&r, 5, 0);
	submit_for(&r, 5);
}

TEST(the_race_begins_with_the_request)
{
	struct ring r;

	start(&r);
	timeout(&r, &soon, 0, IORING_TIMEOUT_ETIME_SUCCESS, 1, LINK);
	poll_add(&r, fds[1], POLLOUT, 0, 2, LINK);
	link_timeout(&r, &never, 0, 3, 0);
	submit_for(&r, 3);
}

TEST(alone)
{
	struct ring r;

	start(&r);
	link_timeout(&r, &now, 0, 1, 0);
	submit(&r);
	link_timeout(&r, &now, 0, 1, LINK);
	nop(&r, 2, 0);
	submit(&r);
	nop(&r, 3, 0);
	link_timeout(&r, &now, 0, 4, 0);
	submit(&r);
}

TEST(two_in_a_row)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &never, 0, 2, LINK);
	link_timeout(&r, &never, 0, 3, 0);
	submit(&r);
}

TEST(fields_and_flags)
{
	struct ring r;

	start(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &never, 0, 2, 0)->off = 1;
	submit(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &never, 0, 3, 0)->len = 0;
	submit(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &never, IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME, 4, 0);
	submit(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &never, IORING_TIMEOUT_UPDATE, 5, 0);
	submit(&r);
	nop(&r, 1, LINK);
	link_timeout(&r, &never, IORING_TIMEOUT_ETIME_SUCCESS, 6, 0);
	submit(&r);
}

TEST(an_absolute_time)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &soon, IORING_TIMEOUT_ABS, 2, 0);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_for(&r, 2);
}

TEST(its_success_is_skipped)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &soon, 0, 2, SKIP);
	submit_for(&r, 1);
	EXPECT_EQ(ring_ready(&r), 0);
	nop(&r, 3, LINK);
	link_timeout(&r, &never, 0, 4, SKIP);
	submit(&r);
}

TEST(a_skipping_request)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 1, LINK | SKIP);
	link_timeout(&r, &never, 0, 2, 0);
	submit(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK | SKIP);
	link_timeout(&r, &soon, 0, 2, LINK);
	nop(&r, 3, 0);
	submit_for(&r, 2);
	nop(&r, 4, 0);
	submit(&r);
}

TEST(cannot_be_cancelled)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &never, 0, 2, 0);
	cancel(&r, 2, 0, 3);
	timeout_remove(&r, 2, 0, NULL, 4);
	submit(&r);
	cancel(&r, 1, 0, 5);
	submit(&r);
}

TEST(goes_with_its_request_when_that_is_cancelled)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &never, 0, 2, LINK);
	nop(&r, 3, 0);
	submit(&r);
	poll_remove(&r, 1, 0, 0, 0, 4);
	submit(&r);
}

TEST(update)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	link_timeout(&r, &never, 0, 2, 0);
	submit(&r);
	timeout_remove(&r, 2, IORING_TIMEOUT_UPDATE, &soon, 3);
	submit(&r);
	timeout_remove(&r, 2, IORING_LINK_TIMEOUT_UPDATE, &soon, 4);
	submit(&r);
	timeout_remove(&r, 2, IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE, &soon, 5);
	submit_for(&r, 3);
	timeout_remove(&r, 2, IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE, &soon, 6);
	submit(&r);
}

TEST(held_back_by_a_drain)
{
	struct ring r;

	start(&r);
	timeout(&r, &soon, 0, 0, 1, 0);
	poll_add(&r, fds[0], POLLIN, 0, 2, LINK | DRAIN);
	link_timeout(&r, &soon, 0, 3, 0);
	submit_for(&r, 3);
}

TEST(of_a_multishot_poll)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[1], POLLOUT, IORING_POLL_ADD_MULTI, 1, LINK);
	link_timeout(&r, &soon, 0, 2, LINK);
	nop(&r, 3, 0);
	submit_for(&r, 4);
}

TEST(many_races)
{
	struct ring r;
	unsigned n = 200;

	make_pipe(fds);
	ring_init(&r, 512, 0);
	for (unsigned i = 0; i < n; i++) {
		poll_add(&r, fds[0], POLLIN, 0, 2 * i, LINK);
		link_timeout(&r, &soon, 0, 2 * i + 1, 0);
	}
	EXPECT_EQ(ring_submit(&r), 2 * n);
	for (unsigned i = 0; i < 2 * n; i++) {
		struct cqe cqe = ring_wait(&r);

		EXPECT_EQ(cqe.res, cqe.user_data & 1 ? -ETIME : -ECANCELED);
	}
}
