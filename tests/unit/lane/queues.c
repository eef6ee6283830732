/* SPDX-License-Identifier: Apache-2.0 */
/* The queues, links, attention and the counters, with requests that do nothing. */
#include "ring.h"

#define MIXED_SQ (1u << 19) /* IORING_SETUP_SQE_MIXED */

static void nops(struct ring *r, unsigned count)
{
	while (count--)
		ring_sqe(r, IORING_OP_NOP, -1);
}

/* More rounds than the queues have entries; batches that do not divide them. */
static void test_geometry(uint32_t sq, uint32_t cq, uint32_t flags)
{
	struct ring r;
	uint32_t taken;
	uint64_t next = 1;

	ring_make(&r, sq, cq, flags);
	memset(r.lane.rings + LANE_CQES, 0xff, (size_t)cq * r.lane.cqe_size);
	for (unsigned round = 0; round < 3 * cq; round++) {
		unsigned count = sq > 2 ? sq - 1 : sq;

		nops(&r, count);
		CHECK(ring_enter(&r, count + 5, &taken));
		CHECK_EQ(taken, count);
		CHECK_EQ(lane_word(r.lane.rings, LANE_SQ_HEAD), lane_word(r.lane.rings, LANE_SQ_TAIL));
		while (count--) {
			size_t at = LANE_CQES + (size_t)(r.reaped & (cq - 1)) * r.lane.cqe_size;
			uint64_t big[2] = {0, 0};

			if (r.lane.cqe_size == 32)
				memcpy(big, r.lane.rings + at + 16, sizeof(big));
			CHECK_EQ(big[0] | big[1], 0);
			ring_expect(&r, next++, 0);
		}
	}
	CHECK_EQ(r.lane.page->submitted, next - 1);
	CHECK_EQ(r.lane.page->completed, next - 1);
	CHECK_EQ(r.lane.page->taken[IORING_OP_NOP], next - 1);
	CHECK_EQ(r.lane.page->enters, 3 * cq);
	CHECK_EQ(r.lane.page->posted, (uint64_t)(uint32_t)(next - 1) << 32 | (uint32_t)(next - 1));
	CHECK_EQ(r.kicks, 0);
	ring_free(&r);
}

static void test_positions_wrap(void)
{
	struct ring r;
	uint32_t taken, near = UINT32_MAX - 1;

	ring_make(&r, 4, 8, 0);
	r.lane.page->sq_head = near;
	r.lane.page->posted = near | (uint64_t)near << 32;
	r.lane.page->cq_head = r.lane.page->cq_heads[0] = r.lane.page->cq_heads[1] = r.reaped = near;
	lane_set_word(r.lane.rings, LANE_SQ_HEAD, near);
	lane_set_word(r.lane.rings, LANE_SQ_TAIL, near);
	lane_set_word(r.lane.rings, LANE_CQ_HEAD, near);
	lane_set_word(r.lane.mirror, LANE_CQ_HEAD, near);
	nops(&r, 4);
	CHECK(ring_enter(&r, 4, &taken));
	for (unsigned i = 1; i <= 4; i++)
		ring_expect(&r, i, 0);
	CHECK_EQ(r.lane.page->sq_head, 2);
	ring_free(&r);
}

/* A request whose CQE does not fit is not taken; the client's head may move in either copy. */
static void test_full(void)
{
	struct ring r;
	uint32_t taken;

	ring_make(&r, 4, 4, 0);
	nops(&r, 4);
	CHECK(ring_enter(&r, 4, &taken));
	nops(&r, 1);
	CHECK(!ring_enter(&r, 1, &taken));
	CHECK_EQ(taken, 0);
	lane_set_word(r.lane.mirror, LANE_CQ_HEAD, 1);
	CHECK(ring_enter(&r, 1, &taken));
	nops(&r, 2);
	lane_set_word(r.lane.rings, LANE_CQ_HEAD, 2);
	CHECK(!ring_enter(&r, 2, &taken));
	CHECK_EQ(taken, 1);
	lane_set_word(r.lane.rings, LANE_CQ_HEAD, 3);
	lane_set_word(r.lane.mirror, LANE_CQ_HEAD, 100); /* cannot be */
	CHECK(ring_enter(&r, 1, &taken));
	lane_set_word(r.lane.rings, LANE_CQ_HEAD, 77); /* one that lies is a full queue */
	nops(&r, 1);
	CHECK(!ring_enter(&r, 1, &taken));
	ring_free(&r);
}

