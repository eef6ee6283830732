/* SPDX-License-Identifier: Apache-2.0 */
/* IORING_SETUP_NO_MMAP: rings in the client's own memory; IORING_SETUP_REGISTERED_FD_ONLY. */
#include "harness.h"
#include "uapi_extra.h"

#define REGISTERED_FD_ONLY (1U << 15)
#define RESIZE (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_NO_SQARRAY)

static void set_user_addr(struct io_uring_params *p, const void *rings, const void *sqes)
{
	uint64_t at[2] = {(uintptr_t)rings, (uintptr_t)sqes};

	memcpy((char *)&p->cq_off + 32, &at[0], 8);
	memcpy((char *)&p->sq_off + 32, &at[1], 8);
}

static uint64_t user_addr(const void *offsets)
{
	uint64_t at;

	memcpy(&at, (const char *)offsets + 32, 8);
	return at;
}

static int try(unsigned entries, unsigned flags, const void *rings, const void *sqes)
{
	struct io_uring_params p;
	int fd;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_NO_MMAP | flags;
	set_user_addr(&p, rings, sqes);
	fd = sys_setup(entries, &p);
	if (fd >= 0)
		OK(close(fd));
	return fd < 0 ? fd : 0;
}

static void point(struct ring *r, char *rings, char *sqes)
{
	const struct io_sqring_offsets *sq = &r->p.sq_off;
	const struct io_cqring_offsets *cq = &r->p.cq_off;

	r->rings = r->cq_map = rings;
	r->sqes = (void *)sqes;
	r->sq_head = (void *)(rings + sq->head);
	r->sq_tail = (void *)(rings + sq->tail);
	r->sq_flags = (void *)(rings + sq->flags);
	r->sq_dropped = (void *)(rings + sq->dropped);
	r->sq_mask = (void *)(rings + sq->ring_mask);
	r->sq_entries = (void *)(rings + sq->ring_entries);
	r->cq_head = (void *)(rings + cq->head);
	r->cq_tail = (void *)(rings + cq->tail);
	r->cq_overflow = (void *)(rings + cq->overflow);
	r->cq_mask = (void *)(rings + cq->ring_mask);
	r->cq_entries = (void *)(rings + cq->ring_entries);
	r->cqes = (void *)(rings + cq->cqes);
	r->array = r->p.flags & IORING_SETUP_NO_SQARRAY ? NULL : (void *)(rings + sq->array);
	r->tail = atomic_load(r->sq_tail);
}

static void make(struct ring *r, unsigned entries, unsigned flags, char *rings, char *sqes)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = IORING_SETUP_NO_MMAP | flags;
	set_user_addr(&r->p, rings, sqes);
	r->fd = sys_setup(entries, &r->p);
	if (r->fd < 0)
		FAIL("setup: %s", strerror(-r->fd));
	note("flags 0x%x array %u cqes %u", r->p.flags, r->p.sq_off.array, r->p.cq_off.cqes);
	EXPECT_EQ(user_addr(&r->p.cq_off), (uintptr_t)rings);
	EXPECT_EQ(user_addr(&r->p.sq_off), (uintptr_t)sqes);
	point(r, rings, sqes);
}

static char *pages(unsigned n)
{
	return map_pages(n, PROT_READ | PROT_WRITE);
}

static void some_nops(struct ring *r, unsigned n)
{
	struct cqe cqe;

	for (unsigned i = 0; i < n; i++) {
		ring_nop(r, i);
		EXPECT_EQ(ring_submit_wait(r, 1), 1);
		EXPECT(ring_reap(r, &cqe));
		EXPECT_EQ(cqe.user_data, i);
	}
	ring_note_words(r);
}

TEST(a_small_ring)
{
	struct ring r;

	make(&r, 8, 0, pages(1), pages(1));
	some_nops(&r, 50);
}

TEST(without_an_index_array)
{
	struct ring r;

	make(&r, 8, IORING_SETUP_NO_SQARRAY, pages(1), pages(1));
	some_nops(&r, 50);
}

