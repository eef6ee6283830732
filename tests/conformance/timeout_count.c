/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_TIMEOUT: counts of completions, multishot, many. */
#include "events.h"

TEST(a_number_of_completions)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 3, 0, 1, 0);
	nop(&r, 2, 0);
	nop(&r, 3, 0);
	submit(&r);
	nop(&r, 4, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
}

TEST(a_batch_counts_although_it_came_before)
{
	struct ring r;

	ring_init(&r, 8, 0);
	nop(&r, 1, 0);
	timeout(&r, &never, 1, 0, 2, 0);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_for(&r, 2);
	nop(&r, 3, 0);
	submit(&r);
	timeout(&r, &never, 1, 0, 4, 0);
	submit(&r);
	finish(&r, 1);
}

TEST(counts_in_any_order)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 3, 0, 13, 0);
	timeout(&r, &never, 1, 0, 11, 0);
	timeout(&r, &never, 2, 0, 12, 0);
	timeout(&r, &never, 1, 0, 21, 0);
	submit(&r);
	nop(&r, 1, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 3);
	note("%u more", ring_ready(&r));
	for (unsigned i = 2; i < 6; i++) {
		nop(&r, i, 0);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	wait_sorted(&r, 6);
}

TEST(timeouts_that_run_out_do_not_count)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 2, 0, 1, 0);
	timeout(&r, &soon, 0, 0, 2, 0);
	submit_for(&r, 1);
	nop(&r, 3, 0);
	submit(&r);
	nop(&r, 4, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
}

/* Each expiry ends a wait for 8. A multishot timeout may have run out again before the CQ is looked at. */
TEST(ends_a_wait_for_more)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &soon, 0, 0, 1, 0);
	timeout(&r, &never, 1, 0, 2, 0);
	nop(&r, 3, LINK);
	timeout(&r, &never, 0, 0, 4, 0);
	submit_for(&r, 2);
	EXPECT_EQ(enter(r.fd, 0, 8, GETEVENTS), 0);
	note("%u", ring_ready(&r));
	timeout(&r, &soon, 0, IORING_TIMEOUT_MULTISHOT, 5, 0);
	EXPECT_EQ(ring_submit_wait(&r, 8), 1);
	EXPECT_GE(ring_ready(&r), 2);
	EXPECT_EQ(enter(r.fd, 0, 8, GETEVENTS), 0);
	EXPECT_GE(ring_ready(&r), 3);
	EXPECT(ring_ready(&r) < 8);
}

TEST(a_link_timeout_ends_no_wait)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], EPOLLIN, 0, 1, LINK);
	link_timeout(&r, &soon, 0, 2, 0);
	EXPECT_EQ(ring_submit_wait(&r, 2), 2);
	EXPECT_EQ(ring_ready(&r), 2);
}

TEST(a_count_that_runs_out)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &soon, 2, 0, 1, 0);
	nop(&r, 2, 0);
	submit_for(&r, 2);
	nop(&r, 3, 0);
	nop(&r, 4, 0);
	submit(&r);
}

TEST(skipped_completions_do_not_count)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 1, 0, 1, 0);
	nop(&r, 2, SKIP);
	nop(&r, 3, SKIP);
	submit(&r);
	EXPECT_EQ(ring_ready(&r), 0);
	finish(&r, 1);
}

TEST(a_count_is_no_failure)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 1, 0, 1, LINK);
	nop(&r, 2, 0);
	submit(&r);
	nop(&r, 3, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 3);
}

TEST(the_count_is_32_bits)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &soon, 0, 0, 1, 0)->off = 1ULL << 32;
	nop(&r, 2, 0);
	submit_for(&r, 2);
}

TEST(multishot_of_three)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &soon, 3, IORING_TIMEOUT_MULTISHOT, 1, 0);
	submit_for(&r, 3);
	cancel(&r, 1, 0, 2);
	submit(&r);
}

TEST(multishot_until_cancelled)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &soon, 0, IORING_TIMEOUT_MULTISHOT | IORING_TIMEOUT_ETIME_SUCCESS, 1, 0);
	submit_for(&r, 2);
	timeout_remove(&r, 1, 0, NULL, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	for (;;) { /* one more may have been quicker */
		struct cqe cqe = ring_wait(&r);

		if (cqe.user_data == 1 && (cqe.flags & IORING_CQE_F_MORE))
			continue;
		note_cqe(cqe);
		if (cqe.user_data == 1)
			break;
	}
}

TEST(multishot_counts_no_completions)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 1, IORING_TIMEOUT_MULTISHOT, 1, 0);
	nop(&r, 2, 0);
	nop(&r, 3, 0);
	submit(&r);
	finish(&r, 1);
}

TEST(multishot_ends_with_a_full_cq)
{
	struct io_uring_params p;
	struct ring r;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE;
	p.cq_entries = 2;
	ring_init_params(&r, 2, &p);
	timeout(&r, &soon, 0, IORING_TIMEOUT_MULTISHOT, 1, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	while (!(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW))
		;
	wait_for(&r, 3);
}

TEST(a_thousand_pending)
{
	struct ring r;
	unsigned n = 1000;

	ring_init(&r, 1024, 0);
	for (unsigned i = 0; i < n; i++)
		timeout(&r, &never, 0, 0, i, 0);
	EXPECT_EQ(ring_submit(&r), n);
	EXPECT_EQ(ring_ready(&r), 0);
	timeout(&r, &soon, 0, 0, n, 0);
	submit_for(&r, 1);
	cancel(&r, 0, IORING_ASYNC_CANCEL_ANY, n + 1);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(ring_wait(&r).res, -ECANCELED);
}
