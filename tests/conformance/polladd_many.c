/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD: fields and flags, links, several of one file, many of many. */
#include "polladd.h"

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
