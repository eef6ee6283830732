/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_TIMEOUT: times, clocks, arguments, results. */
#include "events.h"

TEST(relative)
{
	struct ring r;
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	ring_init(&r, 4, 0);
	timeout(&r, &soon, 0, 0, 1, 0);
	submit_for(&r, 1);
	EXPECT_GE(clock_ns(CLOCK_MONOTONIC) - start, 2000000);
	EXPECT_LE(clock_ns(CLOCK_MONOTONIC) - start, 1000000000);
}

TEST(of_no_time_comes_behind_the_batch)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &now, 0, 0, 1, 0);
	nop(&r, 2, 0);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_for(&r, 2);
}

static void absolute(clockid_t clock, unsigned flags)
{
	struct __kernel_timespec ts;
	struct ring r;
	uint64_t when = clock_ns(clock) + 60000000;

	ts.tv_sec = (long long)(when / 1000000000);
	ts.tv_nsec = (long long)(when % 1000000000);
	ring_init(&r, 4, 0);
	timeout(&r, &ts, 0, IORING_TIMEOUT_ABS | flags, 1, 0);
	submit_for(&r, 1);
	EXPECT_GE(clock_ns(clock), when);
	ts.tv_sec -= 100;
	timeout(&r, &ts, 0, IORING_TIMEOUT_ABS | flags, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
}

TEST(absolute_monotonic)
{
	absolute(CLOCK_MONOTONIC, 0);
}

TEST(absolute_boottime)
{
	absolute(CLOCK_BOOTTIME, IORING_TIMEOUT_BOOTTIME);
}

TEST(absolute_realtime)
{
	absolute(CLOCK_REALTIME, IORING_TIMEOUT_REALTIME);
}

TEST(absolute_zero_is_long_ago)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &now, 0, IORING_TIMEOUT_ABS, 1, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
}

TEST(relative_on_the_other_clocks)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &soon, 0, IORING_TIMEOUT_BOOTTIME, 1, 0);
	timeout(&r, &soon, 0, IORING_TIMEOUT_REALTIME, 2, 0);
	EXPECT_EQ(ring_submit(&r), 2);
	wait_sorted(&r, 2);
}

TEST(shorter_ones_first)
{
	struct __kernel_timespec ts[4] = {{0, 200000000}, {0, 50000000}, {0, 150000000}, {0, 100000000}};
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 4; i++)
		timeout(&r, &ts[i], 0, 0, i, 0);
	submit_for(&r, 4);
}

TEST(the_timespec_is_copied_at_submission)
{
	struct __kernel_timespec ts = soon;
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &ts, 0, 0, 1, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	ts = never;
	wait_for(&r, 1);
}

TEST(the_largest_times)
{
	struct __kernel_timespec ts[3] = {{INT64_MAX, 0}, {INT64_MAX, INT64_MAX}, {0, INT64_MAX}};
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++)
		timeout(&r, &ts[i], 0, 0, i, 0);
	submit(&r);
	finish(&r, 3);
}

TEST(nanoseconds_beyond_a_second)
{
	struct __kernel_timespec ts = {0, 1001000000};
	struct ring r;
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	ring_init(&r, 4, 0);
	timeout(&r, &ts, 0, 0, 1, 0);
	submit(&r);
	wait_for(&r, 1);
	EXPECT_GE(clock_ns(CLOCK_MONOTONIC) - start, 1001000000);
}

TEST(negative_times)
{
	struct __kernel_timespec ts[2] = {{-1, 0}, {0, -1}};
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 2; i++) {
		timeout(&r, &ts[i], 0, 0, i, 0);
		submit(&r);
	}
}

TEST(unreadable_timespecs)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, NULL, 0, 0, 1, 0);
	submit(&r);
	timeout(&r, (void *)(map_then_hole(1) + PAGE - 8), 0, 0, 2, 0);
	submit(&r);
	timeout(&r, (void *)0xffff800000000000UL, 0, 0, 3, 0);
	submit(&r);
}

TEST(flags)
{
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned bit = 0; bit < 32; bit++) {
		if (bit == 7)
			continue; /* of kernels to come */
		timeout(&r, &now, 0, 1U << bit, bit, 0);
		if (bit == 6) { /* multishot: without end */
			r.sqes[r.array[(r.tail - 1) & (r.p.sq_entries - 1)]].addr = (uint64_t)(uintptr_t)&never;
			submit(&r);
			finish(&r, 1);
			continue;
		}
		EXPECT_EQ(ring_submit(&r), 1);
		wait_for(&r, 1);
	}
	timeout(&r, &now, 0, IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME, 32, 0);
	submit(&r);
	timeout(&r, &now, 0, IORING_TIMEOUT_MULTISHOT | IORING_TIMEOUT_ABS, 33, 0);
	submit(&r);
}

TEST(fields_that_must_be_zero)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &now, 0, 0, 1, 0)->buf_index = 1;
	submit(&r);
	timeout(&r, &now, 0, 0, 2, 0)->len = 0;
	submit(&r);
	timeout(&r, &now, 0, 0, 3, 0)->len = 2;
	submit(&r);
	timeout(&r, &now, 0, 0, 4, 0)->splice_fd_in = 1;
	submit(&r);
	timeout(&r, &now, 0, 0, 5, 0)->ioprio = 1;
	submit(&r);
	timeout(&r, &now, 0, 0, 6, IOSQE_BUFFER_SELECT);
	submit(&r);
}

TEST(a_file_is_of_no_concern)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &now, 0, 0, 1, 0)->fd = 12345;
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
	timeout(&r, &now, 0, 0, 2, IOSQE_FIXED_FILE);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
}

TEST(etime_is_a_failure)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &soon, 0, 0, 1, LINK);
	nop(&r, 2, 0);
	submit_for(&r, 2);
}

TEST(etime_as_success)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &soon, 0, IORING_TIMEOUT_ETIME_SUCCESS, 1, LINK);
	nop(&r, 2, 0);
	submit_for(&r, 2);
}

TEST(a_skipped_success)
{
	struct ring r;

	ring_init(&r, 4, 0);
	timeout(&r, &now, 0, IORING_TIMEOUT_ETIME_SUCCESS, 1, SKIP);
	timeout(&r, &soon, 0, 0, 2, SKIP);
	submit_for(&r, 1);
	EXPECT_EQ(ring_ready(&r), 0);
}
