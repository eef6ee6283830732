/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD: each kind of file, and when it is ready. */
#include "polladd.h"

TEST(ready_at_once)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 1, 0);
	poll_add(&r, fds[1], POLLOUT | POLLWRNORM, 0, 2, 0);
	put(fds[1]);
	poll_add(&r, fds[0], POLLIN, 0, 3, 0);
	poll_add(&r, fds[0], POLLIN | POLLRDNORM | POLLOUT, 0, 4, 0);
	submit(&r);
}

TEST(ready_later)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	put(fds[1]);
	nop(&r, 2, 0);
	submit(&r);
}

TEST(room_later)
{
	struct ring r;
	char data[65536];

	start(&r);
	fill(fds[1]);
	poll_add(&r, fds[1], POLLOUT, 0, 1, 0);
	submit(&r);
	EXPECT_EQ(read(fds[0], data, sizeof(data)), sizeof(data));
	wait_for(&r, 1);
}

TEST(each_mask_of_a_pipe_with_data)
{
	struct ring r;

	start(&r);
	put(fds[1]);
	for (unsigned bit = 0; bit < 16; bit++) {
		poll_add(&r, fds[0], 1U << bit, 0, bit, 0);
		submit(&r);
		if (bit != 0 && bit != 6)
			finish(&r, 1);
	}
}

TEST(each_mask_of_a_socket)
{
	struct ring r;

	start(&r);
	put(sockets[1]);
	for (unsigned bit = 0; bit < 16; bit++) {
		unsigned ready = 1U << bit & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLWRBAND);

		poll_add(&r, sockets[0], 1U << bit, 0, bit, 0);
		submit(&r);
		if (!ready)
			finish(&r, 1);
	}
}

TEST(the_high_half_of_the_events)
{
	struct ring r;

	start(&r);
	for (unsigned bit = 16; bit < 32; bit++) {
		poll_add(&r, fds[1], POLLOUT | 1U << bit, 0, bit, 0);
		submit(&r);
		poll_add(&r, fds[1], POLLOUT | 1U << bit, MULTI, 100 + bit, 0);
		submit(&r);
		if (bit != 30)
			finish(&r, 1);
	}
}

TEST(errors_and_hang_ups_are_always_told)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], 0, 0, 1, 0);
	poll_add(&r, sockets[0], 0, 0, 2, 0);
	submit(&r);
	close(fds[1]);
	wait_for(&r, 1);
	close(sockets[1]);
	wait_for(&r, 1);
	poll_add(&r, fds[0], POLLIN, 0, 3, 0);
	poll_add(&r, sockets[0], POLLIN | POLLOUT, 0, 4, 0);
	submit(&r);
}

TEST(the_reader_goes)
{
	struct ring r;

	start(&r);
	fill(fds[1]);
	poll_add(&r, fds[1], 0, 0, 1, 0);
	submit(&r);
	close(fds[0]);
	wait_for(&r, 1);
}

TEST(half_closed)
{
	struct ring r;

	start(&r);
	poll_add(&r, sockets[0], 0, 0, 1, 0);
	submit(&r);
	OK(shutdown(sockets[1], SHUT_WR));
	wait_for(&r, 1);
	poll_add(&r, sockets[0], POLLIN | POLLRDHUP, 0, 2, 0);
	submit(&r);
}

TEST(an_eventfd)
{
	struct ring r;
	int fd = (int)OK(eventfd(0, EFD_CLOEXEC));

	ring_init(&r, 4, 0);
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	poll_add(&r, fd, POLLOUT, 0, 2, 0);
	submit(&r);
	OK(eventfd_write(fd, 1));
	wait_for(&r, 1);
}

TEST(a_timerfd)
{
	struct itimerspec in = {{0, 0}, {0, 1000000}};
	struct ring r;
	int fd = (int)OK(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));

	ring_init(&r, 4, 0);
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
	OK(timerfd_settime(fd, 0, &in, NULL));
	wait_for(&r, 1);
}

TEST(a_regular_file)
{
	struct ring r;
	int fd = make_file(10);

	ring_init(&r, 8, 0);
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	poll_add(&r, fd, POLLOUT | POLLIN | POLLRDNORM | POLLWRNORM | POLLPRI, 0, 2, 0);
	poll_add(&r, fd, POLLPRI, 0, 3, 0);
	poll_add(&r, fd, 0, 0, 4, 0);
	poll_add(&r, fd, POLLIN, MULTI, 5, 0);
	poll_add(&r, fd, POLLPRI, MULTI, 6, 0);
	submit(&r);
}

TEST(a_directory_and_a_device)
{
	struct ring r;
	int dir = (int)OK(open("/", O_RDONLY | O_DIRECTORY)), null = (int)OK(open("/dev/null", O_RDWR));

	ring_init(&r, 8, 0);
	poll_add(&r, dir, POLLIN, 0, 1, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
	poll_add(&r, null, POLLIN | POLLOUT, 0, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
}

TEST(an_o_path_descriptor)
{
	struct ring r;
	int fd = (int)OK(open("/", O_PATH));

	ring_init(&r, 8, 0);
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
}

TEST(an_epoll_instance)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring r;
	int fd = (int)OK(epoll_create1(EPOLL_CLOEXEC));

	start(&r);
	OK(epoll_ctl(fd, EPOLL_CTL_ADD, fds[0], &event));
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	poll_add(&r, fd, POLLIN | POLLRDNORM, 0, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 1);
	take(fds[0]);
	poll_add(&r, fd, POLLIN, 0, 3, 0);
	submit(&r);
	cancel(&r, 3, 0, 4);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
}

TEST(an_epoll_instance_that_holds_the_ring)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring r, s;
	int fd = (int)OK(epoll_create1(EPOLL_CLOEXEC));

	ring_init(&r, 8, 0);
	ring_init(&s, 8, 0);
	OK(epoll_ctl(fd, EPOLL_CTL_ADD, s.fd, &event));
	poll_add(&r, fd, POLLIN, 0, 1, 0);
	submit(&r);
	nop(&s, 2, 0);
	submit(&s);
	nop(&s, 3, 0);
	EXPECT_EQ(ring_submit(&s), 1);
	wait_for(&r, 1);
}

TEST(the_ring_itself)
{
	struct ring r;

	ring_init(&r, 8, 0);
	poll_add(&r, r.fd, POLLIN, 0, 1, 0);
	submit(&r);
	nop(&r, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
	poll_add(&r, r.fd, POLLOUT, 0, 3, 0);
	submit(&r);
}

TEST(the_ring_itself_many_times)
{
	struct ring r;

	ring_init(&r, 8, 0);
	poll_add(&r, r.fd, POLLIN, MULTI, 1, 0);
	submit(&r);
	nop(&r, 2, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_for(&r, 2);
	nop(&r, 3, 0);
	submit(&r);
}

TEST(another_ring)
{
	struct ring r, s;

	ring_init(&r, 8, 0);
	ring_init(&s, 8, 0);
	poll_add(&r, s.fd, POLLIN | POLLRDNORM, 0, 1, 0);
	submit(&r);
	nop(&s, 2, 0);
	EXPECT_EQ(ring_submit(&s), 1);
	wait_for(&r, 1);
	poll_add(&r, s.fd, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM, 0, 3, 0);
	submit(&r);
}

TEST(no_file)
{
	struct ring r;

	start(&r);
	poll_add(&r, -1, POLLIN, 0, 1, 0);
	submit(&r);
	poll_add(&r, 12345, POLLIN, 0, 2, 0);
	submit(&r);
	poll_add(&r, 0, POLLIN, 0, 3, IOSQE_FIXED_FILE);
	submit(&r);
}
