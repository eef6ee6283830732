/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's part of docs/lane.md, as far as tests need one. */
#ifndef TEST_LANE_DAEMON_H
#define TEST_LANE_DAEMON_H

#include "ring.h"

#include <pthread.h>

static void post(struct lane *l, uint64_t user_data, int res)
{
	uint32_t tail = (uint32_t)l->page->posted;
	size_t at = LANE_CQES + (size_t)(tail & (l->cq_entries - 1)) * l->cqe_size;
	struct cqe cqe = {user_data, res, 0};

	memcpy(l->rings + at, &cqe, sizeof(cqe));
	l->page->posted = (l->page->posted & ~(uint64_t)UINT32_MAX) | (tail + 1);
}

static pthread_mutex_t daemons_turn = PTHREAD_MUTEX_INITIALIZER;

/* What a daemon does that is kicked: it posts what is finished. It may wait here. */
UNUSED static void serve_kick(struct lane *l)
{
	struct lane_pass p;

	pthread_mutex_lock(&daemons_turn);
	__atomic_store_n(&l->page->daemon, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&l->page->lock, __ATOMIC_SEQ_CST))
		sched_yield();
	memset(&p, 0, sizeof(p));
	p.lane = l;
	lane_look(&p);
	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++) {
		struct uringfs_lane_request *q = &l->page->requests[i];

		if (!lane_load(&q->holder) || __atomic_load_n(&q->state, __ATOMIC_ACQUIRE) != URINGFS_LANE_FINISHED)
			continue;
		while ((uint32_t)l->page->posted - lane_word(l->rings, LANE_CQ_HEAD) >= l->cq_entries)
			sched_yield(); /* a real one has a backlog */
		post(l, q->user_data, q->res);
		l->page->completed++;
		lane_store(&q->holder, 0);
	}
	p.tail = (uint32_t)l->page->posted;
	p.posted = true;
	lane_publish(&p);
	lane_rouse(&p);
	__atomic_store_n(&l->page->daemon, 0, __ATOMIC_SEQ_CST);
	if (p.rouses)
		RAW(SYS_futex, &l->page->wakes, FUTEX_WAKE, INT_MAX);
	pthread_mutex_unlock(&daemons_turn);
}

#endif
