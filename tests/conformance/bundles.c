/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_RECVSEND_BUNDLE: several buffers at once, of rings and of PROVIDE_BUFFERS. */
#include "pbufring.h"

#define BUNDLE (1U << 4)

/* What is asked for ends within a buffer: only where that is used up thereby the rest has to wait. */
static void bundle_within_a_buffer(unsigned flags)
{
	struct io_uring_sqe sqe;
	struct ring r;
	struct buf *br;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, flags);
	for (unsigned i = 0; i < 3; i++)
		add(br, pool[i], 10, 20 + i);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(write(s[1], "abcdefghijklmnopqrst", 20), 20);
		sqe = selecting(IORING_OP_RECV, s[0], i ? 4 : 14, 3);
		sqe.ioprio = BUNDLE;
		run_sqe(&r, &sqe);
		note("head %d: %.30s", head_of(&r, 3), pool[i]);
	}
}

TEST(bundles_of_provided_buffers)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	for (unsigned len = 0; len < 24; len += 4) {
		memset(pool, '.', sizeof(pool));
		EXPECT_EQ(provide_at(&r, pool, 10, 4, 3, 20), 0);
		EXPECT_EQ(write(s[1], "abcdefghijklmnopqrstuvwxyz0123456789", 36), 36);
		sqe = selecting(IORING_OP_RECV, s[0], len, 3);
		sqe.ioprio = BUNDLE;
		note("len %u", len);
		run_sqe(&r, &sqe);
		note("%.40s", pool[0]);
		remove_buffers(&r, 8, 3);
		EXPECT_GE(recv(s[0], pool[4], 40, MSG_DONTWAIT), -1);
	}
	EXPECT_EQ(provide_at(&r, pool, 10, 4, 3, 20), 0);
	sqe = selecting(IORING_OP_RECV, s[0], 0, 3);
	sqe.ioprio = BUNDLE | 1 << 1; /* IORING_RECV_MULTISHOT */
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	for (unsigned i = 0; i < 4; i++) {
		struct cqe cqe;

		EXPECT_EQ(write(s[1], "abcdefghijklmnopqrstuvwxyz0123456789", 1 + i), 1 + i);
		cqe = ring_wait(&r);
		note("%d 0x%x", cqe.res, cqe.flags);
		if (!(cqe.flags & IORING_CQE_F_MORE))
			break;
	}
}

TEST(bundles_sent_of_provided_buffers)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	for (unsigned len = 0; len < 24; len += 6) {
		char got[64] = "";
		bool more = true;

		memset(pool, 'a', 10);
		memset(pool[0] + 10, 'b', 10);
		memset(pool[0] + 20, 'c', 10);
		EXPECT_EQ(provide_at(&r, pool, 10, 3, 3, 20), 0);
		sqe = selecting(IORING_OP_SEND, s[0], len, 3);
		sqe.ioprio = BUNDLE;
		*ring_sqe(&r) = sqe;
		EXPECT_EQ(ring_submit(&r), 1);
		while (more) {
			struct cqe cqe = ring_wait(&r);

			note("len %u: %d 0x%x", len, cqe.res, cqe.flags);
			more = cqe.flags & IORING_CQE_F_MORE;
		}
		EXPECT_GE(recv(s[1], got, sizeof(got) - 1, MSG_DONTWAIT), -1);
		note("%s", got);
		remove_buffers(&r, 8, 3);
	}
}

/* len is about the first part. */
TEST(a_bundle_that_is_sent_in_parts)
{
	struct io_uring_sqe sqe;
	struct ring r;
	struct buf *br;
	bool more = true;
	int s[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	ring_init(&r, 8, 0);
	br = buf_ring(&r, 3, 0);
	for (unsigned i = 0; i < 4; i++)
		add(br, pool[i], i % 3 ? 20 : 5, 20 + i);
	sqe = selecting(IORING_OP_SEND, s[0], 12, 3);
	sqe.ioprio = BUNDLE;
	*ring_sqe(&r) = sqe;
	EXPECT_EQ(ring_submit(&r), 1);
	while (more) {
		struct cqe cqe = ring_wait(&r);

		note("%d 0x%x", cqe.res, cqe.flags);
		more = cqe.flags & IORING_CQE_F_MORE;
	}
}

TEST(a_bundle_that_ends_within_a_buffer)
{
	bundle_within_a_buffer(0);
}

TEST(a_bundle_that_ends_within_an_incremental_buffer)
{
	bundle_within_a_buffer(INC);
}
