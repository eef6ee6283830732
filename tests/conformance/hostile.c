/* SPDX-License-Identifier: Apache-2.0 */
/* A client that writes what it must not: headers, heads, tails. The ring it hurts is its own. */
#include "harness.h"

static void nop_now(struct ring *r, uint64_t user_data)
{
	ring_nop(r, user_data);
	EXPECT_EQ(ring_submit(r), 1);
}

static void init_cq(struct ring *r, unsigned entries, unsigned cq_entries)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_CQSIZE;
	p.cq_entries = cq_entries;
	ring_init_params(r, entries, &p);
}

/* Whatever was done to one ring: a new one works. */
static void others_go_on(void)
{
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	EXPECT_EQ(ring_submit_wait(&r, 1), 1);
	EXPECT(ring_reap(&r, &cqe));
	ring_close(&r);
	note("another ring works");
}

/* The SQ head is the kernel's to write; what a client writes there is overwritten, never read. */
TEST(sq_head_is_not_read)
{
	static const uint32_t values[] = {1, 3, 0x7fffffff, UINT32_MAX};
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 4; i++) {
		ring_nop(&r, i);
		ring_store_tail(&r);
		atomic_store(r.sq_head, values[i]);
		EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
		ring_note_words(&r);
		EXPECT_EQ(atomic_load(r.sq_head), i + 1);
	}
	others_go_on();
}

TEST(cq_tail_is_not_read_by_a_submission)
{
	static const uint32_t values[] = {77, 0x80000000u, UINT32_MAX};
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 3; i++) {
		ring_nop(&r, 10 + i);
		ring_store_tail(&r);
		atomic_store(r.cq_tail, values[i]);
		EXPECT_EQ(enter(r.fd, 1, 0, 0), 1);
		EXPECT_EQ(atomic_load(r.cq_tail), i + 1);
		EXPECT_EQ(r.cqes[i].user_data, 10 + i);
		ring_note_words(&r);
	}
	others_go_on();
}