static void test_index_out_of_range(void)
{
	struct ring r;
	uint32_t taken;

	ring_make(&r, 4, 8, 0);
	nops(&r, 3);
	((uint32_t *)(void *)(r.lane.rings + r.lane.sq_array))[1] = 4;
	CHECK(!ring_enter(&r, 3, &taken));
	CHECK_EQ(taken, 1);
	CHECK_EQ(lane_word(r.lane.rings, LANE_SQ_HEAD), 1);
	ring_free(&r);
}

/* What io_init_req() or a preparation would refuse, or an older kernel or daemon does not know. */
static void test_not_understood(void)
{
	struct ring r;

	ring_make(&r, 4, 8, 0);
	ring_sqe(&r, 200, -1);
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_NOP, -1)->ioprio = 1;
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_NOP, -1)->personality = 1;
	ring_leave(&r);
	ring_sqe(&r, IORING_OP_NOP, -1)->rw_flags = 2;
	ring_leave(&r);
	for (unsigned bit = 0; bit < 8; bit++)
		if (!(1u << bit & LANE_SQE_FLAGS)) {
			ring_sqe(&r, IORING_OP_NOP, -1)->flags = (uint8_t)(1u << bit);
			ring_leave(&r);
		}
	ring_sqe(&r, IORING_OP_TIMEOUT, -1);
	ring_leave(&r);
	r.lane.page->sqe_flags = IOSQE_IO_LINK;
	ring_sqe(&r, IORING_OP_NOP, -1)->flags = IOSQE_IO_HARDLINK;
	ring_leave(&r);
	r.lane.page->ops[0] = ~1u;
	ring_sqe(&r, IORING_OP_NOP, -1);
	ring_leave(&r);
	r.lane.page->ops[0] = 1;
	r.lane.page->generation = 1;
	ring_sqe(&r, IORING_OP_NOP, -1);
	ring_leave(&r);
	r.lane.page->generation = r.lane.page->version = 0;
	ring_sqe(&r, IORING_OP_NOP, -1);
	ring_leave(&r);
	ring_free(&r);
}

static void test_results(void)
{
	struct ring r;
	struct io_uring_sqe *sqe;

	ring_make(&r, 4, 8, 0);
	sqe = ring_sqe(&r, IORING_OP_NOP, -1);
	sqe->rw_flags = 1; /* IORING_NOP_INJECT_RESULT */
	sqe->len = (uint32_t)-7;
	CHECK_EQ(ring_do(&r), -7);
	ring_free(&r);
}

static struct io_uring_sqe *linked(struct ring *r, uint8_t flags, int res)
{
	struct io_uring_sqe *sqe = ring_sqe(r, IORING_OP_NOP, -1);

	sqe->flags = flags;
	sqe->rw_flags = 1;
	sqe->len = (uint32_t)res;
	return sqe;
}

#define LINK IOSQE_IO_LINK
#define HARD IOSQE_IO_HARDLINK
#define SKIP LANE_CQE_SKIP_SUCCESS

static void test_links(void)
{
	struct ring r;
	uint32_t taken;

	ring_make(&r, 8, 16, 0);
	linked(&r, LINK, 1), linked(&r, LINK, 2), linked(&r, 0, 3);
	CHECK(ring_enter(&r, 3, &taken));
	ring_expect(&r, 1, 1), ring_expect(&r, 2, 2), ring_expect(&r, 3, 3);

	linked(&r, LINK, 1), linked(&r, LINK, -5), linked(&r, LINK, 3), linked(&r, HARD, 4);
	CHECK(ring_enter(&r, 4, &taken));
	ring_expect(&r, 4, 1), ring_expect(&r, 5, -5), ring_expect(&r, 6, -ECANCELED), ring_expect(&r, 7, -ECANCELED);

	linked(&r, HARD, -5), linked(&r, 0, 2);
	CHECK(ring_enter(&r, 2, &taken));
	ring_expect(&r, 8, -5), ring_expect(&r, 9, 2);

	linked(&r, LINK | SKIP, 1), linked(&r, SKIP, 2);
	CHECK(ring_enter(&r, 2, &taken));
	CHECK_EQ(ring_ready(&r), 0);
	CHECK_EQ(r.lane.page->posted >> 32, r.lane.page->sq_head);
	CHECK(r.lane.page->seen & SKIP);

	/* IOSQE_CQE_SKIP_SUCCESS: a failure is shown, and then what it cancels is not */
	linked(&r, LINK | SKIP, -5), linked(&r, LINK, 2), linked(&r, 0, 3);
	CHECK(ring_enter(&r, 3, &taken));
	ring_expect(&r, 12, -5);
	CHECK_EQ(ring_ready(&r), 0);
	CHECK_EQ(r.lane.page->sq_head, 14);
	ring_free(&r);
}

