/* SPDX-License-Identifier: Apache-2.0 */
/* SEND and RECV with provided buffers and buffer rings; multishot, bundles. */
#include "sendrecv.h"

/* ---- provided buffers ---- */

static char pool[8][64];

static void provide(struct ring *r, unsigned n)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_PROVIDE_BUFFERS, (int)n, pool, 64);

	sqe.buf_group = 7;
	EXPECT_EQ(run(r, sqe), 0);
}

static struct io_uring_sqe selecting(int fd)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_RECV, fd, NULL, 0);

	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	return sqe;
}

TEST(a_provided_buffer)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	run(&r, selecting(sv[1]));
	provide(&r, 3);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	run(&r, selecting(sv[1]));
	start(&r, selecting(sv[1]));
	EXPECT_EQ(send(sv[0], "def", 3, 0), 3);
	note_cqe(&r);
	OK(close(sv[0]));
	run(&r, selecting(sv[1]));
	run(&r, selecting(sv[1]));
}

TEST(multishot)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < 2; i++) {
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		provide(&r, 4);
		sqe = selecting(sv[1]);
		sqe.ioprio = RECV_MULTISHOT;
		start(&r, sqe);
		for (int j = 0; j < 3; j++) {
			EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
			note_cqe(&r);
		}
		OK(close(sv[0]));
		note_cqe(&r);
		EXPECT_EQ(memcmp(pool[0], "abc", 3), 0);
		sqe = sqe_of(IORING_OP_REMOVE_BUFFERS, 8, NULL, 0);
		sqe.buf_group = 7;
		run(&r, sqe);
	}
}

TEST(multishot_of_datagrams_that_wait)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_DGRAM, sv);
	provide(&r, 3);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(send(sv[0], "abcd", (size_t)i + 1, 0), i + 1);
	sqe = selecting(sv[1]);
	sqe.ioprio = RECV_MULTISHOT;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	for (int i = 0; i < 4; i++)
		note_cqe(&r);
}

TEST(multishot_cancelled)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	provide(&r, 2);
	sqe = selecting(sv[1]);
	sqe.ioprio = RECV_MULTISHOT;
	start(&r, sqe);
	cancel(&r, sqe.user_data);
	note_cqe(&r);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	run(&r, selecting(sv[1]));
}

TEST(a_multishot_with_a_limit)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	provide(&r, 4);
	sqe = selecting(sv[1]);
	sqe.ioprio = RECV_MULTISHOT;
	sqe.len = 4;
	sqe.file_index = 10;
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "0123456789abcdef", 16, 0), 16);
	for (int i = 0; i < 3; i++)
		note_cqe(&r);
	EXPECT_EQ(recv(sv[1], buf, 64, 0), 4);
}

TEST(a_selected_buffer_is_sent)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SEND, 0, NULL, 0);
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_DGRAM, sv);
	strcpy(pool[0], "pooled");
	provide(&r, 2);
	sqe.fd = sv[0];
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.len = 6;
	run(&r, sqe);
	EXPECT_EQ(recv(sv[1], buf, 64, 0), 64); /* all of it: what is asked for counts with buffer rings */
	note_buf(6);
	run(&r, sqe);
	run(&r, sqe);
}

/* ---- buffer rings ---- */

struct buf_ring_entry {
	uint64_t addr;
	uint32_t len;
	uint16_t bid, tail;
};

static struct buf_ring_entry *buffer_ring(struct ring *r, unsigned n, unsigned size)
{
	struct buf_ring_entry *br = (void *)map_pages(1, PROT_READ | PROT_WRITE);
	struct {
		uint64_t addr;
		uint32_t entries;
		uint16_t bgid, flags;
		uint64_t resv[3];
	} reg = {(uintptr_t)br, 8, 7, 0, {0}};