/* Masks and sizes are there to be read by the client: nobody else believes them. */
TEST(masks_and_sizes_are_not_read)
{
	struct ring r;

	ring_init(&r, 4, 0);
	atomic_store(r.sq_mask, UINT32_MAX);
	atomic_store(r.sq_entries, UINT32_MAX);
	atomic_store(r.cq_mask, UINT32_MAX);
	atomic_store(r.cq_entries, 1u << 31);
	for (uint64_t i = 0; i < 50; i++) {
		struct cqe cqe;

		nop_now(&r, i);
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	atomic_store(r.sq_mask, 0);
	atomic_store(r.sq_entries, 0);
	atomic_store(r.cq_mask, 0);
	atomic_store(r.cq_entries, 0);
	for (uint64_t i = 0; i < 50; i++) {
		struct cqe cqe;

		nop_now(&r, i);
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	EXPECT_EQ(enter(r.fd, 100, 0, 0), 0);
	ring_note_words(&r);
	others_go_on();
}

TEST(dropped_and_overflow_are_the_clients_to_reset)
{
	struct ring r;

	ring_init(&r, 4, 0);
	ring_nop(&r, 1);
	r.array[0] = 99;
	ring_submit(&r);
	EXPECT_EQ(atomic_load(r.sq_dropped), 1);
	atomic_store(r.sq_dropped, 1000);
	ring_nop(&r, 2);
	r.array[1] = 99;
	ring_submit(&r);
	note("dropped %u", atomic_load(r.sq_dropped));
	EXPECT_EQ(atomic_load(r.sq_dropped), 1001);
	atomic_store(r.cq_overflow, 55);
	nop_now(&r, 3);
	ring_note_words(&r);
}

/* A tail far ahead: at most what the SQ holds is taken, once. */
TEST(sq_tail_far_ahead)
{
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 4; i++)
		ring_nop(&r, i);
	atomic_store(r.sq_tail, 1000);
	EXPECT_EQ(enter(r.fd, UINT32_MAX, 0, 0), 4);
	ring_note_words(&r);
	EXPECT_EQ(enter(r.fd, 3, 0, 0), 3);
	ring_note_words(&r);
	others_go_on();
}

TEST(sq_tail_behind_the_head)
{
	struct ring r;

	ring_init(&r, 4, 0);
	nop_now(&r, 1);
	nop_now(&r, 2);
	atomic_store(r.sq_tail, 1); /* 2^32 - 1 entries, it says */
	EXPECT_EQ(enter(r.fd, UINT32_MAX, 0, 0), 4);
	ring_note_words(&r);
	others_go_on();
}

TEST(sq_tail_at_every_power_of_two)
{
	struct ring r;
	int sum = 0;

	init_cq(&r, 4, 1024);
	for (unsigned bit = 0; bit < 32; bit++) {
		int ret;

		atomic_store(r.sq_tail, 1u << bit);
		ret = enter(r.fd, 4, 0, 0);
		EXPECT(ret >= 0 && ret <= 4);
		note("tail 2^%u: %d", bit, ret);
		sum += ret;
	}
	EXPECT_EQ(atomic_load(r.sq_head), sum);
	ring_note_words(&r);
	others_go_on();
}

/* A CQ head ahead of the tail looks like a full queue: completions go to the backlog and wait. */
TEST(cq_head_ahead_of_the_tail)
{
	struct ring r;
	struct cqe cqe;

	ring_init(&r, 4, 0);
	atomic_store(r.cq_head, 5);
	nop_now(&r, 1);
	nop_now(&r, 2);
	ring_note_words(&r);
	EXPECT_EQ(atomic_load(r.sq_flags) & IORING_SQ_CQ_OVERFLOW, IORING_SQ_CQ_OVERFLOW);
	atomic_store(r.cq_head, 0);
	EXPECT_EQ(enter(r.fd, 0, 2, GETEVENTS), 0);
	ring_note_words(&r);
	for (uint64_t i = 1; i <= 2; i++) {
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	others_go_on();
}

TEST(cq_head_far_behind_the_tail)
{
	struct ring r;

	ring_init(&r, 4, 0);
	for (unsigned i = 0; i < 6; i++) {
		struct cqe cqe;

		nop_now(&r, i);
		EXPECT(ring_reap(&r, &cqe));
	}
	atomic_store(r.cq_head, (uint32_t)-100);
	nop_now(&r, 6);
	ring_note_words(&r);
	atomic_store(r.cq_head, 6);
	EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS), 0);
	EXPECT_EQ(r.cqes[6].user_data, 6);
	ring_note_words(&r);
}

/* CQEs are the kernel's to write, and only to write. */
TEST(garbage_in_the_cqes)
{
	struct ring r;

	ring_init(&r, 4, 0);
	memset(r.cqes, 0xee, r.p.cq_entries * sizeof(*r.cqes));
	for (uint64_t i = 0; i < r.p.cq_entries; i++)
		nop_now(&r, i);
	for (uint64_t i = 0; i < r.p.cq_entries; i++) {
		EXPECT_EQ(r.cqes[i].user_data, i);
		EXPECT_EQ(r.cqes[i].res, 0);
		EXPECT_EQ(r.cqes[i].flags, 0);
	}
	note("all overwritten");
}

static uint32_t next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 7;
}

/* SQEs of noise, of no opcode there is: each is answered, once. */
TEST(noise_in_the_sqes)
{
	struct ring r;
	uint32_t seed = 4711;

	init_cq(&r, 16, 4096);
	for (unsigned i = 0; i < 512; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&r);
		struct cqe cqe;

		EXPECT(sqe != NULL);
		for (size_t k = 0; k < sizeof(*sqe); k++)
			((unsigned char *)sqe)[k] = (unsigned char)next(&seed);
		sqe->opcode |= 0x80;
		sqe->flags &= IOSQE_ASYNC | IOSQE_FIXED_FILE; /* links would hold the next one back */
		sqe->user_data = i;
		EXPECT_EQ(ring_submit(&r), 1);
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
		EXPECT_EQ(cqe.res, -EINVAL);
	}
	ring_note_words(&r);
	others_go_on();
}

