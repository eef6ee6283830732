/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD with IORING_POLL_ADD_MULTI of what asks others when it is polled: terminals, epoll instances. */
#include "polladd.h"

#include <pty.h>

static int master, slave, ep;

static void start_terminal(struct ring *r)
{
	struct termios raw;

	OK(openpty(&master, &slave, NULL, NULL, NULL));
	OK(tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	OK(tcsetattr(slave, TCSANOW, &raw));
	ring_init(r, 16, 0);
}

static void start_epoll(struct ring *r)
{
	struct epoll_event event = {.events = EPOLLIN};

	start(r);
	ep = (int)OK(epoll_create1(EPOLL_CLOEXEC));
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &event));
}

static void drain(void)
{
	struct epoll_event event;

	take(fds[0]);
	EXPECT_EQ(epoll_wait(ep, &event, 1, 0), 0);
}

TEST(multishot_of_a_terminal)
{
	struct ring r;

	start_terminal(&r);
	poll_add(&r, slave, POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 5; i++) {
		put(master);
		wait_for(&r, 1);
		take(slave);
	}
	finish(&r, 1);
}

TEST(multishot_of_the_other_side_of_a_terminal)
{
	struct ring r;

	start_terminal(&r);
	poll_add(&r, master, POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 5; i++) {
		put(slave);
		wait_for(&r, 1);
		take(master);
	}
	close(slave);
	wait_for(&r, 1);
	finish(&r, 1);
}

TEST(multishot_of_a_terminal_with_data)
{
	struct ring r;

	start_terminal(&r);
	put(master);
	poll_add(&r, slave, POLLIN, MULTI, 1, 0);
	submit_for(&r, 1);
	put(master);
	wait_for(&r, 1);
	finish(&r, 1);
}

TEST(multishot_of_an_epoll_instance)
{
	struct ring r;

	start_epoll(&r);
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 5; i++) {
		put(fds[1]);
		wait_for(&r, 1);
		drain();
	}
	finish(&r, 1);
}

TEST(multishot_of_an_epoll_instance_that_is_ready)
{
	struct ring r;

	start_epoll(&r);
	put(fds[1]);
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit_for(&r, 1);
	drain();
	put(fds[1]);
	wait_for(&r, 1);
	finish(&r, 1);
}

TEST(multishot_of_an_epoll_instance_tells_of_each_event)
{
	struct ring r;

	start_epoll(&r);
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 5; i++) {
		put(fds[1]);
		wait_for(&r, 1);
	}
	finish(&r, 1);
}

TEST(multishot_of_an_epoll_instance_is_removed)
{
	struct ring r;

	start_epoll(&r);
	poll_add(&r, ep, POLLIN, MULTI, 1, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	poll_remove(&r, 1, 0, 0, 0, 2);
	submit_for(&r, 2);
	put(fds[1]);
	nop(&r, 3, 0);
	submit_for(&r, 1);
	finish(&r, 0);
}

TEST(nested_epoll_instances)
{
	struct epoll_event event = {.events = EPOLLIN};
	int outer = (int)OK(epoll_create1(EPOLL_CLOEXEC));
	struct ring r;

	start_epoll(&r);
	OK(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &event));
	poll_add(&r, outer, POLLIN, MULTI, 1, 0);
	submit(&r);
	for (unsigned i = 0; i < 5; i++) {
		put(fds[1]);
		wait_for(&r, 1);
		drain();
		EXPECT_EQ(epoll_wait(outer, &event, 1, 0), 0);
	}
	finish(&r, 1);
}

TEST(multishot_of_a_device_without_events)
{
	int null = (int)OK(open("/dev/null", O_RDWR | O_CLOEXEC));
	struct ring r;

	start(&r);
	poll_add(&r, null, POLLIN, MULTI, 1, 0);
	submit(&r);
	poll_add(&r, null, POLLIN, 0, 2, 0);
	submit_for(&r, 1);
	finish(&r, 0);
}
