/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD of epoll instances: events that are over before anyone looks, and those of rings, of which a
 * multishot ends (EPOLL_URING_WAKE). */
#include "polladd.h"

static int ep;

static void make_epoll(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	ep = (int)OK(epoll_create1(EPOLL_CLOEXEC));
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
}

/* An event that is over when the call that could tell of it begins. */
static void blink(void)
{
	struct epoll_event event;

	put(fds[1]);
	take(fds[0]);
	EXPECT_EQ(epoll_wait(ep, &event, 1, 0), 0);
}

TEST(an_event_that_is_over)
{
	struct ring r;

	start(&r);
	make_epoll(fds[0]);
	for (unsigned i = 0; i < 20; i++) {
		poll_add(&r, ep, POLLIN, 0, i, 0);
		submit(&r);
		blink();
		wait_for(&r, 1);
	}
	finish(&r, 0);
}

TEST(events_of_a_multishot_that_are_over)
{
	struct ring r;

	start(&r);
	make_epoll(fds[0]);
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 5; i++) {
		blink();
		wait_for(&r, 1);
	}
	finish(&r, 1);
}

TEST(a_completion_of_the_ring_ends_a_multishot)
{
	struct ring r;

	start(&r);
	make_epoll(r.fd);
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	nop(&r, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
	nop(&r, 3, 0);
	submit_for(&r, 1);
	finish(&r, 0);
}

TEST(a_completion_of_the_ring_that_is_taken_at_once)
{
	struct ring r;
	struct cqe cqe;

	start(&r);
	make_epoll(r.fd);
	poll_add(&r, ep, POLLIN, 0, 1, 0);
	submit(&r);
	nop(&r, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	EXPECT(ring_reap(&r, &cqe));
	note_cqe(cqe);
	wait_for(&r, 1);
	finish(&r, 0);
}

TEST(a_completion_of_another_ring_ends_a_multishot)
{
	struct ring r, s;

	start(&r);
	ring_init(&s, 8, 0);
	make_epoll(s.fd);
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	nop(&s, 2, 0);
	EXPECT_EQ(ring_submit(&s), 1);
	wait_for(&r, 1);
	finish(&r, 0);
}

TEST(another_file_beside_a_ring_ends_none)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring r, s;

	start(&r);
	ring_init(&s, 8, 0);
	make_epoll(s.fd);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event));
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 3; i++) {
		blink();
		wait_for(&r, 1);
	}
	nop(&s, 2, 0);
	EXPECT_EQ(ring_submit(&s), 1);
	wait_for(&r, 1);
	put(fds[1]);
	take(fds[0]);
	finish(&r, 0);
}

/* The CQE of the first event is a completion of the ring. */
TEST(a_multishot_feeds_itself_once)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring r;

	start(&r);
	make_epoll(r.fd);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event));
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 2);
	take(fds[0]);
	finish(&r, 0);
}
