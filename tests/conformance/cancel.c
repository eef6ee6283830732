/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_ASYNC_CANCEL by user_data, and of all. */
#include "cancel.h"

TEST(nothing)
{
	struct ring r;

	start(&r);
	cancel(&r, 1, 0, 1);
	cancel(&r, 1, ALL, 2);
	cancel(&r, 1, ANY, 3);
	cancel(&r, 1, ALL | ANY, 4);
	cancel(&r, 1, USERDATA, 5);
	cancel(&r, 1, OP, 6);
	cancel(&r, 1, OP | ALL, 7);
	cancel_fd(&r, fds[0], 0, 8);
	cancel_fd(&r, fds[0], ALL, 9);
	submit(&r);
}

TEST(a_poll)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	submit(&r);
	cancel(&r, 1, 0, 2);
	submit(&r);
	cancel(&r, 1, 0, 3);
	submit(&r);
}

TEST(a_read)
{
	struct ring r;

	start(&r);
	ring_readv(&r, fds[0], &iov, 1, 0, 1);
	submit(&r);
	cancel(&r, 1, 0, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	note("not eaten: %zd", read(fds[0], buf, 8));
}

TEST(a_timeout)
{
	struct ring r;

	start(&r);
	timeout(&r, &never, 0, 0, 1, 0);
	cancel(&r, 1, 0, 2);
	submit(&r);
}

TEST(not_itself)
{
	struct ring r;

	start(&r);
	cancel(&r, 7, 0, 7);
	cancel(&r, 7, ALL, 7);
	submit(&r);
}

TEST(not_what_is_complete)
{
	struct ring r;

	start(&r);
	nop(&r, 1, 0);
	cancel(&r, 1, 0, 2);
	submit(&r);
}

TEST(not_what_is_linked_behind)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	poll_one(&r, other[0], 2);
	cancel(&r, 2, 0, 3);
	submit(&r);
	cancel(&r, 1, 0, 4);
	submit(&r);
}

TEST(not_what_a_drain_holds_back)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	poll_add(&r, other[0], POLLIN, 0, 2, DRAIN);
	submit(&r);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	wait_for(&r, 1);
	cancel(&r, 2, 0, 3);
	submit(&r);
}

TEST(one_of_the_same_user_data)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	poll_one(&r, other[0], 1);
	submit(&r);
	cancel(&r, 1, 0, 2);
	submit(&r);
	EXPECT_EQ(write(fds[1], "x", 1), 1);
	wait_for(&r, 1);
}

TEST(polls_before_timeouts)
{
	struct ring r;

	start(&r);
	timeout(&r, &never, 0, 0, 1, LINK);
	nop(&r, 10, 0);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	nop(&r, 11, 0);
	submit(&r);
	cancel(&r, 1, 0, 2);
	submit(&r);
	cancel(&r, 1, 0, 2);
	submit(&r);
}

TEST(a_cancelled_poll_is_found_until_it_is_complete)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	cancel(&r, 1, 0, 2);
	cancel(&r, 1, 0, 3);
	cancel(&r, 0, ANY, 4);
	submit(&r);
	cancel(&r, 1, 0, 5);
	submit(&r);
}

TEST(a_cancelled_timeout_is_not)
{
	struct ring r;

	start(&r);
	timeout(&r, &never, 0, 0, 1, 0);
	cancel(&r, 1, 0, 2);
	cancel(&r, 1, 0, 3);
	cancel(&r, 0, ANY, 4);
	submit(&r);
}

TEST(all_of_the_same_user_data)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	poll_one(&r, other[0], 1);
	poll_one(&r, other[0], 2);
	timeout(&r, &never, 0, 0, 1, 0);
	ring_readv(&r, fds[0], &iov, 1, 0, 1);
	submit(&r);
	cancel(&r, 1, ALL, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 5);
	finish(&r, 1);
}

TEST(any)
{
	struct ring r;

	start(&r);
	poll_one(&r, fds[0], 1);
	poll_one(&r, other[0], 2);
	timeout(&r, &never, 0, 0, 3, 0);
	timeout(&r, &never, 9, 0, 4, 0);
	ring_readv(&r, fds[0], &iov, 1, 0, 5);
	submit(&r);
	cancel(&r, 77, ANY, 6);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 6);
}

TEST(flags)
{
	struct ring r;

	start(&r);
	for (unsigned bit = 0; bit < 32; bit++) {
		cancel(&r, 1, 1U << bit, bit)->fd = fds[0];
		submit(&r);
	}
	cancel(&r, 1, ANY | FD, 32)->fd = fds[0];
	submit(&r);
	cancel(&r, 1, ANY | OP, 33);
	submit(&r);
	cancel(&r, 1, ANY | USERDATA, 34);
	submit(&r);
	cancel(&r, 1, FIXED | ALL, 35);
	submit(&r);
}

TEST(fields_that_must_be_zero)
{
	struct ring r;

	start(&r);
	cancel(&r, 1, 0, 1)->off = 1;
	submit(&r);
	cancel(&r, 1, 0, 2)->splice_fd_in = 1;
	submit(&r);
	cancel(&r, 1, 0, 3)->ioprio = 1;
	submit(&r);
	cancel(&r, 1, 0, 4)->flags = IOSQE_BUFFER_SELECT;
	submit(&r);
	cancel(&r, 1, 0, 5)->buf_index = 1;
	submit(&r);
	cancel(&r, 1, 0, 6)->len = 999;
	submit(&r);
}

TEST(a_failed_cancel_breaks_its_chain)
{
	struct ring r;

	start(&r);
	cancel(&r, 1, 0, 1)->flags = LINK;
	nop(&r, 2, 0);
	cancel(&r, 1, ALL, 3)->flags = LINK;
	nop(&r, 4, 0);
	submit(&r);
}

TEST(what_is_linked_behind_is_cancelled_too)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	nop(&r, 2, LINK);
	nop(&r, 3, 0);
	submit(&r);
	cancel(&r, 1, 0, 4);
	submit(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, HARD);
	nop(&r, 2, 0);
	submit(&r);
	cancel(&r, 1, 0, 4);
	submit(&r);
}

TEST(a_skipping_request_shows_it)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, SKIP);
	submit(&r);
	cancel(&r, 1, 0, 2)->flags = SKIP;
	submit(&r);
}

TEST(of_another_ring_finds_nothing)
{
	struct ring r, s;

	start(&r);
	ring_init(&s, 8, 0);
	poll_one(&r, fds[0], 1);
	submit(&r);
	cancel(&s, 1, 0, 2);
	cancel(&s, 1, ANY, 3);
	submit(&s);
	finish(&r, 1);
}

TEST(a_thousand)
{
	struct ring r;
	unsigned n = 1000;

	make_pipe(fds);
	ring_init(&r, 1024, 0);
	for (unsigned i = 0; i < n; i++)
		poll_one(&r, fds[0], i);
	EXPECT_EQ(ring_submit(&r), n);
	for (unsigned i = 0; i < n; i++)
		cancel(&r, i, 0, n + i);
	EXPECT_EQ(ring_submit(&r), n);
	for (unsigned i = 0; i < 2 * n; i++) {
		struct cqe cqe = ring_wait(&r);

		EXPECT_EQ(cqe.res, cqe.user_data < n ? -ECANCELED : 0);
	}
	EXPECT_EQ(ring_ready(&r), 0);
}
