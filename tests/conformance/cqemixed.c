/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_SETUP_CQE_MIXED: CQEs of 32 bytes among those of 16. */
#include "harness.h"

#define CQE_MIXED (1U << 18)
#define NOP_CQE32 (1U << 5)
#define F_32 (1U << 15)
#define F_SKIP (1U << 5)

/* Every CQE there is, as a client walks them. */
static unsigned note_cqes(struct ring *r)
{
	unsigned mask = r->p.cq_entries - 1, seen = 0;
	uint32_t head = atomic_load(r->cq_head);

	while (head != atomic_load_explicit(r->cq_tail, memory_order_acquire)) {
		const struct io_uring_cqe *cqe = &r->cqes[head & mask];
		const uint64_t *big = (const void *)&r->cqes[(head & mask) + 1];

		if (cqe->flags & F_32) {
			note("%u: %llu %d 0x%x, %llx %llx", head & mask, (unsigned long long)cqe->user_data, cqe->res,
			     cqe->flags, (unsigned long long)big[0], (unsigned long long)big[1]);
			head++;
		} else {
			note("%u: %llu %d 0x%x", head & mask, (unsigned long long)cqe->user_data, cqe->res, cqe->flags);
		}
		head++;
		seen++;
	}
	atomic_store_explicit(r->cq_head, head, memory_order_release);
	return seen;
}

static void wide(struct ring *r, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	EXPECT(sqe != NULL);
	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
	sqe->rw_flags = NOP_CQE32;
	sqe->off = 0x1111 * user_data;
	sqe->addr = 0x2222 * user_data;
	sqe->user_data = user_data;
}

TEST(both_in_one_ring)
{
	struct ring r;

	ring_init(&r, 4, CQE_MIXED);
	ring_nop(&r, 1);
	wide(&r, 2);
	ring_nop(&r, 3);
	wide(&r, 4);
	EXPECT_EQ(ring_submit(&r), 4);
	EXPECT_EQ(note_cqes(&r), 4);
}

TEST(none_lies_across_the_end)
{
	struct ring r;

	ring_init(&r, 4, CQE_MIXED);
	for (unsigned i = 0; i < 7; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	note_cqes(&r);
	wide(&r, 9);
	ring_nop(&r, 10);
	EXPECT_EQ(ring_submit(&r), 2);
	EXPECT_EQ(note_cqes(&r), 3);
}

TEST(many_rounds)
{
	struct ring r;

	ring_init(&r, 4, CQE_MIXED);
	for (unsigned i = 0; i < 40; i++) {
		if (i % 3)
			wide(&r, i);
		else
			ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
		if (i % 4 == 3)
			note_cqes(&r);
	}
	note_cqes(&r);
}

TEST(overflow)
{
	struct ring r;

	ring_init(&r, 4, CQE_MIXED);
	for (unsigned i = 0; i < 12; i++) {
		if (i > 7 && i % 2)
			wide(&r, i);
		else
			ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	note("flags %u", atomic_load(r.sq_flags));
	note_cqes(&r);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	note_cqes(&r);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	note_cqes(&r);
	note("flags %u", atomic_load(r.sq_flags));
}

TEST(a_wide_nop_elsewhere)
{
	struct io_uring_sqe sqe;
	struct ring r;
	int fd;

	ring_init(&r, 4, 0);
	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_NOP;
	sqe.rw_flags = NOP_CQE32;
	EXPECT_EQ(run_sqe(&r, &sqe), -EINVAL);
	memset(&r.p, 0, sizeof(r.p));
	r.p.flags = CQE_MIXED | IORING_SETUP_CQE32;
	fd = sys_setup(4, &r.p);
	EXPECT_EQ(fd, -EINVAL);
	memset(&r.p, 0, sizeof(r.p));
	r.p.flags = CQE_MIXED | IORING_SETUP_CQSIZE;
	r.p.cq_entries = 1;
	fd = sys_setup(1, &r.p); /* no room for two */
	EXPECT_EQ(fd, -EOVERFLOW);
}
