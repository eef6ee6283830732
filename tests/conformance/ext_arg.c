/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_ENTER_EXT_ARG: a wait with a timeout. */
#include "harness.h"

#include <time.h>

#define EXT (GETEVENTS | IORING_ENTER_EXT_ARG)

struct ext_arg {
	uint64_t sigmask;
	uint32_t sigmask_size, min_wait_usec;
	uint64_t ts;
};

struct ts64 {
	int64_t sec, nsec;
};

static volatile sig_atomic_t caught;

static void count(int sig)
{
	(void)sig;
	caught++;
}

static int wait_for(struct ring *r, unsigned n, const struct ts64 *ts)
{
	struct ext_arg arg = {.ts = (uint64_t)(uintptr_t)ts};

	return sys_enter(r->fd, 0, n, EXT, &arg, sizeof(arg));
}

TEST(a_timeout_is_etime)
{
	struct ts64 ts = {0, 20000000};
	struct timespec a, b;
	struct ring r;

	ring_init(&r, 4, 0);
	OK(clock_gettime(CLOCK_MONOTONIC, &a));
	EXPECT_EQ(wait_for(&r, 1, &ts), -ETIME);
	OK(clock_gettime(CLOCK_MONOTONIC, &b));
	EXPECT_GE((b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec, 20000000);
}

TEST(a_timeout_of_nothing)
{
	struct ts64 ts = {0, 0};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(wait_for(&r, 1, &ts), -ETIME);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT_EQ(wait_for(&r, 1, &ts), 0);
}

TEST(some_but_not_enough_at_the_timeout)
{
	struct ts64 ts = {0, 20000000};
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	note("%d", wait_for(&r, 2, &ts));
}

TEST(a_long_timeout_ends_with_the_completion)
{
	struct ts64 ts = {1000, 0};
	struct ext_arg arg = {.ts = (uint64_t)(uintptr_t)&ts};
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(sys_enter(r.fd, 1, 1, EXT, &arg, sizeof(arg)), 1);
}

TEST(without_a_timespec_there_is_no_timeout)
{
	struct ext_arg arg = {0};
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(sys_enter(r.fd, 1, 1, EXT, &arg, sizeof(arg)), 1);
}

TEST(bad_sizes_and_pointers)
{
	struct ext_arg arg = {.ts = 8};
	struct ring r;

	ring_init(&r, 4, 0);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, EXT, &arg, 8), -EINVAL);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, EXT, &arg, sizeof(arg) + 8), -EINVAL);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, EXT, &arg, sizeof(arg)), -EFAULT);
}

TEST(bad_timespecs)
{
	struct ts64 bad[3] = {{0, -1}, {0, 1000000000}, {-1, 0}};
	struct ring r;

	ring_init(&r, 4, 0);
	for (int i = 0; i < 3; i++)
		note("%d", wait_for(&r, 1, &bad[i]));
}

TEST(a_sigmask_inside)
{
	struct ts64 ts = {1000, 0};
	sigset_t set, none;
	struct ext_arg arg = {.ts = (uint64_t)(uintptr_t)&ts, .sigmask = (uint64_t)(uintptr_t)&none, .sigmask_size = 8};
	struct ring r;

	on_signal(SIGUSR1, count, 0);
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ring_init(&r, 4, 0);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	EXPECT_EQ(raise(SIGUSR1), 0);
	EXPECT_EQ(sys_enter(r.fd, 0, 1, EXT, &arg, sizeof(arg)), -EINTR);
	EXPECT_EQ(caught, 1);
	arg.sigmask_size = 4;
	EXPECT_EQ(sys_enter(r.fd, 0, 1, EXT, &arg, sizeof(arg)), -EINVAL);
}

TEST(a_timeout_keeps_the_submission)
{
	struct ts64 ts = {0, 10000000};
	struct ext_arg arg = {.ts = (uint64_t)(uintptr_t)&ts};
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(sys_enter(r.fd, 1, 2, EXT, &arg, sizeof(arg)), 1);
	EXPECT_EQ(ring_ready(&r), 1);
}
