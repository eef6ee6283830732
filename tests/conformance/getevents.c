/* SPDX-License-Identifier: Apache-2.0 */
/* An enter with IORING_ENTER_GETEVENTS that waits for nothing: what files that have become ready let complete is there. */
#include "polladd.h"

#define ROUNDS 20
#define DEFER (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SINGLE_ISSUER)

static char data[4][64];
static const unsigned flags[] = {0, DEFER};

static struct io_uring_sqe *transfer(struct ring *r, unsigned op, int fd, unsigned n, uint64_t user_data)
{
	struct io_uring_sqe *sqe = queue(r, op, user_data, 0);

	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)data[n];
	sqe->len = sizeof(data[n]);
	sqe->off = op == IORING_OP_READ ? UINT64_MAX : 0;
	return sqe;
}

static void expect_there(struct ring *r, unsigned n)
{
	EXPECT_EQ(enter(r->fd, 0, 0, GETEVENTS), 0);
	EXPECT_EQ(ring_ready(r), n);
	while (n-- > 0) {
		struct cqe cqe;

		EXPECT(ring_reap(r, &cqe));
		note_cqe(cqe);
	}
}

static void each_ring(void (*round)(struct ring *r))
{
	for (unsigned i = 0; i < 2; i++) {
		struct ring r;

		start(&r);
		ring_close(&r);
		ring_init(&r, 16, flags[i]);
		for (unsigned n = 0; n < ROUNDS; n++)
			round(&r);
		ring_close(&r);
	}
}

static void one_read(struct ring *r)
{
	transfer(r, IORING_OP_READ, fds[0], 0, 1);
	submit(r);
	put(fds[1]);
	expect_there(r, 1);
}

TEST(a_read)
{
	each_ring(one_read);
}

static void one_receive(struct ring *r)
{
	transfer(r, IORING_OP_RECV, sockets[0], 0, 1);
	submit(r);
	put(sockets[1]);
	expect_there(r, 1);
}

TEST(a_receive)
{
	each_ring(one_receive);
}

static void one_poll(struct ring *r)
{
	poll_add(r, fds[0], POLLIN, 0, 1, 0);
	submit(r);
	put(fds[1]);
	expect_there(r, 1);
	take(fds[0]);
}

TEST(a_poll)
{
	each_ring(one_poll);
}

static void several_of_one(struct ring *r)
{
	for (unsigned i = 0; i < 4; i++)
		transfer(r, IORING_OP_READ, fds[0], i, i)->len = 1;
	submit(r);
	EXPECT_EQ(write(fds[1], "abcd", 4), 4);
	expect_there(r, 4);
	note("%c%c%c%c", data[0][0], data[1][0], data[2][0], data[3][0]);
}

TEST(several_of_one_file)
{
	each_ring(several_of_one);
}

static void room(struct ring *r)
{
	static char rest[65536];

	fill(sockets[0]);
	transfer(r, IORING_OP_SEND, sockets[0], 0, 1);
	submit(r);
	OK(fcntl(sockets[1], F_SETFL, O_NONBLOCK));
	while (read(sockets[1], rest, sizeof(rest)) > 0)
		;
	expect_there(r, 1);
	while (read(sockets[1], rest, sizeof(rest)) > 0)
		;
}

TEST(a_send)
{
	each_ring(room);
}

static void an_end(struct ring *r)
{
	int ends[2];

	make_pipe(ends);
	transfer(r, IORING_OP_READ, ends[0], 0, 1);
	submit(r);
	close(ends[1]);
	expect_there(r, 1);
	close(ends[0]);
}

TEST(an_end_of_file)
{
	each_ring(an_end);
}

TEST(shots)
{
	for (unsigned i = 0; i < 2; i++) {
		struct ring r;

		start(&r);
		ring_close(&r);
		ring_init(&r, 16, flags[i]);
		poll_add(&r, fds[0], POLLIN, MULTI, 1, 0);
		submit(&r);
		for (unsigned n = 0; n < ROUNDS; n++) {
			put(fds[1]);
			expect_there(&r, 1);
			take(fds[0]);
		}
		ring_close(&r);
	}
}