/* READVs of noise: what comes back varies, that all come back does not. */
TEST(noise_in_readv)
{
	struct ring r;
	uint32_t seed = 42;

	init_cq(&r, 16, 4096);
	for (unsigned i = 0; i < 512; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&r);
		struct cqe cqe;

		EXPECT(sqe != NULL);
		for (size_t k = 0; k < sizeof(*sqe); k++)
			((unsigned char *)sqe)[k] = (unsigned char)next(&seed);
		sqe->opcode = IORING_OP_READV;
		sqe->flags = 0;
		sqe->user_data = i;
		sqe->fd = -1 - (int)(next(&seed) & 0xffff);
		EXPECT_EQ(ring_submit_wait(&r, 1), 1);
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
		EXPECT(cqe.res < 0);
	}
	ring_note_words(&r);
	others_go_on();
}

/* Both headers full of noise, again and again: enter answers, the process lives, others go on. */
TEST(noise_in_the_headers)
{
	struct ring r;
	uint32_t seed = 99;

	ring_init(&r, 8, 0);
	for (unsigned i = 0; i < 300; i++) {
		for (size_t k = 0; k < r.p.cq_off.cqes / 4; k++)
			((uint32_t *)(void *)r.rings)[k] = next(&seed) << (seed >> 30) * 8;
		EXPECT_LE(enter(r.fd, next(&seed) & 15, 0, 0), 8);
	}
	others_go_on();
}

struct scribbler {
	struct ring *r;
	atomic_bool stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint32_t seed = 7;

	while (!atomic_load(&s->stop)) {
		atomic_store(s->r->sq_tail, next(&seed));
		atomic_store(s->r->cq_head, next(&seed));
		atomic_store(s->r->sq_head, next(&seed));
		atomic_store(s->r->cq_tail, next(&seed));
		s->r->array[next(&seed) & 7] = next(&seed) & 15;
		s->r->sqes[next(&seed) & 7].user_data = next(&seed);
	}
	return NULL;
}

TEST(words_change_while_the_ring_is_processed)
{
	struct ring r;
	struct scribbler s = {&r, false};
	pthread_t t;

	ring_init(&r, 8, 0);
	EXPECT_EQ(pthread_create(&t, NULL, scribble, &s), 0);
	for (unsigned i = 0; i < 500; i++) {
		int ret = enter(r.fd, 8, 0, i & 1 ? GETEVENTS : 0);

		EXPECT_LE(ret, 8);
		EXPECT_GE(ret, -EAGAIN);
	}
	atomic_store(&s.stop, true);
	EXPECT_EQ(pthread_join(t, NULL), 0);
	others_go_on();
}

/* The SQE is copied once: changing it after the submission changes nothing. */
TEST(sqe_changed_while_pending)
{
	static char a, b;
	struct iovec iov = {&a, 1}, other = {&b, 1};
	struct ring r;
	struct cqe cqe;
	int p[2];

	OK(pipe(p));
	ring_init(&r, 4, 0);
	ring_readv(&r, p[0], &iov, 1, 0, 1);
	EXPECT_EQ(ring_submit(&r), 1);
	for (unsigned i = 0; i < 4; i++) {
		r.sqes[i].opcode = IORING_OP_NOP;
		r.sqes[i].fd = -1;
		r.sqes[i].addr = (uint64_t)(uintptr_t)&other;
		r.sqes[i].user_data = 666;
	}
	OK(write(p[1], "x", 1));
	cqe = ring_wait(&r);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
	EXPECT(cqe.user_data == 1 && cqe.res == 1 && a == 'x' && b == 0);
}
