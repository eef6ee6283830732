/* SPDX-License-Identifier: Apache-2.0 */
/* Enters that wait in the client: until when, for whom, and what becomes of those that end early. */
#include "daemon.h"

#include <time.h>

static struct ring r;
static struct __kernel_timespec soon = {0, 1000000}, late = {1000, 0};
static struct lane_getevents_arg arg;

/* An enter for that many CQEs, with arg. */
static struct lane_call waits(uint32_t count, const struct __kernel_timespec *ts)
{
	struct lane_call c = {-1,    0,		  count, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
			      &arg,  sizeof(arg), 0,	 NULL,
			      0,     false,	  false, 0,
			      0,     0,		  NULL,	 0,
			      false, false};

	memset(&arg, 0, sizeof(arg));
	arg.ts = (uint64_t)(uintptr_t)ts;
	return c;
}

/* To its end, as lane_enter_asleep(). False: it is the daemon's. */
static bool wait_to_the_end(struct lane_call *c)
{
	while (!lane_enter_ring(&r.lane, c)) {
		if (!c->sleep_on)
			return false;
		lane_sleep_once(c);
		c->sleep_on = NULL;
	}
	return true;
}

static void nop(void)
{
	uint32_t taken;

	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK(ring_enter(&r, 1, &taken));
}

static void test_it_is_time(void)
{
	int64_t begin = lane_now();
	struct lane_call c = waits(1, &soon);

	CHECK(wait_to_the_end(&c));
	CHECK_EQ(c.error, -ETIME);
	CHECK(lane_now() - begin >= soon.tv_nsec);
}

static void test_no_time_at_all(void)
{
	const struct __kernel_timespec none = {0, 0};
	struct lane_call c = waits(1, &none);

	CHECK(lane_enter_ring(&r.lane, &c));
	CHECK_EQ(c.error, -ETIME);
}

/* io_cqring_wait(): with CQEs it is no error, be they too few. */
static void test_some_but_not_enough(int error)
{
	struct lane_call c = waits(2, error ? &late : &soon);

	nop();
	CHECK(!lane_enter_ring(&r.lane, &c) && c.sleep_on);
	c.error = error;
	CHECK(wait_to_the_end(&c));
	CHECK_EQ(c.error, 0);
	ring_reap(&r);
}

static void test_interrupted(void)
{
	struct lane_call c = waits(1, &late);

	CHECK(!lane_enter_ring(&r.lane, &c) && c.sleep_on);
	c.error = -EINTR;
	CHECK(wait_to_the_end(&c));
	CHECK_EQ(c.error, -EINTR);
}

static void *post_two(void *unused)
{
	while (!lane_load(&r.lane.page->sleepers))
		sched_yield();
	nop();
	nop();
	return unused;
}

/* io_cqring_wait() takes the head once: what is reaped behind that counts. */
static void test_another_posts_and_reaps(void)
{
	struct lane_call c = waits(2, &late);

	nop();
	CHECK(!lane_enter_ring(&r.lane, &c) && c.sleep_on);
	ring_reap(&r);
	c.sleep_on = NULL;
	CHECK(!lane_enter_ring(&r.lane, &c) && c.sleep_on);
	nop();
	ring_reap(&r);
	CHECK(lane_enter_ring(&r.lane, &c));
	CHECK_EQ(c.error, 0);
}

/* ... and, where the rest of the wait is the daemon's, too, if that knows how to be told. */
static void test_the_daemon_is_told(bool tails)
{
	struct lane_call c = waits(2, NULL);
	uint32_t tail = r.lane.page->posted;

	r.lane.tails = tails;
	nop();
	CHECK(!lane_enter_ring(&r.lane, &c) && !c.sleep_on);
	CHECK_EQ(c.tells, tails);
	CHECK_EQ(c.tail, tail + 2);
	ring_reap(&r);
}

/* Whoever posts wakes it, long before its time. */
static void test_another_posts(void)
{
	struct lane_call c = waits(2, &late);
	int64_t begin = lane_now();
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, post_two, NULL), 0);
	CHECK(wait_to_the_end(&c));
	CHECK_EQ(c.error, 0);
	CHECK_EQ(ring_ready(&r), 2);
	CHECK(lane_now() - begin < 900 * LANE_NSEC);
	pthread_join(thread, NULL);
	ring_reap(&r);
	ring_reap(&r);
}

/* The rest is the daemon's: for ever for what is not of workers, masks, minimum waits, absolute times, errors. */
static void test_the_daemons(void)
{
	static const struct __kernel_timespec odd[] = {{-1, 0}, {0, -1}, {0, 1000000000}, {INT64_MAX, 0}};
	uint64_t mask = 0;
	struct lane_call c = waits(1, NULL);

	CHECK(!wait_to_the_end(&c));
	for (unsigned i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		c = waits(1, &odd[i]);
		CHECK(!wait_to_the_end(&c));
	}
	c = waits(1, (const struct __kernel_timespec *)8);
	CHECK(!wait_to_the_end(&c));
	c = waits(1, &soon);
	arg.sigmask = (uint64_t)(uintptr_t)&mask;
	CHECK(!wait_to_the_end(&c));
	c = waits(1, &soon);
	arg.min_wait_usec = 1;
	CHECK(!wait_to_the_end(&c));
	c = waits(1, &soon);
	c.flags |= 1u << 5; /* IORING_ENTER_ABS_TIMER */
	CHECK(!wait_to_the_end(&c));
	c = waits(1, &soon);
	c.argsz--;
	CHECK(!wait_to_the_end(&c));
	c = waits(1, &soon);
	c.arg = NULL;
	CHECK(!wait_to_the_end(&c));
}

/* What pends in the daemon may end the wait otherwise. */
static void test_attention(void)
{
	static const uint32_t bits[] = {URINGFS_LANE_WORK, URINGFS_LANE_FETCH, URINGFS_LANE_BACKLOG, URINGFS_LANE_OFF};

	for (unsigned i = 0; i < sizeof(bits) / sizeof(*bits); i++) {
		struct lane_call c = waits(1, &soon);

		lane_store(&r.lane.page->attention, bits[i]);
		CHECK(!wait_to_the_end(&c));
	}
	lane_store(&r.lane.page->attention, 0);
}

/* What arg says is of no matter behind a submission that needs no wait; alone it is. */
static void test_an_argument_that_is_none(void)
{
	struct lane_call c = waits(1, (const struct __kernel_timespec *)8);

	ring_sqe(&r, IORING_OP_NOP, -1);
	c.to_submit = 1;
	CHECK(wait_to_the_end(&c));
	CHECK_EQ(c.taken, 1);
	c = waits(1, (const struct __kernel_timespec *)8);
	CHECK(!wait_to_the_end(&c));
	c = waits(1, &late);
	CHECK(wait_to_the_end(&c));
	CHECK_EQ(c.error, 0);
	ring_reap(&r);
}

int main(void)
{
	ring_make(&r, 8, 16, 0);
	r.host.kick = count_kick;
	test_it_is_time();
	test_no_time_at_all();
	test_some_but_not_enough(0);
	test_some_but_not_enough(-EINTR);
	test_interrupted();
	test_another_posts_and_reaps();
	test_the_daemon_is_told(false);
	test_the_daemon_is_told(true);
	test_another_posts();
	test_the_daemons();
	test_attention();
	test_an_argument_that_is_none();
	ring_free(&r);
	return 0;
}
