/* SPDX-License-Identifier: Apache-2.0 */
/* Time-outs of an hour, for `uringfs run --virtual-time`; and what has to come before them, in real time. */
#include "../conformance/harness.h"

#include <sys/timerfd.h>
#include <time.h>

struct ts64 {
	int64_t sec, nsec;
};

struct ext_arg {
	uint64_t sigmask;
	uint32_t sigmask_size, min_wait_usec;
	uint64_t ts;
};

static const struct ts64 hour = {3600, 0}, day = {86400, 0};
static const struct timespec a_while = {0, 300000000};
static int ends[2];
static char byte;

static void timeout(struct ring *r, int opcode, const struct ts64 *ts, unsigned flags, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	sqe->opcode = (__u8)opcode;
	sqe->fd = -1;
	sqe->addr = (uintptr_t)ts;
	sqe->len = 1;
	sqe->timeout_flags = flags;
	sqe->user_data = user_data;
}

static void read_of(struct ring *r, int fd, void *buf, unsigned len, unsigned flags)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	sqe->opcode = IORING_OP_READ;
	sqe->flags = (__u8)flags;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)buf;
	sqe->len = len;
	sqe->off = (uint64_t)-1;
	sqe->user_data = 1;
}

static int wait_for(struct ring *r, unsigned submit, unsigned n, const struct ext_arg *arg)
{
	return sys_enter(r->fd, submit, n, GETEVENTS | IORING_ENTER_EXT_ARG, arg, sizeof(*arg));
}

/* Submit what is queued, and note so many CQEs. */
static void note_all(struct ring *r, unsigned n)
{
	struct cqe cqe;

	EXPECT_GE(ring_submit_wait(r, n), 0);
	while (n--) {
		cqe = ring_wait(r);
		note("%llu: %d", (unsigned long long)cqe.user_data, cqe.res);
	}
}

static void start(struct ring *r)
{
	OK(pipe(ends));
	ring_init(r, 4, 0);
}

TEST(a_timeout)
{
	struct ring r;

	start(&r);
	timeout(&r, IORING_OP_TIMEOUT, &hour, 0, 1);
	note_all(&r, 1);
}

TEST(timeouts_in_their_order)
{
	struct ts64 two = {7200, 0}, three = {10800, 0};
	struct ring r;

	start(&r);
	timeout(&r, IORING_OP_TIMEOUT, &three, 0, 3);
	timeout(&r, IORING_OP_TIMEOUT, &hour, 0, 1);
	timeout(&r, IORING_OP_TIMEOUT, &two, 0, 2);
	note_all(&r, 3);
}

TEST(a_linked_timeout)
{
	struct ring r;

	start(&r);
	read_of(&r, ends[0], &byte, 1, IOSQE_IO_LINK);
	timeout(&r, IORING_OP_LINK_TIMEOUT, &hour, 0, 2);
	note_all(&r, 2);
}

TEST(a_wait)
{
	struct ext_arg arg = {.ts = (uintptr_t)&hour};
	struct ring r;

	start(&r);
	note("%d", wait_for(&r, 0, 1, &arg));
}

TEST(a_minimum_wait)
{
	struct ext_arg arg = {.min_wait_usec = 3600000000U, .ts = (uintptr_t)&day};
	struct ring r;

	start(&r);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	note("%d", wait_for(&r, 1, 2, &arg));
	note("%u", ring_ready(&r));
}

static void *until_told(void *unused)
{
	return (void *)(read(ends[0], &byte, 1) + (char *)unused);
}

TEST(other_threads_that_wait_hold_nothing_up)
{
	pthread_t thread;
	struct ring r;

	start(&r);
	EXPECT_EQ(pthread_create(&thread, NULL, until_told, NULL), 0);
	timeout(&r, IORING_OP_TIMEOUT, &hour, 0, 1);
	note_all(&r, 1);
	OK(write(ends[1], "x", 1));
	EXPECT_EQ(pthread_join(thread, NULL), 0);
}

/* ---- what the program will do yet ---- */

static void *later(void *busy)
{
	struct timespec now, end;

	if (busy) {
		OK(clock_gettime(CLOCK_MONOTONIC, &end));
		end.tv_sec++;
		do
			OK(clock_gettime(CLOCK_MONOTONIC, &now));
		while (now.tv_sec < end.tv_sec || now.tv_nsec < end.tv_nsec);
	} else
		OK(nanosleep(&a_while, NULL));
	OK(write(ends[1], "x", 1));
	return NULL;
}

static void before_the_timeout(void *busy)
{
	pthread_t thread;
	struct ring r;

	start(&r);
	EXPECT_EQ(pthread_create(&thread, NULL, later, busy), 0);
	read_of(&r, ends[0], &byte, 1, IOSQE_IO_LINK);
	timeout(&r, IORING_OP_LINK_TIMEOUT, &hour, 0, 2);
	note_all(&r, 2);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
}

TEST(a_thread_sleeps)
{
	before_the_timeout(NULL);
}
TEST(a_thread_computes)
{
	before_the_timeout(&byte);
}

TEST(a_child_sleeps)
{
	struct ring r;

	start(&r);
	if (OK(fork()) == 0) {
		later(NULL);
		_exit(0);
	}
	read_of(&r, ends[0], &byte, 1, IOSQE_IO_LINK);
	timeout(&r, IORING_OP_LINK_TIMEOUT, &hour, 0, 2);
	note_all(&r, 2);
}

TEST(a_timerfd)
{
	int fd = (int)OK(timerfd_create(CLOCK_MONOTONIC, 0));
	struct itimerspec spec = {{0, 0}, a_while};
	struct ring r;
	uint64_t n;

	start(&r);
	OK(timerfd_settime(fd, 0, &spec, NULL));
	read_of(&r, fd, &n, sizeof(n), IOSQE_IO_LINK);
	timeout(&r, IORING_OP_LINK_TIMEOUT, &hour, 0, 2);
	note_all(&r, 2);
}

/* A time that the program has read from its own clock, which has not jumped. */
TEST(an_absolute_timeout_behind_a_jump)
{
	pthread_t thread;
	struct timespec now;
	struct ts64 soon;
	struct ring r;

	start(&r);
	timeout(&r, IORING_OP_TIMEOUT, &hour, 0, 3);
	note_all(&r, 1);
	OK(clock_gettime(CLOCK_MONOTONIC, &now));
	soon = (struct ts64){now.tv_sec + 1800, now.tv_nsec};
	EXPECT_EQ(pthread_create(&thread, NULL, later, NULL), 0);
	read_of(&r, ends[0], &byte, 1, 0);
	timeout(&r, IORING_OP_TIMEOUT, &soon, IORING_TIMEOUT_ABS, 2);
	note_all(&r, 2);
	EXPECT_EQ(pthread_join(thread, NULL), 0);
}
