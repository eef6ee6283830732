/* SPDX-License-Identifier: Apache-2.0 */
/* The queues: index array, wrap-around, dropped entries, and a CQ that is full. */
#include "harness.h"

static void init_cq(struct ring *r, unsigned entries, unsigned cq_entries, unsigned flags)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE | flags;
	p.cq_entries = cq_entries;
	ring_init_params(r, entries, &p);
}

static void reap_in_order(struct ring *r, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		struct cqe cqe;

		EXPECT(ring_reap(r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
		EXPECT_EQ(cqe.res, 0);
	}
}

static void fill_sqe(struct ring *r, unsigned index, uint64_t user_data)
{
	memset(&r->sqes[index], 0, sizeof(r->sqes[index]));
	r->sqes[index].opcode = IORING_OP_NOP;
	r->sqes[index].user_data = user_data;
}

static void note_user_data(struct ring *r)
{
	struct cqe cqe;

	while (ring_reap(r, &cqe))
		note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
}

TEST(index_array_permuted)
{
	static const uint32_t order[8] = {5, 2, 7, 0, 3, 6, 1, 4};
	struct ring r;

	ring_init(&r, 8, 0);
	for (unsigned i = 0; i < 8; i++) {
		fill_sqe(&r, i, 100 + i);
		r.array[i] = order[i];
	}
	atomic_store(r.sq_tail, 8);
	EXPECT_EQ(enter(r.fd, 8, 0, 0), 8);
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(r.cqes[i].user_data, 100 + order[i]);
	note_user_data(&r);
}

TEST(index_array_repeats_an_entry)
{
	struct ring r;

	ring_init(&r, 4, 0);
	fill_sqe(&r, 3, 33);
	for (unsigned i = 0; i < 4; i++)
		r.array[i] = 3;
	atomic_store(r.sq_tail, 4);
	EXPECT_EQ(enter(r.fd, 4, 0, 0), 4);
	note_user_data(&r);
}

TEST(without_index_array)
{
	struct ring r;

	ring_init(&r, 8, IORING_SETUP_NO_SQARRAY);
	for (unsigned round = 0; round < 5; round++) {
		for (uint64_t i = 0; i < 7; i++)
			ring_nop(&r, round * 7 + i);
		EXPECT_EQ(ring_submit(&r), 7);
		reap_in_order(&r, round * 7, round * 7 + 7);
	}
	ring_note_words(&r);
}

TEST(invalid_index_counts_in_dropped)
{
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 4; i++)
		ring_nop(&r, i);
	r.array[1] = 4;
	note("submitted %d", ring_submit(&r));
	note_user_data(&r);
	ring_note_words(&r);
	EXPECT_EQ(atomic_load(r.sq_dropped), 1);
	note("submitted %d", enter(r.fd, 4, 0, 0));
	note_user_data(&r);
	ring_note_words(&r);
}

TEST(invalid_index_first)
{
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 0);
	EXPECT_EQ(ring_submit(&r), 1);
	ring_nop(&r, 1);
	ring_nop(&r, 2);
	r.array[1] = UINT32_MAX;
	note("submitted %d", ring_submit(&r));
	ring_note_words(&r);
	note("submitted %d", enter(r.fd, 1, 0, 0));
	EXPECT_EQ(atomic_load(r.sq_dropped), 1);
	note_user_data(&r);
	ring_note_words(&r);
}

TEST(invalid_indices_do_not_reach_with_submit_all)
{
	struct ring r;

	ring_init(&r, 8, IORING_SETUP_SUBMIT_ALL);
	for (unsigned i = 0; i < 8; i++)
		ring_nop(&r, i);
	r.array[2] = 8;
	r.array[3] = 0x80000000u;
	r.array[6] = 1000;
	for (int i = 0; i < 5; i++)
		note("submitted %d", enter(r.fd, (atomic_store(r.sq_tail, 8), 8), 0, 0));
	note_user_data(&r);
	EXPECT_EQ(atomic_load(r.sq_dropped), 3);
	ring_note_words(&r);
}

TEST(dropped_is_kept_by_later_submissions)
{
	struct ring r;

	ring_init(&r, 2, 0);
	for (unsigned i = 0; i < 10; i++) {
		ring_nop(&r, i);
		if (i % 3 == 1)
			r.array[i & 1] = 2;
		ring_submit(&r);
	}
	EXPECT_EQ(atomic_load(r.sq_dropped), 3);
	note_user_data(&r);
	ring_note_words(&r);
}

TEST(queues_wrap_many_times)
{
	struct ring r;
	uint64_t sent = 0;

	ring_init(&r, 8, 0);
	for (unsigned round = 0; round < 2000; round++) {
		unsigned n = 1 + round % 8;

		for (unsigned i = 0; i < n; i++)
			ring_nop(&r, sent + i);
		EXPECT_EQ(ring_submit(&r), n);
		reap_in_order(&r, sent, sent + n);
		sent += n;
	}
	ring_note_words(&r);
}

TEST(one_entry_ring_wraps)
{
	struct ring r;

	init_cq(&r, 1, 1, 0);
	for (uint64_t i = 0; i < 300; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit_wait(&r, 1), 1);
		reap_in_order(&r, i, i + 1);
	}
	ring_note_words(&r);
}