/* What is behind a chain would start before its second request: all of it is the daemon's. */
static void test_chains_are_last(void)
{
	struct ring r;
	uint32_t taken;

	ring_make(&r, 8, 8, 0);
	nops(&r, 1), linked(&r, LINK, 1), linked(&r, 0, 2), nops(&r, 1);
	CHECK(!ring_enter(&r, 4, &taken));
	CHECK_EQ(taken, 1);
	CHECK(ring_enter(&r, 2, &taken)); /* as a batch of its own */
	CHECK_EQ(taken, 2);
	ring_free(&r);
}

/* A chain that is not understood to its end, or whose CQEs may not fit, is the daemon's from its first. */
static void test_chains_are_whole(void)
{
	struct ring r;
	uint32_t taken;

	ring_make(&r, 8, 8, 0);
	linked(&r, LINK, 1), linked(&r, LINK, 2), ring_sqe(&r, IORING_OP_TIMEOUT, -1);
	CHECK(!ring_enter(&r, 3, &taken));
	CHECK_EQ(taken, 0);
	lane_set_word(r.lane.rings, LANE_SQ_TAIL, 0);
	nops(&r, 6);
	CHECK(ring_enter(&r, 6, &taken));
	linked(&r, LINK, 1), linked(&r, LINK, 1), linked(&r, 0, 1);
	CHECK(!ring_enter(&r, 3, &taken));
	CHECK_EQ(taken, 0);
	ring_free(&r);
}

static void test_attention(void)
{
	struct ring r;
	uint32_t taken;
	unsigned kicks = 0;

	ring_make(&r, 8, 16, 0);
	for (unsigned bit = 0; bit < 16; bit++) {
		r.lane.page->attention = 1u << bit;
		nops(&r, 1);
		CHECK(ring_enter(&r, 1, &taken));
		CHECK_EQ(r.kicks, ++kicks);
		ring_reap(&r);
		CHECK(ring_enter(&r, 1, &taken)); /* nothing posted */
		CHECK_EQ(r.kicks, kicks);
		nops(&r, 1);
		CHECK_EQ(ring_enter_wait(&r, 1, 1, &taken), bit < 8); /* else the daemon's enter is the kick */
		CHECK_EQ(taken, 1);
		kicks += bit < 8;
		ring_reap(&r);
	}
	for (unsigned bit = 16; bit < 32; bit++) {
		r.lane.page->attention = 1u << bit;
		nops(&r, 1);
		ring_leave(&r);
		CHECK(!ring_enter(&r, 1, &taken)); /* an empty one, too: it may be an error */
	}
	ring_free(&r);
}

/* A wait that is over needs no daemon; one that is not is the daemon's, and its enter the kick. */
static void test_waits(void)
{
	struct ring r;
	uint32_t taken;

	ring_make(&r, 8, 16, 0);
	nops(&r, 2);
	CHECK(ring_enter_wait(&r, 2, 2, &taken));
	CHECK(ring_enter_wait(&r, 0, 2, &taken));
	CHECK(!ring_enter_wait(&r, 0, 3, &taken));
	nops(&r, 1);
	CHECK(!ring_enter_wait(&r, 1, 4, &taken));
	CHECK_EQ(taken, 1);
	nops(&r, 1);
	CHECK(ring_enter_wait(&r, 2, 100, &taken)); /* fewer submitted than asked: no wait */
	CHECK_EQ(taken, 1);
	CHECK_EQ(r.lane.page->enters, 3);
	ring_free(&r);
}

int main(void)
{
	const uint32_t flags[] = {0,
				  IORING_SETUP_NO_SQARRAY,
				  IORING_SETUP_SQE128,
				  IORING_SETUP_CQE32,
				  LANE_CQE_MIXED | MIXED_SQ,
				  IORING_SETUP_CQE32 | IORING_SETUP_SQE128};

	for (unsigned i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		test_geometry(1, 2, flags[i]);
		test_geometry(8, 8, flags[i]);
		test_geometry(8, 64, flags[i]);
	}
	test_positions_wrap();
	test_full();
	test_index_out_of_range();
	test_not_understood();
	test_results();
	test_links();
	test_chains_are_last();
	test_chains_are_whole();
	test_attention();
	test_waits();
	return 0;
}
