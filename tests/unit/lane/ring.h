/* SPDX-License-Identifier: Apache-2.0 */
/* A ring without a mount: its memory, the program's side of the queues, and a daemon that is only looked at. */
#ifndef TEST_LANE_RING_H
#define TEST_LANE_RING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define URINGFS_LANE
#include "../../../contrib/uringfs.h"

#define UNUSED __attribute__((unused))
#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			exit(1);                                                   \
		}                                                                  \
	} while (0)
#define CHECK_EQ(a, b)                                                                                  \
	do {                                                                                            \
		long a_ = (long)(a), b_ = (long)(b);                                                    \
		if (a_ != b_) {                                                                         \
			fprintf(stderr, "%s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #a, a_, b_); \
			exit(1);                                                                        \
		}                                                                                       \
	} while (0)

struct ring {
	struct lane lane;
	struct lane_host host;
	size_t size, sqes_size;
	uint32_t reaped; /* CQEs */
	unsigned kicks;
	uint64_t made; /* user_data of the next request */
};

static struct ring *ring_of(struct lane *l)
{
	return (struct ring *)(void *)l;
}

static void count_kick(struct lane *l)
{
	__atomic_fetch_add(&ring_of(l)->kicks, 1, __ATOMIC_RELAXED);
}

static char *ring_memory(size_t size)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	return at;
}

/* All opcodes and flags are allowed. The index array is permuted: entry i of the SQ holds SQE entries - 1 - i. */
static void ring_make(struct ring *r, uint32_t sq_entries, uint32_t cq_entries, uint32_t flags)
{
	struct lane *l = &r->lane;

	memset(r, 0, sizeof(*r));
	r->host = lane_client_host;
	r->host.kick = count_kick;
	l->host = &r->host;
	l->holder = 1;
	l->fd = -1;
	l->setup_flags = flags;
	l->sq_entries = sq_entries;
	l->cq_entries = cq_entries;
	l->sqe_size = flags & IORING_SETUP_SQE128 ? 128 : 64;
	l->cqe_size = flags & IORING_SETUP_CQE32 ? 32 : 16;
	r->size = LANE_CQES + (size_t)cq_entries * l->cqe_size;
	if (!(flags & IORING_SETUP_NO_SQARRAY)) {
		l->sq_array = (uint32_t)r->size;
		r->size += 4 * sq_entries;
	}
	r->sqes_size = (size_t)sq_entries * l->sqe_size;
	l->page = (struct uringfs_lane *)(void *)ring_memory(URINGFS_LANE_SIZE);
	l->rings = ring_memory(r->size);
	l->mirror = ring_memory(r->size);
	l->sqes = ring_memory(r->sqes_size);
	l->page->version = URINGFS_LANE_VERSION;
	l->page->ops[0] = l->page->ops[1] = UINT32_MAX;
	l->page->sqe_flags = UINT32_MAX;
	for (uint32_t i = 0; l->sq_array && i < sq_entries; i++)
		((uint32_t *)(void *)(l->rings + l->sq_array))[i] = sq_entries - 1 - i;
}

UNUSED static void ring_free(struct ring *r)
{
	munmap(r->lane.page, URINGFS_LANE_SIZE);
	munmap(r->lane.rings, r->size);
	munmap(r->lane.mirror, r->size);
	munmap(r->lane.sqes, r->sqes_size);
}

/* The next SQE, zeroed but for opcode, fd and user_data, which counts from 1; queued. */
static struct io_uring_sqe *ring_sqe(struct ring *r, uint8_t opcode, int fd)
{
	struct lane *l = &r->lane;
	uint32_t tail = lane_word(l->rings, LANE_SQ_TAIL), index = tail & (l->sq_entries - 1);
	struct io_uring_sqe *sqe;

	CHECK(tail - lane_word(l->rings, LANE_SQ_HEAD) < l->sq_entries);
	if (l->sq_array)
		index = l->sq_entries - 1 - index;
	sqe = (struct io_uring_sqe *)(void *)(l->sqes + (size_t)index * l->sqe_size);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->user_data = ++r->made;
	lane_set_word(l->rings, LANE_SQ_TAIL, tail + 1);
	return sqe;
}

/* True: it needed no daemon. *taken: SQEs. */
static bool ring_enter_wait(struct ring *r, uint32_t to_submit, uint32_t min_complete, uint32_t *taken)
{
	struct lane_call c = {-1,
			      to_submit,
			      min_complete,
			      min_complete ? IORING_ENTER_GETEVENTS : 0,
			      NULL,
			      0,
			      0,
			      NULL,
			      0,
			      false,
			      false,
			      0,
			      0,
			      0,
			      NULL,
			      0,
			      false,
			      false};
	bool whole = lane_enter_ring(&r->lane, &c);

	*taken = c.taken;
	CHECK_EQ(c.to_submit, to_submit - c.taken);
	return whole;
}

UNUSED static bool ring_enter(struct ring *r, uint32_t to_submit, uint32_t *taken)
{
	return ring_enter_wait(r, to_submit, 0, taken);
}

static unsigned ring_ready(const struct ring *r)
{
	return lane_word(r->lane.rings, LANE_CQ_TAIL) - r->reaped;
}

struct cqe {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

/* The next CQE, as it stands in the ring and in its mirror, and the head moves on. */
static struct cqe ring_reap(struct ring *r)
{
	struct lane *l = &r->lane;
	size_t at = LANE_CQES + (size_t)(r->reaped & (l->cq_entries - 1)) * l->cqe_size;
	struct cqe cqe;

	CHECK(ring_ready(r));
	while (lane_word(l->rings, LANE_CQ_TAIL) != lane_word(l->mirror, LANE_CQ_TAIL))
		sched_yield(); /* another thread has set the one, and will set the other */
	CHECK(!memcmp(l->rings + at, l->mirror + at, l->cqe_size));
	memcpy(&cqe, l->rings + at, sizeof(cqe));
	lane_set_word(l->rings, LANE_CQ_HEAD, ++r->reaped);
	return cqe;
}

UNUSED static void ring_expect(struct ring *r, uint64_t user_data, int res)
{
	struct cqe cqe = ring_reap(r);

	CHECK_EQ(cqe.user_data, user_data);
	CHECK_EQ(cqe.res, res);
}

/* One request that is taken, and its result. */
UNUSED static int ring_do(struct ring *r)
{
	struct cqe cqe;
	uint32_t taken;

	CHECK(ring_enter(r, 1, &taken));
	CHECK_EQ(taken, 1);
	cqe = ring_reap(r);
	CHECK_EQ(cqe.user_data, r->made);
	return cqe.res;
}

/* One request that is the daemon's: it stays where it is, and nothing has happened. */
UNUSED static void ring_leave(struct ring *r)
{
	uint32_t taken, head = r->lane.page->sq_head;
	uint64_t posted = r->lane.page->posted;

	CHECK(!ring_enter(r, 1, &taken));
	CHECK_EQ(taken, 0);
	CHECK_EQ(r->lane.page->sq_head, head);
	CHECK_EQ(r->lane.page->posted, posted);
	CHECK_EQ(r->lane.page->lock, 0);
	CHECK_EQ(ring_ready(r), 0);
	lane_set_word(r->lane.rings, LANE_SQ_TAIL, head); /* take it back */
}

#endif
