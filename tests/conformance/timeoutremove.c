/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_TIMEOUT_REMOVE: removal and update. */
#include "events.h"

TEST(removal)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 0, 0, 1, 0);
	submit(&r);
	timeout_remove(&r, 1, 0, NULL, 2);
	submit(&r);
	timeout_remove(&r, 1, 0, NULL, 3);
	submit(&r);
}

TEST(remove_breaks_the_link)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 0, IORING_TIMEOUT_ETIME_SUCCESS, 1, LINK);
	nop(&r, 2, 0);
	timeout_remove(&r, 1, 0, NULL, 3);
	submit(&r);
	timeout(&r, &never, 0, 0, 1, HARD);
	nop(&r, 2, 0);
	timeout_remove(&r, 1, 0, NULL, 3);
	submit(&r);
}

TEST(remove_finds_counts_first)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 0, 0, 1, 0);
	timeout(&r, &never, 9, IORING_TIMEOUT_ETIME_SUCCESS, 1, 0);
	submit(&r);
	timeout_remove(&r, 1, 0, NULL, 2);
	timeout_remove(&r, 1, 0, NULL, 3);
	timeout_remove(&r, 1, 0, NULL, 4);
	submit(&r);
}

TEST(remove_finds_timeouts_alone)
{
	struct ring r;
	int fds[2];

	make_pipe(fds);
	ring_init(&r, 8, 0);
	poll_add(&r, fds[0], POLLIN, 0, 1, 0);
	timeout_remove(&r, 1, 0, NULL, 2);
	submit(&r);
	finish(&r, 1);
}

TEST(remove_takes_a_64_bit_user_data)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 0, 0, 0xfedcba9876543210ULL, 0);
	timeout_remove(&r, 0x76543210, 0, NULL, 1);
	timeout_remove(&r, 0xfedcba9876543210ULL, 0, NULL, 2);
	submit(&r);
}

TEST(remove_checks_its_fields)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout_remove(&r, 1, 0, NULL, 1)->len = 1;
	submit(&r);
	timeout_remove(&r, 1, 0, NULL, 2)->buf_index = 1;
	submit(&r);
	timeout_remove(&r, 1, 0, NULL, 3)->splice_fd_in = 1;
	submit(&r);
	timeout_remove(&r, 1, 0, NULL, 4)->flags = IOSQE_FIXED_FILE;
	submit(&r);
	for (unsigned bit = 0; bit < 32; bit++) {
		timeout_remove(&r, 1, 1U << bit, &never, 10 + bit);
		submit(&r);
	}
}

TEST(update_makes_it_sooner)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 0, 0, 1, 0);
	submit(&r);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE, &soon, 2);
	submit_for(&r, 2);
}

TEST(update_makes_it_later)
{
	struct __kernel_timespec a_while = {0, 80000000};
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &a_while, 0, 0, 1, 0);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE, &never, 2);
	submit(&r);
	timeout(&r, &a_while, 0, 0, 3, 0);
	submit_for(&r, 1);
	finish(&r, 1);
}

TEST(update_to_an_absolute_time)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 0, 0, 1, 0);
	submit(&r);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS, &soon, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
}

TEST(update_ends_the_counting)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout(&r, &never, 1, 0, 1, 0);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE, &never, 2);
	submit(&r);
	nop(&r, 3, 0);
	submit(&r);
	finish(&r, 1);
}

TEST(update_of_nothing)
{
	struct ring r;

	ring_init(&r, 8, 0);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE, &soon, 2);
	submit(&r);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE, &soon, 3);
	submit(&r);
}

TEST(update_checks_its_timespec)
{
	struct __kernel_timespec negative = {-1, 0};
	struct ring r;

	ring_init(&r, 8, 0);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE, NULL, 1);
	submit(&r);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE, &negative, 2);
	submit(&r);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_BOOTTIME, &soon, 3);
	submit(&r);
	timeout_remove(&r, 1, IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ETIME_SUCCESS, &soon, 4);
	submit(&r);
}
