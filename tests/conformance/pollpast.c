/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD: events that are over before anyone looks, and in which order they count. */
#include "polladd.h"

#define DEFER (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER)

/* An event that is over when the call that could tell of it begins. */
static void blink(int to, int from)
{
	put(to);
	take(from);
}

static void blink_eventfd(int fd)
{
	uint64_t value = 1;

	EXPECT_EQ(write(fd, &value, sizeof(value)), sizeof(value));
	EXPECT_EQ(read(fd, &value, sizeof(value)), sizeof(value));
}

TEST(an_event_of_a_pipe_that_is_over)
{
	struct ring r;

	start(&r);
	for (unsigned i = 0; i < 50; i++) {
		poll_add(&r, fds[0], POLLIN, 0, i, 0);
		submit(&r);
		blink(fds[1], fds[0]);
		wait_for(&r, 1);
	}
	finish(&r, 0);
}

TEST(an_event_of_a_socket_that_is_over)
{
	struct ring r;

	start(&r);
	for (unsigned i = 0; i < 50; i++) {
		poll_add(&r, sockets[0], POLLIN, 0, i, 0);
		submit(&r);
		blink(sockets[1], sockets[0]);
		wait_for(&r, 1);
	}
	finish(&r, 0);
}

TEST(an_event_of_an_eventfd_that_is_over)
{
	int event = (int)OK(eventfd(0, EFD_CLOEXEC));
	struct ring r;

	start(&r);
	for (unsigned i = 0; i < 50; i++) {
		poll_add(&r, event, POLLIN, 0, i, 0);
		submit(&r);
		blink_eventfd(event);
		wait_for(&r, 1);
	}
	finish(&r, 0);
}

TEST(events_of_a_multishot_that_are_over)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	poll_add(&r, sockets[0], POLLIN, MULTI, 2, 0);
	submit(&r);
	for (unsigned i = 0; i < 20; i++) {
		blink(fds[1], fds[0]);
		wait_for(&r, 1);
		blink(sockets[1], sockets[0]);
		wait_for(&r, 1);
	}
	finish(&r, 2);
}

TEST(events_of_a_multishot_that_stay_and_that_are_over)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 20; i++) {
		put(fds[1]);
		wait_for(&r, 1);
		take(fds[0]);
		nop(&r, 2, 0);
		submit_for(&r, 1);
		blink(fds[1], fds[0]);
		wait_for(&r, 1);
	}
	finish(&r, 1);
}

TEST(an_event_that_is_over_ends_a_link)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	nop(&r, 2, 0);
	submit(&r);
	blink(fds[1], fds[0]);
	wait_for(&r, 2);
	finish(&r, 0);
}

TEST(an_event_that_is_over_comes_before_its_removal)
{
	struct ring r;

	start(&r);
	for (unsigned i = 0; i < 20; i++) {
		poll_add(&r, fds[0], POLLIN, 0, 1, 0);
		submit(&r);
		blink(fds[1], fds[0]);
		poll_remove(&r, 1, 0, 0, 0, 2);
		submit_for(&r, 2);
		poll_add(&r, fds[0], POLLIN, 0, 1, 0);
		submit(&r);
		blink(fds[1], fds[0]);
		cancel(&r, 1, 0, 2);
		submit_for(&r, 2);
	}
	finish(&r, 0);
}

TEST(an_event_that_is_over_on_a_deferring_ring)
{
	struct ring r;

	start(&r);
	ring_close(&r);
	ring_init(&r, 16, DEFER);
	for (unsigned i = 0; i < 20; i++) {
		poll_add(&r, fds[0], POLLIN, 0, i, 0);
		submit(&r);
		blink(fds[1], fds[0]);
		blink(fds[1], fds[0]);
		wait_for(&r, 1);
	}
	finish(&r, 0);
}

TEST(two_events_of_a_multishot_are_two)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned n = 1; n <= 2; n++) {
			put(fds[1]);
			while (ring_ready(&r) < n)
				; /* what one enter finds may be one, there */
		}
		wait_for(&r, 2);
	}
	finish(&r, 1);
}

TEST(two_events_of_a_multishot_are_one_on_a_deferring_ring)
{
	struct ring r;

	start(&r);
	ring_close(&r);
	ring_init(&r, 16, DEFER);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 20; i++) {
		put(fds[1]);
		put(fds[1]);
		wait_for(&r, 1);
		take(fds[0]);
		take(fds[0]);
	}
	finish(&r, 1);
}

TEST(events_in_their_order)
{
	int other[2];
	struct ring r;

	start(&r);
	make_pipe(other);
	for (unsigned i = 0; i < 20; i++) {
		poll_add(&r, fds[0], POLLIN, 0, 1, 0);
		poll_add(&r, fds[0], POLLIN, 0, 2, 0);
		poll_add(&r, other[0], POLLIN, 0, 3, 0);
		poll_add(&r, other[0], POLLIN, 0, 4, 0);
		submit(&r);
		blink(other[1], other[0]);
		blink(fds[1], fds[0]);
		wait_for(&r, 4);
	}
	finish(&r, 0);
}

TEST(the_events_are_those_of_the_wake_up)
{
	struct ring r;

	start(&r);
	poll_add(&r, sockets[0], POLLIN | POLLPRI | POLLRDBAND, 0, 1, 0);
	submit(&r);
	put(sockets[1]);
	wait_for(&r, 1);
	take(sockets[0]);
	poll_add(&r, sockets[0], POLLIN | POLLPRI, MULTI, 2, 0);
	submit(&r);
	blink(sockets[1], sockets[0]);
	wait_for(&r, 1);
	finish(&r, 1);
}
