/* SPDX-License-Identifier: Apache-2.0 */
/* The rings that this process has attached, by descriptor. Part of client.h. The table is empty in a child by fork,
 * which has numbers of its own, and its mappings of the rings are not there. */
#ifndef URINGFS_LANE_RINGS_H
#define URINGFS_LANE_RINGS_H

#include "madvise.h"

#define LANE_RINGS 256u
#define LANE_PROBES 4u
#define LANE_BELIEFS 32u /* reads between two looks at a descriptor's flags */

enum { LANE_FREE, LANE_MAKING, LANE_READY, LANE_REFUSED };

/* tag: the file position of the ring's descriptor, by which it is known that it still is this ring: neither a
 * control write nor anything else of ours moves it, and it costs a third of a stat(2). */
struct lane_ring {
	struct lane lane; /* .fd: the descriptor it was attached by */
	int64_t tag;
	uint32_t state;
	uint32_t users;
	uint32_t calls; /* that needed no daemon, about */
	bool gone;	/* the daemon */
	int thread;	/* 0, or who alone may use it: IORING_SETUP_SINGLE_ISSUER */
	/* IORING_REGISTER_IOWQ_MAX_WORKERS, for whoever has workers: the last, and 0 or the how manieth of all */
	uint32_t most, limit;
	size_t rings_size, sqes_size;
	struct lane_fixed fixed;
};

static struct lane_ring *lane_rings;

static inline struct lane_ring *lane_table(void)
{
	size_t size = LANE_RINGS * sizeof(struct lane_ring);
	struct lane_ring *table = __atomic_load_n(&lane_rings, __ATOMIC_ACQUIRE), *none = NULL;
	long at;

	if (table)
		return table;
	at = RAW(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (RAW_IS_ERROR(at))
		return NULL;
	table = (struct lane_ring *)at;
	if (RAW(SYS_madvise, at, size, MADV_WIPEONFORK) == 0 &&
	    __atomic_compare_exchange_n(&lane_rings, &none, table, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return table;
	RAW(SYS_munmap, at, size);
	return none;
}

static inline uint32_t lane_state(struct lane_ring *r)
{
	return __atomic_load_n(&r->state, __ATOMIC_SEQ_CST);
}

/* The place of a descriptor, or one that is free for it. NULL: there is neither. */
static inline struct lane_ring *lane_place(int fd)
{
	struct lane_ring *table = lane_table(), *found = NULL;

	for (uint32_t i = 0; table && i < LANE_PROBES; i++) {
		struct lane_ring *r = &table[((uint32_t)fd + i * 61) % LANE_RINGS];
		uint32_t state = lane_state(r);

		if (state >= LANE_READY && r->lane.fd == fd)
			return r;
		if (state == LANE_FREE && !found)
			found = r;
	}
	return found;
}

/* Whoever has it knows that its mappings stay until it lets go. */
static inline bool lane_use(struct lane_ring *r, int64_t tag)
{
	__atomic_fetch_add(&r->users, 1, __ATOMIC_SEQ_CST);
	if (lane_state(r) == LANE_READY && r->tag == tag)
		return true;
	__atomic_fetch_sub(&r->users, 1, __ATOMIC_SEQ_CST);
	return false;
}

static inline void lane_let_go(struct lane_ring *r)
{
	__atomic_fetch_sub(&r->users, 1, __ATOMIC_RELEASE);
}

static inline void lane_unmap(void *at, size_t size)
{
	if (at)
		RAW(SYS_munmap, at, size);
}

static inline void lane_unmap_all(struct lane_ring *r)
{
	if (lane_wake_is_ours(&r->lane))
		r->lane.host->drop_file(r->lane.wake - 1);
	lane_unmap(r->lane.page, URINGFS_LANE_SIZE);
	lane_unmap(r->lane.rings, r->rings_size);
	lane_unmap(r->lane.mirror, r->rings_size);
	lane_unmap(r->lane.sqes, r->sqes_size);
	memset(&r->lane, 0, sizeof(r->lane));
}

/* Nobody else makes or uses it, and it is empty. */
static inline bool lane_seize(struct lane_ring *r)
{
	uint32_t state = lane_state(r);

	if (state == LANE_MAKING ||
	    !__atomic_compare_exchange_n(&r->state, &state, LANE_MAKING, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return false;
	if (__atomic_load_n(&r->users, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&r->state, state, __ATOMIC_SEQ_CST);
		return false;
	}
	lane_unmap_all(r);
	return true;
}

static inline void *lane_map(int fd, size_t size, int64_t offset)
{
	long at = RAW(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	if (RAW_IS_ERROR(at))
		return NULL;
	RAW(SYS_madvise, at, size, MADV_DONTFORK);
	return (void *)at;
}

/* Sizes of a ring that the daemon has set up: rings_size(). */
static inline bool lane_map_all(struct lane_ring *r, int fd, const struct uringfs_lane_answer *a)
{
	struct lane *l = &r->lane;

	l->setup_flags = a->setup_flags;
	l->sq_entries = a->sq_entries;
	l->cq_entries = a->cq_entries;
	l->sq_array = a->sq_array;
	l->holder = a->holder;
	l->generation = a->generation;
	l->beliefs = LANE_BELIEFS;
	l->tails = a->flags & URINGFS_LANE_TAILS;
	l->queued = a->flags & URINGFS_LANE_CANCELS ? URINGFS_LANE_QUEUED : 0;
	lane_forget(&r->fixed);
	l->fixed = &r->fixed;
	l->sqe_size = a->setup_flags & IORING_SETUP_SQE128 ? 128 : 64;
	l->cqe_size = a->setup_flags & IORING_SETUP_CQE32 ? 32 : 16;
	r->rings_size = l->sq_array ? l->sq_array + 4 * (size_t)l->sq_entries
				    : LANE_CQES + (size_t)l->cq_entries * l->cqe_size;
	r->sqes_size = (size_t)l->sq_entries * l->sqe_size;
	l->page = (struct uringfs_lane *)lane_map(fd, URINGFS_LANE_SIZE, URINGFS_OFF_LANE);
	l->rings = (char *)lane_map(fd, r->rings_size, IORING_OFF_SQ_RING);
	l->mirror = (char *)lane_map(fd, r->rings_size, IORING_OFF_CQ_RING);
	l->sqes = (char *)lane_map(fd, r->sqes_size, IORING_OFF_SQES);
	return l->page && l->rings && l->mirror && l->sqes;
}

#endif