TEST(of_many_pages)
{
	struct ring r;

	make(&r, 4096, 0, pages(4096 * 2 * 16 / PAGE + 5), pages(64));
	for (unsigned i = 0; i < 4096; i++)
		ring_nop(&r, i);
	EXPECT_EQ(ring_submit(&r), 4096);
	EXPECT_EQ(ring_ready(&r), 4096);
	EXPECT_EQ(r.cqes[4095].user_data, 4095);
	ring_note_words(&r);
}

/* All in one piece, as liburing has it */
TEST(one_behind_the_other)
{
	char *at = pages(3);
	struct ring r;

	make(&r, 8, 0, at + PAGE, at);
	at[2 * PAGE] = 'x';
	some_nops(&r, 20);
	EXPECT_EQ(at[2 * PAGE], 'x');
	EXPECT_EQ(at[2 * PAGE + 1], 0);
}

/* The header is made anew; whatever else the memory holds, it keeps. */
TEST(the_memory_keeps_what_it_holds)
{
	char *rings = pages(1), *sqes = pages(1);
	struct ring r;

	memset(rings, 0x5a, PAGE);
	memset(sqes, 0xa5, PAGE);
	make(&r, 8, 0, rings, sqes);
	ring_note_words(&r);
	note("array %x, cqe %llx, sqe %llx, behind them %x %x", r.array[7], (unsigned long long)r.cqes[15].user_data,
	     (unsigned long long)r.sqes[7].user_data, (unsigned char)rings[PAGE - 1], (unsigned char)sqes[PAGE - 1]);
	memset(sqes, 0, PAGE);
	some_nops(&r, 3);
	note("cqe %llx", (unsigned long long)r.cqes[15].user_data);
}

TEST(entries_of_other_sizes)
{
	char *rings = pages(2), *sqes = pages(2);
	struct ring r;

	memset(rings, 1, 2 * PAGE);
	memset(sqes, 2, 2 * PAGE);
	make(&r, 16, IORING_SETUP_SQE128 | IORING_SETUP_CQE32, rings, sqes);
	for (unsigned i = 0; i < 4; i++) {
		struct io_uring_sqe *sqe = memset(sqes + i * 128, 0, 128);

		sqe->opcode = IORING_OP_NOP;
		sqe->user_data = 100 + i;
		r.array[i] = i;
	}
	atomic_store(r.sq_tail, 4);
	EXPECT_EQ(enter(r.fd, 4, 4, GETEVENTS), 4);
	for (unsigned i = 0; i < 4; i++)
		note("%llu", *(unsigned long long *)((char *)r.cqes + i * 32));
}

TEST(memory_that_is_refused)
{
	char *good = pages(2);

	note("both null: %d", try(8, 0, NULL, NULL));
	note("no rings: %d", try(8, 0, NULL, good));
	note("no sqes: %d", try(8, 0, good, NULL));
	note("unaligned rings: %d", try(8, 0, good + 64, good + PAGE));
	note("unaligned sqes: %d", try(8, 0, good, good + PAGE + 8));
	note("not there: %d", try(8, 0, (void *)PAGE, good));
	note("read-only: %d", try(8, 0, good, map_pages(1, PROT_READ)));
	note("a hole behind: %d", try(1024, 0, map_then_hole(1), pages(16)));
	note("a hole behind the SQEs: %d", try(128, 0, pages(3), map_then_hole(1)));
	note("the kernel's: %d", try(8, 0, (void *)0xffff888000000000UL, good));
	note("the end: %d", try(8, 0, (void *)-4096UL, good));
	note("no entries: %d", try(0, 0, NULL, NULL));
	note("unknown flags: %d", try(8, 1U << 31, NULL, NULL));
	EXPECT_EQ(try(8, 0, good, good + PAGE), 0);
}

TEST(a_ring_of_the_kernels_has_no_user_addr)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	set_user_addr(&p, (void *)0x1000, (void *)0x2000);
	EXPECT_GE(sys_setup(8, &p), 0);
	note("%llx %llx", (unsigned long long)user_addr(&p.cq_off), (unsigned long long)user_addr(&p.sq_off));
}

TEST(the_memory_outlives_the_ring)
{
	struct ring r;

	make(&r, 8, 0, pages(1), pages(1));
	some_nops(&r, 3);
	OK(close(r.fd));
	ring_note_words(&r);
	ring_nop(&r, 7);
	note("%llu", (unsigned long long)r.sqes[r.array[3]].user_data);
}