TEST(to_submit_beyond_the_queued)
{
	struct ring r;

	ring_init(&r, 8, 0);
	ring_nop(&r, 0);
	ring_nop(&r, 1);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 100, 0, 0), 2);
	EXPECT_EQ(enter(r.fd, UINT32_MAX, 0, 0), 0);
	reap_in_order(&r, 0, 2);
}

TEST(to_submit_below_the_queued)
{
	struct ring r;

	ring_init(&r, 8, 0);
	for (uint64_t i = 0; i < 5; i++)
		ring_nop(&r, i);
	ring_store_tail(&r);
	EXPECT_EQ(enter(r.fd, 2, 0, 0), 2);
	ring_note_words(&r);
	EXPECT_EQ(enter(r.fd, 0, 0, 0), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	ring_note_words(&r);
	EXPECT_EQ(enter(r.fd, 3, 0, 0), 3);
	reap_in_order(&r, 0, 5);
}

TEST(full_cq_keeps_a_backlog)
{
	struct ring r;

	init_cq(&r, 4, 4, 0);
	for (uint64_t i = 0; i < 10; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	EXPECT_EQ(ring_ready(&r), 4);
	EXPECT_EQ(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW, IORING_SQ_CQ_OVERFLOW);
	ring_note_words(&r);
	reap_in_order(&r, 0, 4);
	/* nothing moves by itself: the flush is the next enter for events */
	EXPECT_EQ(ring_ready(&r), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	ring_note_words(&r);
	reap_in_order(&r, 4, 8);
	EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS), 0);
	ring_note_words(&r);
	EXPECT_EQ(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW, 0);
	reap_in_order(&r, 8, 10);
}

TEST(flag_is_clear_until_the_cq_is_overfull)
{
	struct ring r;

	init_cq(&r, 4, 4, 0);
	for (uint64_t i = 0; i < 4; i++)
		ring_nop(&r, i);
	EXPECT_EQ(ring_submit(&r), 4);
	ring_note_words(&r);
	EXPECT_EQ(atomic_load(r.sq_flags), 0);
	ring_nop(&r, 4);
	EXPECT_EQ(ring_submit(&r), 1);
	ring_note_words(&r);
}

/* With a backlog, a new completion may not overtake it, room or not. */
TEST(backlog_is_not_overtaken)
{
	struct ring r;

	init_cq(&r, 2, 2, 0);
	for (uint64_t i = 0; i < 3; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	reap_in_order(&r, 0, 2);
	ring_nop(&r, 3);
	EXPECT_EQ(ring_submit(&r), 1);
	note("ready %u", ring_ready(&r));
	EXPECT_EQ(enter(r.fd, 0, 2, GETEVENTS), 0);
	reap_in_order(&r, 2, 4);
	ring_note_words(&r);
}

TEST(enter_without_getevents_does_not_flush)
{
	struct ring r;

	init_cq(&r, 2, 2, 0);
	for (uint64_t i = 0; i < 3; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	reap_in_order(&r, 0, 2);
	EXPECT_EQ(enter(r.fd, 0, 0, 0), 0);
	ring_note_words(&r);
}

TEST(flush_goes_as_far_as_there_is_room)
{
	struct ring r;
	struct cqe cqe;

	init_cq(&r, 4, 4, 0);
	for (uint64_t i = 0; i < 8; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit(&r), 1);
	}
	EXPECT(ring_reap(&r, &cqe));
	EXPECT_EQ(cqe.user_data, 0);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	ring_note_words(&r);
	reap_in_order(&r, 1, 5);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	ring_note_words(&r);
	reap_in_order(&r, 5, 8);
}

TEST(a_batch_that_overflows_midway)
{
	struct ring r;

	init_cq(&r, 8, 8, 0);
	for (uint64_t i = 0; i < 8; i++)
		ring_nop(&r, i);
	EXPECT_EQ(ring_submit(&r), 8);
	reap_in_order(&r, 0, 3);
	for (uint64_t i = 8; i < 16; i++)
		ring_nop(&r, i);
	EXPECT_EQ(ring_submit(&r), 8);
	ring_note_words(&r);
	reap_in_order(&r, 3, 11);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	reap_in_order(&r, 11, 16);
	ring_note_words(&r);
}

TEST(a_long_backlog_loses_nothing)
{
	struct ring r;
	uint64_t got = 0;

	init_cq(&r, 64, 64, 0);
	for (uint64_t i = 0; i < 64 * 50; i++) {
		ring_nop(&r, i);
		if (ring_queued(&r) == 64 || (i % 64) == 63)
			EXPECT_EQ(ring_submit(&r), 64);
	}
	while (got < 64 * 50) {
		uint64_t n = ring_ready(&r);

		reap_in_order(&r, got, got + n);
		got += n;
		EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	}
	EXPECT_EQ(ring_ready(&r), 0);
	ring_note_words(&r);
}

TEST(submission_goes_on_while_the_cq_is_full)
{
	struct ring r;

	init_cq(&r, 2, 2, 0);
	for (uint64_t i = 0; i < 6; i++) {
		ring_nop(&r, i);
		EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	}
	ring_note_words(&r);
}
