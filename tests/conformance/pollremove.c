/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_REMOVE: removal and update. */
#include "events.h"

#include <sys/socket.h>

#define MULTI IORING_POLL_ADD_MULTI
#define EVENTS IORING_POLL_UPDATE_EVENTS
#define USER_DATA IORING_POLL_UPDATE_USER_DATA

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

TEST(removal)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, LINK);
	nop(&r, 2, 0);
	poll_remove(&r, 1, 0, 0, 0, 3);
	submit(&r);
	poll_remove(&r, 1, 0, 0, 0, 4);
	submit(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, 0);
	cancel(&r, 1, 0, 5);
	poll_remove(&r, 1, 0, 0, 0, 6);
	submit(&r);
}

TEST(removal_finds_polls_alone)
{
	struct ring r;

	start(&r);
	timeout(&r, &never, 0, 0, 1, 0);
	poll_remove(&r, 1, 0, 0, 0, 3);
	submit(&r);
	finish(&r, 1);
}

TEST(removal_checks_its_fields)
{
	struct ring r;

	start(&r);
	poll_remove(&r, 1, 0, 0, 0, 1)->buf_index = 1;
	submit(&r);
	poll_remove(&r, 1, 0, 0, 0, 2)->splice_fd_in = 1;
	submit(&r);
	poll_remove(&r, 1, 0, 5, 0, 3);
	submit(&r);
	poll_remove(&r, 1, 0, 0, POLLIN, 4);
	submit(&r);
	poll_remove(&r, 1, 0, 0, 0, 5)->flags = IOSQE_FIXED_FILE;
	submit(&r);
	for (unsigned bit = 0; bit < 32; bit++) {
		poll_remove(&r, 1, 1U << bit, 0, 0, 10 + bit);
		submit(&r);
	}
}

TEST(update_the_user_data)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, 0);
	submit(&r);
	poll_remove(&r, 1, USER_DATA, 7, 0, 2);
	poll_remove(&r, 1, USER_DATA, 8, 0, 3);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
}

TEST(update_the_events)
{
	struct ring r;

	start(&r);
	poll_add(&r, sockets[0], POLLIN, 0, 1, 0);
	submit(&r);
	poll_remove(&r, 1, EVENTS, 0, POLLPRI, 2);
	submit(&r);
	poll_remove(&r, 1, EVENTS, 0, POLLOUT, 3);
	submit(&r);
	poll_add(&r, sockets[0], POLLIN, 0, 1, 0);
	poll_remove(&r, 1, EVENTS | USER_DATA, 9, POLLOUT | POLLIN, 4);
	submit(&r);
}

TEST(update_of_a_multishot)
{
	struct ring r;

	start(&r);
	poll_add(&r, sockets[0], POLLIN, MULTI, 1, 0);
	submit(&r);
	poll_remove(&r, 1, EVENTS | MULTI, 0, POLLOUT, 2);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 2);
	poll_remove(&r, 1, USER_DATA, 5, 0, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	wait_sorted(&r, 2);
	finish(&r, 1);
}

TEST(the_newest_is_removed)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, 0, 1, 0);
	poll_add(&r, sockets[0], POLLIN, 0, 1, 0);
	poll_remove(&r, 1, 0, 0, 0, 2);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
}