TEST(polled)
{
	struct ring r;
	struct cqe cqe;

	make(&r, 8, IORING_SETUP_SQPOLL, pages(1), pages(1));
	ring_nop(&r, 5);
	ring_store_tail(&r);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(r.sq_flags) & IORING_SQ_NEED_WAKEUP)
		EXPECT_EQ(enter(r.fd, 0, 0, IORING_ENTER_SQ_WAKEUP), 0);
	EXPECT_EQ(enter(r.fd, 0, 1, GETEVENTS), 0);
	EXPECT(ring_reap(&r, &cqe));
	note("%llu", (unsigned long long)cqe.user_data);
}

TEST(resized_into_other_memory)
{
	char *rings = pages(2), *sqes = pages(2);
	struct io_uring_params p;
	struct ring r;
	struct cqe cqe;

	make(&r, 8, RESIZE, pages(1), pages(1));
	some_nops(&r, 5);
	for (unsigned i = 0; i < 3; i++)
		ring_nop(&r, 40 + i);
	EXPECT_EQ(ring_submit(&r), 3);
	memset(&p, 0, sizeof(p));
	p.sq_entries = 64;
	set_user_addr(&p, rings + 1, sqes);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_RESIZE_RINGS, &p, 1), -EINVAL);
	set_user_addr(&p, NULL, sqes);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_RESIZE_RINGS, &p, 1), -EFAULT);
	set_user_addr(&p, rings, sqes);
	EXPECT_EQ(sys_register(r.fd, IORING_REGISTER_RESIZE_RINGS, &p, 1), 0);
	r.p = p;
	point(&r, rings, sqes);
	ring_note_words(&r);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(ring_reap(&r, &cqe));
		EXPECT_EQ(cqe.user_data, 40 + i);
	}
	for (unsigned i = 0; i < 64; i++)
		ring_nop(&r, i);
	EXPECT_EQ(ring_submit(&r), 64);
	EXPECT_EQ(ring_ready(&r), 64);
}

/* ---- no descriptor ---- */

static int file; /* of uringfs: what a control write goes to */

static int registered(unsigned entries, struct io_uring_params *p)
{
	char path[4096];
	int ret;

	if (!on_uringfs())
		return sys_setup(entries, p);
	snprintf(path, sizeof(path), "%s/new", getenv("URINGFS_DIR"));
	file = (int)OK(uringfs_open(path));
	ret = uringfs_setup(file, entries, p);
	return ret < 0 ? -errno : ret;
}

static struct io_uring_params only(void)
{
	struct io_uring_params p;

	memset(&p, 0, sizeof(p));
	p.flags = IORING_SETUP_NO_MMAP | REGISTERED_FD_ONLY;
	set_user_addr(&p, pages(1), pages(1));
	return p;
}

TEST(registered_only)
{
	for (int i = 0; i < 3; i++) {
		struct ring r;
		struct cqe cqe;
		int index;

		memset(&r, 0, sizeof(r));
		r.p = only();
		index = registered(8, &r.p);
		note("index %d, flags 0x%x", index, r.p.flags);
		point(&r, (void *)(uintptr_t)user_addr(&r.p.cq_off), (void *)(uintptr_t)user_addr(&r.p.sq_off));
		ring_nop(&r, 5);
		ring_store_tail(&r);
		EXPECT_EQ(enter(on_uringfs() ? file : index, 1, 1, GETEVENTS | IORING_ENTER_REGISTERED_RING), 1);
		EXPECT(ring_reap(&r, &cqe));
		note("%llu", (unsigned long long)cqe.user_data);
	}
}

TEST(no_more_than_there_is_room)
{
	struct io_uring_params p;

	for (int i = 0; i < 17; i++) {
		p = only();
		note("%d", registered(1, &p));
	}
}

TEST(registered_only_needs_memory_of_the_clients)
{
	struct io_uring_params p = only();

	p.flags = REGISTERED_FD_ONLY;
	EXPECT_EQ(sys_setup(8, &p), -EINVAL);
	p.flags |= IORING_SETUP_NO_MMAP;
	set_user_addr(&p, NULL, NULL);
	EXPECT_EQ(sys_setup(8, &p), -EFAULT);
}
