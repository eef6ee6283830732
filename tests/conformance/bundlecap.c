/* SPDX-License-Identifier: Apache-2.0 */
/* What a bundle, and a multishot of them, takes at once: by the length asked for, by a limit, by the buffers there
 * are. And what is left of a buffer that nothing came of. */
#include "net.h"

#define SIZE 1024
#define ENTRIES 16
#define INC 2
#define OP_READ_MULTISHOT 49

static struct buf {
	uint64_t addr;
	uint32_t len;
	uint16_t bid, tail;
} *buffers;

static char pool[ENTRIES][SIZE], data[16 * SIZE];

static void buffer_ring(struct ring *r, unsigned n, unsigned size, unsigned flags)
{
	struct {
		uint64_t addr;
		uint32_t entries;
		uint16_t bgid, flags;
		uint64_t resv[3];
	} reg = {0, ENTRIES, 7, (uint16_t)flags, {0}};

	buffers = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	reg.addr = (uintptr_t)buffers;
	EXPECT_EQ(sys_register(r->fd, IORING_REGISTER_PBUF_RING, &reg, 1), 0);
	for (unsigned i = 0; i < n; i++) {
		buffers[i].addr = (uintptr_t)pool[i];
		buffers[i].len = size;
		buffers[i].bid = (uint16_t)i;
	}
	__atomic_store_n(&buffers[0].tail, (uint16_t)n, __ATOMIC_RELEASE);
}

static struct io_uring_sqe receiving(int fd, unsigned len, unsigned ioprio)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_RECV, fd, NULL, len);

	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.ioprio = (uint16_t)ioprio;
	return sqe;
}

