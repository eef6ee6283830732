/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_OP_POLL_ADD with IORING_POLL_ADD_MULTI. */
#include "events.h"

#include <sys/socket.h>

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

TEST(multishot)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	submit(&r);
	for (int i = 0; i < 3; i++) {
		put(fds[1]);
		wait_for(&r, 1);
		take(fds[0]);
	}
	put(fds[1]);
	wait_for(&r, 1);
	put(fds[1]); /* an edge, although there was data */
	wait_for(&r, 1);
	finish(&r, 1);
}

TEST(multishot_begins_with_what_is_there)
{
	struct ring r;

	start(&r);
	put(fds[1]);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	submit(&r);
	finish(&r, 1);
}

TEST(multishot_until_the_other_end_goes)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	submit(&r);
	close(fds[1]);
	wait_for(&r, 1);
	finish(&r, 1);
}

TEST(multishot_does_not_start_its_links)
{
	struct ring r;

	start(&r);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, LINK);
	nop(&r, 2, 0);
	submit(&r);
	put(fds[1]);
	wait_for(&r, 1);
	nop(&r, 3, 0);
	submit(&r);
	finish(&r, 2);
}

TEST(multishot_ends_with_a_full_cq)
{
	struct io_uring_params p;
	struct ring r;

	make_pipe(fds);
	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE;
	p.cq_entries = 2;
	ring_init_params(&r, 2, &p);
	poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	for (unsigned i = 1; i <= 2; i++) {
		put(fds[1]);
		EXPECT_EQ(enter(r.fd, 0, i, GETEVENTS), 0);
	}
	put(fds[1]);
	while (!(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW))
		;
	wait_for(&r, 3);
}
