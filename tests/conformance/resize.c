/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_REGISTER_RESIZE_RINGS. */
#include "harness.h"
#include "uapi_extra.h"

/* Without an index array, as liburing does it: a resized one's offset is not told by every kernel. */
#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY)

static int resize(struct ring *r, unsigned sq, unsigned cq, unsigned flags, struct io_uring_params *p)
{
	memset(p, 0, sizeof(*p));
	p->sq_entries = sq;
	p->cq_entries = cq;
	p->flags = flags;
	return sys_register(r->fd, IORING_REGISTER_RESIZE_RINGS, p, 1);
}

/* As liburing: map anew, with the new sizes. */
static void remap(struct ring *r, const struct io_uring_params *p)
{
	uint32_t tail = r->tail;

	ring_unmap(r);
	r->p.sq_entries = p->sq_entries;
	r->p.cq_entries = p->cq_entries;
	r->p.sq_off = p->sq_off;
	r->p.cq_off = p->cq_off;
	ring_map(r, MAP_SHARED | MAP_POPULATE);
	r->tail = tail;
}

static int resized(struct ring *r, unsigned sq, unsigned cq)
{
	struct io_uring_params p;
	int ret = resize(r, sq, cq, cq ? IORING_SETUP_CQSIZE : 0, &p);

	if (ret == 0) {
		note("%u %u: array %u cqes %u", p.sq_entries, p.cq_entries, p.sq_off.array, p.cq_off.cqes);
		remap(r, &p);
	}
	return ret;
}

static void note_words(struct ring *r)
{
	note("sq %u %u %u %u, cq %u %u %u %u", atomic_load(r->sq_head), atomic_load(r->sq_tail),
	     atomic_load(r->sq_mask), atomic_load(r->sq_entries), atomic_load(r->cq_head), atomic_load(r->cq_tail),
	     atomic_load(r->cq_mask), atomic_load(r->cq_entries));
}

static void nops(struct ring *r, unsigned n, uint64_t from)
{
	for (unsigned i = 0; i < n; i++)
		ring_nop(r, from + i);
	EXPECT_EQ(ring_submit(r), n);
}

static void reap_all(struct ring *r)
{
	struct cqe cqe;

	while (ring_reap(r, &cqe))
		note("cqe %llu", (unsigned long long)cqe.user_data);
}

TEST(larger)
{
	struct ring r;

	ring_init(&r, 4, DEFER);
	nops(&r, 3, 1);
	EXPECT_EQ(resized(&r, 32, 0), 0);
	note_words(&r);
	reap_all(&r);
	nops(&r, 32, 100);
	reap_all(&r);
}

TEST(smaller)
{
	struct ring r;

	ring_init(&r, 32, DEFER);
	nops(&r, 7, 1);
	EXPECT_EQ(resized(&r, 2, 8), 0);
	note_words(&r);
	reap_all(&r);
	nops(&r, 2, 50);
	reap_all(&r);
}

TEST(too_small_for_what_is_there)
{
	struct ring r;

	ring_init(&r, 8, DEFER);
	nops(&r, 7, 1);
	EXPECT_EQ(resized(&r, 2, 4), -EOVERFLOW);
	note_words(&r);
	nops(&r, 8, 20);
	reap_all(&r);
}

TEST(behind_a_wrap)
{
	struct ring r;

	ring_init(&r, 4, DEFER);
	for (int i = 0; i < 5; i++) {
		nops(&r, 3, 10 * (unsigned)i);
		reap_all(&r);
	}
	nops(&r, 4, 100);
	EXPECT_EQ(resized(&r, 16, 0), 0);
	reap_all(&r);
	nops(&r, 16, 200);
	EXPECT_EQ(resized(&r, 4, 32), 0);
	reap_all(&r);
	nops(&r, 4, 300);
	reap_all(&r);
}

TEST(queued_requests_stay)
{
	struct ring r;

	ring_init(&r, 4, DEFER);
	nops(&r, 3, 1);
	ring_nop(&r, 7);
	ring_nop(&r, 8);
	ring_store_tail(&r);
	EXPECT_EQ(resized(&r, 16, 0), 0);
	EXPECT_EQ(enter(r.fd, 2, 0, 0), 2);
	reap_all(&r);
}

TEST(the_backlog_moves_in)
{
	struct ring r;

	ring_init(&r, 2, DEFER);
	nops(&r, 2, 1);
	nops(&r, 2, 3);
	nops(&r, 2, 5);
	EXPECT_EQ(ring_ready(&r), 4);
	EXPECT_EQ(resized(&r, 16, 0), 0);
	EXPECT_EQ(enter(r.fd, 0, 0, GETEVENTS), 0);
	reap_all(&r);
}

TEST(what_is_refused)
{
	struct io_uring_params p;
	struct ring plain, r;

	ring_init(&plain, 4, 0);
	EXPECT_EQ(resize(&plain, 8, 0, 0, &p), -EINVAL);
	EXPECT_EQ(sys_register(plain.fd, IORING_REGISTER_RESIZE_RINGS, (void *)8, 1), -EINVAL);
	ring_init(&r, 4, DEFER);
	EXPECT_EQ(resize(&r, 0, 0, 0, &p), -EINVAL);
	EXPECT_EQ(resize(&r, 40000, 0, 0, &p), -EINVAL);
	EXPECT_EQ(resize(&r, 8, 4, IORING_SETUP_CQSIZE, &p), -EINVAL);
	EXPECT_EQ(resize(&r, 8, 0, IORING_SETUP_CQSIZE, &p), -EINVAL);
	EXPECT_EQ(resize(&r, 8, 0, IORING_SETUP_SUBMIT_ALL, &p), -EINVAL);
	EXPECT_EQ(resize(&r, 8, 0, IORING_SETUP_SQE128, &p), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_RESIZE_RINGS, NULL, 1), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_RESIZE_RINGS, &p, 2), -EINVAL);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_RESIZE_RINGS, (void *)8, 1), -EFAULT);
	nops(&r, 4, 1);
	reap_all(&r);
}

TEST(clamped)
{
	struct io_uring_params p;
	struct ring r;

	ring_init(&r, 4, DEFER);
	EXPECT_EQ(resize(&r, 40000, 0, IORING_SETUP_CLAMP, &p), 0);
	note("%u %u", p.sq_entries, p.cq_entries);
	remap(&r, &p);
	nops(&r, 1000, 1);
	EXPECT_EQ(ring_ready(&r), 1000);
}
