/* SPDX-License-Identifier: Apache-2.0 */
/* A ring that is closed with requests pending: its client's memory is its own again when close(2) returns,
 * and what comes then stays in the file. */
#include "net.h"

#define ROUNDS 20
#define BYTES 64

static char buffer[BYTES], pool[4][BYTES];

struct source {
	int from, to; /* read here, written there */
};

static struct source a_pipe(void)
{
	int fds[2];

	OK(pipe(fds));
	return (struct source){fds[0], fds[1]};
}

static struct source a_socket(void)
{
	int sv[2];

	pair(SOCK_STREAM, sv);
	return (struct source){sv[0], sv[1]};
}

/* Another ring's request, armed before and fed after: when it is complete, what was fed before was served. */
static struct io_uring_sqe reading_one(int fd, void *to)
{
	return sqe_of(IORING_OP_READ, fd, to, 1);
}

static bool untouched(void)
{
	for (unsigned i = 0; i < BYTES; i++)
		if (buffer[i] != 0x5a || pool[0][i] != 0x5a)
			return false;
	return true;
}

static void settle(struct ring *other, struct source sync)
{
	struct cqe cqe;

	EXPECT_EQ(write(sync.to, "!", 1), 1);
	cqe = ring_wait(other);
	EXPECT_EQ(cqe.res, 1);
}

static void round_of(struct ring *other, struct source s, struct io_uring_sqe sqe, unsigned provided, bool before)
{
	struct source sync = a_pipe();
	struct ring r;
	char got[BYTES], byte;

	ring_init(&r, 8, 0);
	if (provided) {
		struct io_uring_sqe provide = sqe_of(IORING_OP_PROVIDE_BUFFERS, 4, pool, BYTES);

		provide.buf_group = 7;
		provide.flags = IOSQE_CQE_SKIP_SUCCESS;
		push(&r, provide);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	start(&r, sqe);
	start(other, reading_one(sync.from, &byte));
	if (before)
		EXPECT_EQ(write(s.to, "data", 4), 4);
	ring_close(&r);
	memset(buffer, 0x5a, sizeof(buffer));
	memset(pool, 0x5a, sizeof(pool));
	if (!before)
		EXPECT_EQ(write(s.to, "data", 4), 4);
	settle(other, sync);
	EXPECT(untouched());
	if (!before)
		EXPECT_EQ(read(s.from, got, sizeof(got)), 4);
	OK(close(s.from));
	OK(close(s.to));
	OK(close(sync.from));
	OK(close(sync.to));
}

static void rounds(struct source (*source)(void), struct io_uring_sqe sqe, bool before)
{
	struct ring other;

	ring_init(&other, 8, 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct source s = source();

		sqe.fd = s.from;
		round_of(&other, s, sqe, sqe.flags & IOSQE_BUFFER_SELECT, before);
	}
	note("nothing was written");
}

static struct io_uring_sqe into_buffer(int op)
{
	return sqe_of(op, -1, buffer, BYTES);
}

static struct io_uring_sqe into_pool(int op, unsigned ioprio)
{
	struct io_uring_sqe sqe = sqe_of(op, -1, NULL, 0);

	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.ioprio = (uint16_t)ioprio;
	return sqe;
}

TEST(a_read_of_a_pipe_and_data_behind_the_close)
{
	rounds(a_pipe, into_buffer(IORING_OP_READ), false);
}

TEST(a_read_of_a_pipe_and_data_before_the_close)
{
	rounds(a_pipe, into_buffer(IORING_OP_READ), true);
}

TEST(a_recv_and_data_behind_the_close)
{
	rounds(a_socket, into_buffer(IORING_OP_RECV), false);
}

TEST(a_recv_and_data_before_the_close)
{
	rounds(a_socket, into_buffer(IORING_OP_RECV), true);
}

TEST(a_multishot_recv_and_data_behind_the_close)
{
	rounds(a_socket, into_pool(IORING_OP_RECV, RECV_MULTISHOT), false);
}

TEST(a_multishot_recv_and_data_before_the_close)
{
	rounds(a_socket, into_pool(IORING_OP_RECV, RECV_MULTISHOT), true);
}

TEST(a_multishot_read_and_data_behind_the_close)
{
	rounds(a_pipe, into_pool(49, 0), false); /* IORING_OP_READ_MULTISHOT */
}

TEST(a_link_behind_a_poll_and_the_event_behind_the_close)
{
	struct io_uring_sqe poll = sqe_of(IORING_OP_POLL_ADD, -1, NULL, 0);
	struct ring other;

	ring_init(&other, 8, 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct source s = a_pipe(), sync = a_pipe();
		char got[BYTES], byte;
		struct ring r;

		ring_init(&r, 8, 0);
		poll.fd = s.from;
		poll.rw_flags = POLLIN;
		poll.flags = IOSQE_IO_LINK;
		push(&r, poll);
		push(&r, sqe_of(IORING_OP_READ, s.from, buffer, BYTES));
		EXPECT_EQ(ring_submit(&r), 2);
		start(&other, reading_one(sync.from, &byte));
		ring_close(&r);
		memset(buffer, 0x5a, sizeof(buffer));
		memset(pool, 0x5a, sizeof(pool));
		EXPECT_EQ(write(s.to, "data", 4), 4);
		settle(&other, sync);
		EXPECT(untouched());
		EXPECT_EQ(read(s.from, got, sizeof(got)), 4);
		OK(close(s.from));
		OK(close(s.to));
		OK(close(sync.from));
		OK(close(sync.to));
	}
	note("nothing was written");
}
