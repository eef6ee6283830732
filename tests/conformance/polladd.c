/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD. */
#include "events.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define MULTI IORING_POLL_ADD_MULTI

static int fds[2], sockets[2];

static void start(struct ring *r)
{
	make_pipe(fds);
	OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
	ring_init(r, 16, 0);
}

static void put(int fd)
{
	EXPECT_EQ(write(fd, "x", 1), 1);
}

static void take(int fd)
{
	char c;

	EXPECT_EQ(read(fd, &c, 1), 1);
}

static void fill(int fd)
{
	static char data[65536];

	OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	while (write(fd, data, sizeof(data)) > 0)
		;
	EXPECT_EQ(errno, EAGAIN);
}

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

TEST(fields_and_flags)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 1, 0)->buf_index = 1;
	submit(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 2, 0)->off = 1;
	submit(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 3, 0)->addr = 1;
	submit(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 4, 0)->ioprio = 1;
	submit(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 5, 0)->splice_fd_in = 1;
	submit(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 6, IOSQE_BUFFER_SELECT);
	submit(&r);
	poll_add(&r, fds[1], POLLOUT, MULTI, 7, SKIP);
	submit(&r);
	for (unsigned bit = 1; bit < 32; bit++) {
		poll_add(&r, fds[1], POLLOUT, 1U << bit, 10 + bit, 0);
		submit(&r);
	}
}

TEST(exclusive_wakes_one)
{
	struct ring r;
	unsigned n = 0;
	struct cqe cqe;

	start(&r);
	for (unsigned i = 0; i < 4; i++)
		poll_add(&r, fds[0], POLLIN | EPOLLEXCLUSIVE, 0, 7, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	take(fds[0]);
	nop(&r, 8, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	while (ring_reap(&r, &cqe))
		n += cqe.user_data == 7;
	note("%u more", n);
	finish(&r, 3);
}

TEST(several_of_one_file)
{
	struct ring r;

	start(&r);
	for (unsigned i = 0; i < 4; i++)
		poll_add(&r, fds[0], POLLIN, 0, i, 0);
	submit(&r);
	put(fds[1]);
	wait_sorted(&r, 4);
}

TEST(links_behind)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	nop(&r, 2, LINK);
	poll_add(&r, fds[1], POLLOUT, 0, 3, LINK);
	poll_add(&r, -1, POLLOUT, 0, 4, LINK);
	nop(&r, 5, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 5);
}

TEST(skipped_success)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[1], POLLOUT, 0, 1, SKIP);
	poll_add(&r, fds[0], POLLIN, 0, 2, SKIP | LINK);
	nop(&r, 3, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	poll_add(&r, -1, POLLOUT, 0, 4, SKIP);
	submit(&r);
}

TEST(async_changes_nothing)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, IOSQE_ASYNC);
	EXPECT_EQ(ring_submit(&r), 1);
	put(fds[1]);
	wait_for(&r, 1);
}

TEST(a_registered_file_twice)
{
	struct ring r;

	start(&r);
	if (on_uringfs())
		EXPECT_EQ(uringfs_register(r.fd, IORING_REGISTER_FILES, fds, 2), 0);
	else
		EXPECT_EQ(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES, fds, 2), 0);
	poll_add(&r, 0, POLLIN, 0, 1, IOSQE_FIXED_FILE);
	poll_add(&r, 0, POLLIN | POLLRDNORM, 0, 2, IOSQE_FIXED_FILE);
	submit(&r);
	put(fds[1]);
	wait_sorted(&r, 2);
}

TEST(the_descriptor_is_closed_meanwhile)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, 0);
	submit(&r);
	close(fds[0]);
	put(fds[1]);
	wait_for(&r, 1);
}

TEST(a_thousand_pending)
{
	struct ring r;
	unsigned n = 1000;
	int last[2];

	make_pipe(fds);
	make_pipe(last);
	ring_init(&r, 1024, 0);
	for (unsigned i = 0; i < n; i++)
		poll_add(&r, fds[0], POLLIN, 0, i, 0);
	poll_add(&r, last[0], POLLIN, 0, n, 0);
	EXPECT_EQ(ring_submit(&r), n + 1);
	EXPECT_EQ(write(last[1], "x", 1), 1);
	wait_for(&r, 1);
	put(fds[1]);
	for (unsigned i = 0; i < n; i++)
		EXPECT_EQ(ring_wait(&r).res, POLLIN);
}

static int inner, ring_fd;
static atomic_bool over;

static void *changer(void *arg)
{
	struct epoll_event event = {.events = EPOLLIN};

	while (!atomic_load(&over)) {
		OK(epoll_ctl(inner, EPOLL_CTL_ADD, ring_fd, &event));
		OK(epoll_ctl(inner, EPOLL_CTL_DEL, ring_fd, NULL));
	}
	return arg;
}

/* Adding to an epoll instance that another one watches takes a lock of the whole machine, and polls the
 * ring with it held. */
TEST(nested_epolls_change_meanwhile)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct ring r;
	pthread_t thread;
	int outer = (int)OK(epoll_create1(EPOLL_CLOEXEC));

	start(&r);
	inner = (int)OK(epoll_create1(EPOLL_CLOEXEC));
	ring_fd = r.fd;
	OK(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event));
	EXPECT_EQ(pthread_create(&thread, NULL, changer, NULL), 0);
	for (unsigned i = 0; i < 200; i++) {
		poll_add(&r, fds[0], POLLIN, 0, 1, 0);
		poll_add(&r, sockets[0], POLLIN, IORING_POLL_ADD_MULTI, 2, 0);
		EXPECT_EQ(ring_submit(&r), 2);
		put(fds[1]);
		EXPECT_EQ(ring_wait(&r).user_data, 1);
		take(fds[0]);
		cancel(&r, 2, 0, 3);
		EXPECT_EQ(ring_submit(&r), 1);
		EXPECT_EQ(ring_wait(&r).user_data + ring_wait(&r).user_data, 5);
	}
	atomic_store(&over, true);
	OK(pthread_join(thread, NULL));
	note("done");
}