static void note_ready(struct ring *r)
{
	struct cqe cqe;

	while (ring_reap(r, &cqe))
		note("user_data=%llu res=%d flags=0x%x", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
}

/* All that comes of it while there is data, and then the end of the stream. */
static void take_all(struct ring *r, int from, int to, struct io_uring_sqe sqe, size_t size)
{
	struct cqe cqe;
	size_t got = 0;

	EXPECT_EQ(send(to, data, size, 0), size);
	until_readable(from);
	push(r, sqe);
	EXPECT_EQ(ring_submit(r), 1);
	do {
		cqe = ring_wait(r);
		note("res=%d flags=0x%x", cqe.res, cqe.flags);
		got += cqe.res > 0 ? (size_t)cqe.res : 0;
	} while (cqe.flags & IORING_CQE_F_MORE && got < size);
	if (cqe.flags & IORING_CQE_F_MORE) {
		OK(shutdown(to, SHUT_WR));
		note_cqe(r);
	}
}

static void bundles(unsigned n, unsigned len, unsigned limit, size_t size)
{
	for (int tcp = 0; tcp < 2; tcp++) {
		struct io_uring_sqe sqe;
		struct ring r;
		int sv[2];

		ring_init(&r, 32, 0);
		tcp ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		buffer_ring(&r, n, SIZE, 0);
		sqe = receiving(sv[1], len, BUNDLE | RECV_MULTISHOT);
		sqe.file_index = limit;
		take_all(&r, sv[1], sv[0], sqe, size);
		ring_close(&r);
	}
}

TEST(a_length_caps_each)
{
	bundles(ENTRIES, SIZE, 0, 8 * SIZE);
}

TEST(a_length_of_two_buffers)
{
	bundles(ENTRIES, 2 * SIZE, 0, 8 * SIZE);
}

TEST(a_length_within_a_buffer)
{
	bundles(ENTRIES, SIZE / 2 * 3, 0, 6 * SIZE);
}

TEST(no_length)
{
	bundles(ENTRIES, 0, 0, 8 * SIZE);
}

TEST(a_limit_is_exact)
{
	bundles(ENTRIES, 0, 4 * SIZE, 8 * SIZE);
}

TEST(a_limit_and_a_length)
{
	bundles(ENTRIES, 2 * SIZE, 5 * SIZE, 8 * SIZE);
}

TEST(buffers_for_exactly_all)
{
	bundles(4, 0, 0, 4 * SIZE);
}

TEST(buffers_for_exactly_a_length)
{
	bundles(4, 4 * SIZE, 0, 4 * SIZE);
}

TEST(one_buffer_for_all)
{
	bundles(1, 0, 0, SIZE);
}

TEST(buffers_for_less)
{
	bundles(4, 0, 0, 6 * SIZE);
}

TEST(single_bundles_that_empty_the_ring)
{
	for (unsigned len = 0; len <= 4 * SIZE; len += 4 * SIZE) {
		struct ring r;
		int sv[2];

		ring_init(&r, 32, 0);
		pair(SOCK_STREAM, sv);
		buffer_ring(&r, 4, SIZE, 0);
		EXPECT_EQ(send(sv[0], data, 4 * SIZE, 0), 4 * SIZE);
		run(&r, receiving(sv[1], len, BUNDLE));
		ring_close(&r);
	}
}

/* Two sockets whose data waits: by turns. */
TEST(a_length_lets_others_have_a_turn)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int sv[2][2];

	ring_init(&r, 32, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	buffer_ring(&r, ENTRIES, SIZE, 0);
	for (int i = 0; i < 2; i++) {
		pair(SOCK_STREAM, sv[i]);
		sqe = receiving(sv[i][1], SIZE, BUNDLE | RECV_MULTISHOT);
		sqe.user_data = (uint64_t)i + 1;
		push(&r, sqe);
	}
	EXPECT_EQ(ring_submit(&r), 2);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(send(sv[i][0], data, 4 * SIZE, 0), 4 * SIZE);
	for (int i = 0; i < 8; i++) {
		struct cqe cqe = ring_wait(&r);

		note("user_data=%llu res=%d flags=0x%x", (unsigned long long)cqe.user_data, cqe.res, cqe.flags);
	}
	note_ready(&r);
}

/* ---- buffers that nothing was received into ---- */

TEST(a_length_leaves_the_buffer_as_it_is)
{
	struct ring r;
	int sv[2], fds[2];
	struct io_uring_sqe sqe;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	OK(pipe(fds));
	buffer_ring(&r, 2, SIZE, 0);
	start(&r, receiving(sv[1], 1, BUNDLE));
	note("len %u", buffers[0].len);
	cancel(&r, 0x50c0 + IORING_OP_RECV);
	note_cqe(&r);
	EXPECT_EQ(write(fds[1], data, 64), 64);
	sqe = sqe_of(IORING_OP_READ, fds[0], NULL, 0);
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	run(&r, sqe);
}

static int ended(int kind)
{
	int fds[2];

	if (kind == 2)
		return (int)OK(open("/dev/null", O_RDONLY));
	if (kind == 3)
		return make_file(0);
	if (kind)
		pair(SOCK_STREAM, fds);
	else
		OK(pipe(fds));
	OK(close(fds[1]));
	return fds[0];
}

TEST(an_incremental_buffer_and_nothing_to_read)
{
	struct ring r;

	ring_init(&r, 8, 0);
	buffer_ring(&r, 8, SIZE, INC);
	for (int kind = 0; kind < 4; kind++) {
		struct io_uring_sqe sqe = sqe_of(IORING_OP_READ, ended(kind), NULL, 0);

		sqe.flags = IOSQE_BUFFER_SELECT;
		sqe.buf_group = 7;
		run(&r, sqe);
		run(&r, sqe);
		sqe.len = 5;
		run(&r, sqe);
	}
	run(&r, receiving(ended(1), 0, 0));
	run(&r, receiving(ended(1), 0, BUNDLE));
	run(&r, receiving(ended(1), 0, RECV_MULTISHOT));
	for (int i = 0; i < 8; i++)
		note("%d: len %u", i, buffers[i].len);
}

TEST(an_incremental_buffer_and_files_without_a_poll)
{
	struct ring r;
	int fd = make_file(64);

	ring_init(&r, 8, 0);
	buffer_ring(&r, 8, SIZE, INC);
	for (unsigned len = 0; len < 300; len += 100) {
		struct io_uring_sqe sqe = sqe_of(IORING_OP_READ, fd, NULL, len);

		sqe.flags = IOSQE_BUFFER_SELECT;
		sqe.buf_group = 7;
		run(&r, sqe);
		sqe.flags |= IOSQE_ASYNC;
		run(&r, sqe);
	}
	for (int i = 0; i < 8; i++)
		note("%d: len %u at %llu", i, buffers[i].len, (unsigned long long)(buffers[i].addr - (uintptr_t)pool));
}

TEST(a_length_and_what_is_received)
{
	for (int multishot = 0; multishot < 2; multishot++) {
		for (int armed = 0; armed < 2; armed++) {
			struct ring r;
			int sv[2];

			ring_init(&r, 8, 0);
			pair(SOCK_STREAM, sv);
			buffer_ring(&r, 4, SIZE, 0);
			if (!armed)
				EXPECT_EQ(send(sv[0], data, 3, 0), 3);
			push(&r, receiving(sv[1], 2, BUNDLE | (multishot ? RECV_MULTISHOT : 0)));
			EXPECT_EQ(ring_submit(&r), 1);
			if (armed)
				EXPECT_EQ(send(sv[0], data, 3, 0), 3);
			note_cqe(&r);
			if (multishot)
				note_cqe(&r);
			for (int i = 0; i < 4; i++)
				note("%d: len %u", i, buffers[i].len);
			ring_close(&r);
		}
	}
}

TEST(a_length_and_what_is_sent)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int sv[2];

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	buffer_ring(&r, 4, SIZE, 0);
	sqe = receiving(sv[1], SIZE + 2, BUNDLE);
	sqe.opcode = IORING_OP_SEND;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	while (note_cqe(&r).flags & IORING_CQE_F_MORE)
		;
	for (int i = 0; i < 4; i++)
		note("%d: len %u", i, buffers[i].len);
}

/* The buffer is the ring itself: what is received makes all of its lengths 0. */
TEST(an_incremental_ring_that_is_overwritten)
{
	static const char zeros[ENTRIES * sizeof(*buffers)];
	struct ring r;
	int sv[2];

	pair(SOCK_DGRAM, sv);
	ring_init(&r, 4, 0);
	buffer_ring(&r, 1, SIZE, INC);
	buffers[0].addr = (uintptr_t)buffers;
	EXPECT_EQ(OK(send(sv[1], zeros, sizeof(zeros), 0)), sizeof(zeros));
	run(&r, receiving(sv[0], 0, 0));
	note("addr %d len %u", buffers[0].addr != 0, buffers[0].len);
	run_read(&r, make_file(4), data, 4, 0);
}