	EXPECT_EQ(sys_register(r->fd, 22, &reg, 1), 0);
	for (unsigned i = 0; i < n; i++) {
		br[i].addr = (uintptr_t)pool[i];
		br[i].len = size;
		br[i].bid = (uint16_t)i;
	}
	__atomic_store_n(&br[0].tail, n, __ATOMIC_RELEASE);
	return br;
}

TEST(from_a_buffer_ring)
{
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	buffer_ring(&r, 3, 4);
	pair(SOCK_STREAM, sv);
	start(&r, selecting(sv[1]));
	EXPECT_EQ(send(sv[0], "0123456789", 10, 0), 10);
	note_cqe(&r);
	run(&r, selecting(sv[1]));
	run(&r, selecting(sv[1]));
	run(&r, selecting(sv[1]));
}

TEST(a_bundle_is_received)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	for (int i = 0; i < 2; i++) {
		struct {
			uint64_t addr;
			uint32_t entries;
			uint16_t bgid, flags;
			uint64_t resv[3];
		} reg = {0, 0, 7, 0, {0}};

		buffer_ring(&r, 4, 4);
		i ? tcp_pair(sv) : pair(SOCK_STREAM, sv);
		EXPECT_EQ(send(sv[0], "0123456789", 10, 0), 10);
		until_readable(sv[1]);
		sqe = selecting(sv[1]);
		sqe.ioprio = BUNDLE;
		run(&r, sqe);
		run(&r, sqe);
		EXPECT_EQ(sys_register(r.fd, 23, &reg, 1), 0);
	}
}

TEST(a_bundle_with_a_length)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	buffer_ring(&r, 8, 4);
	pair(SOCK_STREAM, sv);
	EXPECT_EQ(send(sv[0], "0123456789012345678901234567", 28, 0), 28);
	sqe = selecting(sv[1]);
	sqe.ioprio = BUNDLE;
	sqe.len = 13;
	run(&r, sqe);
	sqe.len = 2;
	run(&r, sqe);
}

TEST(a_multishot_of_bundles)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	buffer_ring(&r, 6, 4);
	pair(SOCK_STREAM, sv);
	sqe = selecting(sv[1]);
	sqe.ioprio = BUNDLE | RECV_MULTISHOT;
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "0123456789", 10, 0), 10);
	note_cqe(&r);
	note_cqe(&r);
	EXPECT_EQ(send(sv[0], "ab", 2, 0), 2);
	note_cqe(&r);
	OK(close(sv[0]));
	note_cqe(&r);
}

TEST(a_bundle_is_sent)
{
	struct io_uring_sqe sqe = sqe_of(IORING_OP_SEND, 0, NULL, 0);
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	memcpy(pool[0], "abcd", 4);
	memcpy(pool[1], "efgh", 4);
	memcpy(pool[2], "ijkl", 4);
	buffer_ring(&r, 3, 4);
	pair(SOCK_STREAM, sv);
	sqe.fd = sv[0];
	sqe.flags = IOSQE_BUFFER_SELECT;
	sqe.buf_group = 7;
	sqe.ioprio = BUNDLE;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	while (note_cqe(&r).flags & IORING_CQE_F_MORE)
		;
	memset(buf, 0, 64);
	note("%zd", recv(sv[1], buf, 64, 0));
	note_buf(12);
	run(&r, sqe);
}

TEST(async_ones)
{
	struct io_uring_sqe sqe;
	int sv[2];
	struct ring r;

	ring_init(&r, 8, 0);
	pair(SOCK_STREAM, sv);
	sqe = receiving(sv[1], 9);
	sqe.flags = IOSQE_ASYNC;
	start(&r, sqe);
	EXPECT_EQ(send(sv[0], "abc", 3, 0), 3);
	note_buf(note_cqe(&r).res);
	start(&r, sqe);
	cancel(&r, sqe.user_data);
	note_cqe(&r);
	sqe = sending(sv[0], "def", 3);
	sqe.flags = IOSQE_ASYNC;
	push(&r, sqe);
	EXPECT_EQ(ring_submit(&r), 1);
	note_cqe(&r);
}
